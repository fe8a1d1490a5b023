"""Recurrent layers made of other things: convolutions, any cell, two directions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, Param, param
from axonax.graph.data._swap import remade
from axonax.graph.layers._activation import activation_name
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, padding_of, positive, sizes
from axonax.graph.layers._convolution import spatial_rank
from axonax.graph.layers._recurrent import check_mode, gated, returned, state_parts
from axonax.tensor import layers, names

_MERGES = {name: name for name in ("concatenate", "sum", "average", "multiply")}


@builder
def conv_lstm(
    units: int,
    kernel_size: Sizes = 3,
    *,
    strides: Sizes = 1,
    padding: Padding = "same",
    return_sequences: bool = True,
    return_state: bool = False,
    gate: str | Callable[..., Any] = "sigmoid",
    activation: str | Callable[..., Any] = "tanh",
    reverse: bool = False,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Any:
    """A convolutional LSTM: `axonax.tensor.layers.conv_lstm` with parameters of its own; else as `lstm`.

    Args:
        units: the channels of the state.
        kernel_size: of both convolutions: one integer for all spatial axes, or one an axis.
        strides: of the convolution of the input.
        padding: of the convolution of the input, as for `conv`; that of the state keeps its positions.
        return_sequences: the outputs of all steps, else that of the last one alone.
        return_state: the last state ``(c, h)`` too.
        gate: activation of the gates, a name or a function.
        activation: activation of the candidate and of the cell.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (*kernel_size, in, 4 units)``, gates in the order i, f, g, o.
        recurrent_initializer: of ``recurrent_kernel (*kernel_size, units, 4 units)``.
        bias_initializer: of ``bias (4 units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, time, *spatial, in)`` to ``(batch, time, *positions, units)``.

    Raises:
        ValueError: a size that is not a positive integer, an unknown name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("film", (None, None, 32, 32, 3)) | nn.conv_lstm(8, 3)
    """
    units, kernel_size = positive("conv_lstm", "units", units), sizes("conv_lstm", "kernel_size", kernel_size)
    options = {"strides": sizes("conv_lstm", "strides", strides), "padding": padding_of("conv_lstm", padding)}
    rank = spatial_rank("conv_lstm", {"kernel_size": kernel_size, **options})
    shape = functools.partial(_window, kernel_size=kernel_size, units=units)
    params = {
        "kernel": param(functools.partial(shape, recurrent=False), gated(kernel_initializer, 4)),
        "recurrent_kernel": param(functools.partial(shape, recurrent=True), gated(recurrent_initializer, 4)),
    }
    if use_bias:
        named = isinstance(bias_initializer, str)
        params["bias"] = param((4 * units,), gated(bias_initializer, 4) if named else bias_initializer)
    returns = {"sequences": bool(return_sequences), "state": bool(return_state), "states": 2}
    names_of = {"gate": activation_name(gate), "activation": activation_name(activation)}
    return computes(
        _conv_lstm,
        params=params,
        options={**options, **names_of, "reverse": bool(reverse), "returns": returns},
        named=("mask", "initial_state"),
        check=functools.partial(_is_film, rank=rank),
        outputs=("", state_parts(returns)) if return_state else None,
    )


def _window(x: Any, *, kernel_size: Sizes, units: int, recurrent: bool) -> tuple[int, ...]:
    window = (kernel_size,) * (x.ndim - 3) if isinstance(kernel_size, int) else tuple(kernel_size)
    return (*window, units if recurrent else x.shape[-1], 4 * units)


def _is_film(x: Any, *, rank: int | None, **named: Any) -> str | None:
    if (rank is None and 4 <= x.ndim <= 6) or (rank is not None and x.ndim == rank + 3):
        return None
    axes = "one to three" if rank is None else str(rank)
    return f"needs a sequence (batch, time, *spatial, channels) with {axes} spatial axes"


def _conv_lstm(x: Any, *, returns: Any, initial_state: Any = None, mask: Any = None, **rest: Any) -> Any:
    every: tuple[str, ...] = ("kernel", "recurrent_kernel", "bias")
    params = {name: rest.pop(name) for name in every if name in rest}
    outputs, state = layers.conv_lstm(x, params, initial_state, mask=mask, **rest)
    return returned(outputs, state, returns)


@builder
def rnn_over(
    cell: Callable[..., Any],
    *,
    carry: int | tuple[int, ...] | Callable[[Any], Any],
    params: Mapping[str, Param] | None = None,
    return_sequences: bool = True,
    return_state: bool = False,
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
    name: str | None = None,
) -> Any:
    """Any cell over a sequence: `axonax.tensor.layers.unroll` with parameters of its own.

    Applied, it takes ``mask=`` and ``initial_state=`` as `lstm` does.

    Args:
        cell: called as ``cell(carry, x, **params) -> (carry, y)`` with the arrays of one step.
        carry: what is carried, of zeros at first: the sizes behind the batch, ``8`` or ``(8, 8)``; or a
            function of the sequence that returns a tree of arrays.
        params: by name, as `param` describes them, of the sequence.
        return_sequences: the outputs of all steps, else that of the last one alone.
        return_state: the last carry too, as one node.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: compute what a step makes on its way anew for its gradient.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, time, ...)`` to what the cell gives at each step.

    Raises:
        ValueError: a cell that is no function, something else than `param` as a parameter, an unknown mode.

    >>> from axonax import graph as nn
    >>> def mean(carry, x, share):
    ...     carry = share * carry + (1 - share) * x
    ...     return carry, carry
    >>> share = {"share": nn.param((), "ones")}
    >>> model = nn.input("x", (None, None, 3)) | nn.rnn_over(mean, carry=3, params=share)
    """
    if not callable(cell):
        raise ValueError(f"rnn_over: cell must be a function (carry, x) -> (carry, y), got {cell!r}")
    check_mode("rnn_over", mode)
    for each, value in (params or {}).items():
        if not isinstance(value, Param):
            raise ValueError(f"rnn_over: {each} must be described by nn.param(...), got {value!r}")
    how = {"reverse": bool(reverse), "mode": mode, "remat": bool(remat)}
    return computes(
        functools.partial(_over, cell=cell, first=carry, how=how),
        params=dict(params or {}),
        options={"sequences": bool(return_sequences), "state": bool(return_state)},
        named=("mask", "initial_state"),
        check=_has_time,
        bare=True,
        outputs=("", "") if return_state else None,
    )


def _has_time(x: Any, **named: Any) -> str | None:
    leaves = jax.tree.leaves(x)
    fits = leaves and all(each.ndim >= 2 for each in leaves)
    return None if fits else "needs a sequence (batch, time, ...)"


def _over(
    x: Any,
    *,
    cell: Callable[..., Any],
    first: Any,
    how: Mapping[str, Any],
    sequences: bool,
    state: bool,
    initial_state: Any = None,
    mask: Any = None,
    **params: Any,
) -> Any:
    if initial_state is None:
        shape = (first,) if isinstance(first, int) else first
        batch = jax.tree.leaves(x)[0]
        initial_state = first(x) if callable(first) else jnp.zeros((batch.shape[0], *shape), batch.dtype)
    step = functools.partial(cell, **params)
    outputs, last = layers.unroll(step, initial_state, x, mask=mask, **how)
    if not sequences:
        end = 0 if how["reverse"] else -1
        outputs = jax.tree.map(lambda each: each[:, end], outputs)
    return (outputs, last) if state else outputs


@builder
def bidirectional(
    layer: Layer, *, merge: str | None = "concatenate", backward: Layer | None = None, name: str | None = None
) -> Any:
    """A recurrent layer in both directions of time.

    Applied, it takes ``mask=``, and ``initial_state=`` as a pair of states.

    Args:
        layer: the forward one, such as ``nn.lstm(64)``; its parameters are ``forward/kernel`` and so on.
        merge: of the two outputs: ``"concatenate"`` (along the last axis), ``"sum"``, ``"average"`` or
            ``"multiply"``; ``None`` gives both as a tuple.
        backward: the other, which is run in reverse; by default the same call.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer like ``layer``; if that returns its state: ``outputs, (forward, backward)``.

    Raises:
        ValueError: no recurrent layer, one that is reversed already, two that return other things, or an
            unknown merge (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("text", (None, None, 8)) | nn.bidirectional(nn.lstm(16))
    """
    for each in (layer, layer if backward is None else backward):
        if not (isinstance(each, Layer) and "reverse" in each.arguments):
            raise ValueError(f"bidirectional: needs recurrent layers, such as nn.lstm(8), got {each!r}")
    if layer.arguments["reverse"]:
        raise ValueError(f"bidirectional: {layer!r} goes backward: give the forward one")
    if merge is not None:
        merge = names.lookup(_MERGES, merge, "bidirectional merge")
    both = {"forward": layer, "backward": _reversed(layer if backward is None else backward)}
    for option, what in (("return_state", "their state"), ("return_sequences", "all outputs")):
        if len({each.arguments[option] for each in both.values()}) > 1:
            raise ValueError(f"bidirectional: both layers must return {what}, or neither")
    parts = layer.computation.outputs
    return computes(
        functools.partial(_both, both=both, merge=merge),
        params={
            f"{side}/{name}": each
            for side, one in both.items()
            for name, each in one.computation.params.items()
        },
        named=("mask", "initial_state"),
        check=layer.computation.check,
        bare=any(each.computation.bare for each in both.values()),
        outputs=_sides(parts, merge),
    )


def _reversed(layer: Layer) -> Layer:
    return layer if layer.arguments["reverse"] else remade(layer, reverse=True)


def _sides(parts: Any, merge: str | None) -> Any:
    """The parts of the result of both layers."""
    outputs = ("", "") if merge is None else ""
    if parts is None:
        return None if merge is not None else outputs
    return (outputs, (parts[1], parts[1]))


def _both(
    x: Any,
    *,
    both: Mapping[str, Layer],
    merge: str | None,
    mask: Any = None,
    initial_state: Any = None,
    **params: Any,
) -> Any:
    starts = (None, None) if initial_state is None else initial_state
    found = []
    for (side, layer), start in zip(both.items(), starts, strict=True):
        own = {name.removeprefix(f"{side}/"): each for name, each in params.items() if name.startswith(side)}
        given = {"mask": mask, "initial_state": start}
        given = {name: each for name, each in given.items() if each is not None}
        found.append(layer.computation.function(x, **own, **given, **layer.computation.options))
    if not both["forward"].arguments["return_state"]:
        return _merged(found, merge)
    (one, one_state), (other, other_state) = found
    return _merged((one, other), merge), (one_state, other_state)


def _merged(found: Sequence[Any], merge: str | None) -> Any:
    one, other = found
    if merge is None:
        return one, other
    if merge == "concatenate":
        return layers.concatenate([one, other], axis=-1)
    if merge == "average":
        return layers.average([one, other])
    return one + other if merge == "sum" else one * other
