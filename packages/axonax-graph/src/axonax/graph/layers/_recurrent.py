"""Recurrent layers over a sequence ``(batch, time, ...)``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, Param, param
from axonax.graph.layers._activation import activation_name
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import positive
from axonax.tensor import initializers, layers


@builder
def lstm(
    units: int,
    *,
    return_sequences: bool = True,
    return_state: bool = False,
    gate: str | Callable[..., Any] = "sigmoid",
    activation: str | Callable[..., Any] = "tanh",
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Any:
    """Long short-term memory: `axonax.tensor.layers.lstm` with parameters of its own.

    Applied, it takes ``mask=``, a bool ``(batch, time)`` of the steps that count, and ``initial_state=``,
    ``(c, h)`` to start from. The initializers draw each gate for itself; to let the forget gate start
    open, take ``initializers.gates(parts=("zeros", "ones", "zeros", "zeros"))`` for the bias.

    Args:
        units: the size of the state.
        return_sequences: the outputs of all steps, else that of the last one alone.
        return_state: the last state too: ``outputs, (c, h) = x | nn.lstm(8, return_state=True)``.
        gate: activation of the gates, a name or a function.
        activation: activation of the candidate and of the cell.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: keep the states alone for the gradient, and compute the rest anew.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (in, 4 units)``, gates in the order i, f, g, o.
        recurrent_initializer: of ``recurrent_kernel (units, 4 units)``.
        bias_initializer: of ``bias (4 units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, time, in)`` to ``(batch, time, units)``, or ``(batch, units)``.

    Raises:
        ValueError: ``units`` is not a positive integer, an unknown name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("text", (None, None, 8)) | nn.lstm(16, return_sequences=False)
    """
    params = _gated("lstm", units, 4, kernel_initializer, recurrent_initializer)
    biases = {"bias": (bias_initializer, 4)} if use_bias else {}
    options = {
        "gate": activation_name(gate),
        "activation": activation_name(activation),
        **_how("lstm", reverse, mode, remat),
    }
    return _recurrent(
        layers.lstm, params | _biases(units, biases), options, _returns(return_sequences, return_state, 2)
    )


@builder
def gru(
    units: int,
    *,
    return_sequences: bool = True,
    return_state: bool = False,
    reset_after: bool = True,
    gate: str | Callable[..., Any] = "sigmoid",
    activation: str | Callable[..., Any] = "tanh",
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Any:
    """Gated recurrent units: `axonax.tensor.layers.gru` with parameters of its own; else as `lstm`.

    Its state is ``h`` alone, ``(batch, units)``. ``reset_after`` resets the recurrent product rather than the
    state that goes into it, and has a ``recurrent_bias``; gates come in the order r, z, n.

    >>> from axonax import graph as nn
    >>> model = nn.input("text", (None, None, 8)) | nn.gru(16)
    """
    params = _gated("gru", units, 3, kernel_initializer, recurrent_initializer)
    names = ("bias", "recurrent_bias") if reset_after else ("bias",)
    biases = dict.fromkeys(names, (bias_initializer, 3)) if use_bias else {}
    options = {
        "reset_after": bool(reset_after),
        "gate": activation_name(gate),
        "activation": activation_name(activation),
        **_how("gru", reverse, mode, remat),
    }
    return _recurrent(
        layers.gru, params | _biases(units, biases), options, _returns(return_sequences, return_state, 1)
    )


@builder
def rnn(
    units: int,
    *,
    return_sequences: bool = True,
    return_state: bool = False,
    activation: str | Callable[..., Any] = "tanh",
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Any:
    """A plain recurrent layer: `axonax.tensor.layers.rnn` with parameters of its own; else as `gru`.

    >>> from axonax import graph as nn
    >>> model = nn.input("text", (None, None, 8)) | nn.rnn(16, activation="relu")
    """
    params = _gated("rnn", units, 1, kernel_initializer, recurrent_initializer)
    biases = {"bias": (bias_initializer, 1)} if use_bias else {}
    options = {"activation": activation_name(activation), **_how("rnn", reverse, mode, remat)}
    return _recurrent(
        layers.rnn, params | _biases(units, biases), options, _returns(return_sequences, return_state, 1)
    )


@builder
def mask(eos_token: int, *, name: str | None = None) -> Layer:
    """Which tokens count: all but ``eos_token``, as recurrent layers take their ``mask=``.

    Args:
        eos_token: the token that fills what follows the end of a sequence.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from integers ``(batch, time)`` to bool ``(batch, time)``.

    Raises:
        ValueError: ``eos_token`` is no integer.

    >>> from axonax import graph as nn
    >>> tokens = nn.input("tokens", (None, None), dtype="int32")
    >>> counts = tokens | nn.mask(0)
    >>> model = nn.lstm(16)(tokens | nn.embedding(100, 8), mask=counts)
    """
    if isinstance(eos_token, bool) or not isinstance(eos_token, int):
        raise ValueError(f"mask: eos_token must be an integer, got {eos_token!r}")
    return computes(_differs, options={"token": eos_token})


def _differs(tokens: Any, *, token: int) -> Any:
    return tokens != token


def gated(initializer: str | Initializer, gates: int) -> str | Initializer:
    """An initializer that draws each gate for itself, with fans of its own."""
    return initializer if gates == 1 else initializers.gates(parts=(initializer,) * gates)


def _gated(
    who: str, units: int, gates: int, kernel: str | Initializer, recurrent: str | Initializer
) -> dict[str, Param]:
    width = gates * positive(who, "units", units)
    return {
        "kernel": param(functools.partial(_inputs_by, width=width), gated(kernel, gates)),
        "recurrent_kernel": param((int(units), width), gated(recurrent, gates)),
    }


def _inputs_by(x: Any, *, width: int) -> tuple[int, int]:
    return x.shape[-1], width


def _biases(units: int, biases: Mapping[str, tuple[str | Initializer, int]]) -> dict[str, Param]:
    return {name: param((gates * units,), _whole(how, gates)) for name, (how, gates) in biases.items()}


def _whole(initializer: str | Initializer, gates: int) -> str | Initializer:
    """A bias by name is drawn gate by gate, a function gets the whole."""
    return gated(initializer, gates) if isinstance(initializer, str) else initializer


def check_mode(who: str, mode: str) -> None:
    """Refuse a way to go over time that there is not.

    Raises:
        ValueError: neither ``"scan"`` nor ``"static"``.
    """
    if mode not in ("scan", "static"):
        raise ValueError(f'{who}: mode must be "scan" or "static", got {mode!r}')


def _how(who: str, reverse: bool, mode: str, remat: bool) -> dict[str, Any]:
    check_mode(who, mode)
    return {"reverse": bool(reverse), "mode": mode, "remat": bool(remat)}


def _returns(sequences: bool, state: bool, states: int) -> dict[str, Any]:
    return {"sequences": bool(sequences), "state": bool(state), "states": states}


def _recurrent(
    function: Callable[..., Any], params: Mapping[str, Param], options: Mapping[str, Any], returns: Any
) -> Layer:
    return computes(
        functools.partial(_run, function=function),
        params=params,
        options={**options, "returns": returns},
        named=("mask", "initial_state"),
        check=_is_sequence,
        outputs=("", state_parts(returns)) if returns["state"] else None,
    )


def state_parts(returns: Mapping[str, Any]) -> Any:
    """The parts of a state: ``(c, h)``, or one array."""
    return ("",) * returns["states"] if returns["states"] > 1 else ""


def _run(
    x: Any,
    *,
    function: Callable[..., Any],
    returns: Mapping[str, Any],
    initial_state: Any = None,
    mask: Any = None,
    **rest: Any,
) -> Any:
    names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    params = {name: rest.pop(name) for name in names if name in rest}
    outputs, state = function(x, params, initial_state, mask=mask, **rest)
    return returned(outputs, state, returns)


def returned(outputs: Any, state: Any, returns: Mapping[str, Any]) -> Any:
    """What the layer gives: all outputs or the last, which the state holds; the state where it is asked."""
    last = state[-1] if isinstance(state, tuple) else state
    result = outputs if returns["sequences"] else last.astype(outputs.dtype)
    return (result, state) if returns["state"] else result


def _is_sequence(x: Any, **named: Any) -> str | None:
    return None if x.ndim == 3 else "needs a sequence (batch, time, features)"
