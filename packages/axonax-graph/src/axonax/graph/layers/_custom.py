"""Layers of the user's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import Applied, Layer, Tied, computes
from axonax.graph.data._param import Param
from axonax.graph.layers._builder import builder
from axonax.tensor.names import suggestion

_NEEDS = frozenset({"train", "key"})


@builder
def layer(
    function: Callable[..., Any],
    *,
    params: Mapping[str, Param] | None = None,
    buffers: Mapping[str, Param] | None = None,
    options: Mapping[str, Any] | None = None,
    needs: tuple[str, ...] = (),
    optional: bool = False,
    name: str | None = None,
) -> Layer:
    """A layer of any function of arrays, with parameters of its own.

    Args:
        function: called as ``function(*inputs, **params, **buffers, **options)``. With buffers it returns
            ``(output, {name: new value})``.
        params: by name, as `param` describes them.
        buffers: likewise; what the function changes and no optimizer trains.
        options: further keyword arguments.
        needs: ``"train"`` and ``"key"`` hand the mode and a key of the layer's own (``None`` when not
            training) to the function.
        optional: whether the function can do without an input, and gets ``None`` for one that is missing;
            else the result is missing too.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer of as many inputs as the function takes.

    Raises:
        ValueError: something else than `param` as a parameter, another need, or a name that the function does
            not take.

    >>> from axonax import graph as nn
    >>> scale = nn.layer(lambda x, gain: x * gain, params={"gain": nn.param(lambda x: x.shape[-1:], "ones")})
    >>> model = nn.input("x", (None, 3)) | scale
    """
    if not callable(function):
        raise ValueError(f"layer: function must be callable, got {function!r}")
    leaves = {**(params or {}), **(buffers or {})}
    for key, value in leaves.items():
        if not isinstance(value, Param):
            raise ValueError(f"layer: {key} must be described by nn.param(shape, initializer), got {value!r}")
        if not isinstance(key, str) or not key.isidentifier():
            raise ValueError(f"layer: a parameter's name is an argument of the function, got {key!r}")
    given = [*(params or {}), *(buffers or {}), *(options or {}), *needs]
    if len(set(given)) < len(given):
        raise ValueError(f"layer: params, buffers, options and needs must differ in their names, got {given}")
    if not _NEEDS.issuperset(needs):
        raise ValueError(f'layer: needs must be among "train" and "key", got {needs!r}')
    title = getattr(function, "__name__", "layer")
    _check_arguments(title, function, given)
    made = computes(
        function,
        params=dict(params or {}),
        buffers=dict(buffers or {}),
        options=dict(options or {}),
        needs=frozenset(needs),
        arity=None,
        takes_none=bool(optional),
        bare=True,
    )
    return replace(made, op=_op(title))


def _op(title: str) -> str:
    return title if title.isidentifier() and title != "input" else "layer"


@builder
def function(function: Callable[..., Any], *, optional: bool = False, name: str | None = None) -> Layer:
    """A layer of any function of arrays, without parameters.

    Args:
        function: called on the values of the nodes that the layer is applied to.
        optional: whether it can do without an input, and gets ``None`` for one that is missing; else the
            result is missing too.
        name: the path of the layer; ``None`` numbers it by the function's name.

    Returns:
        a layer of as many inputs as the function takes.

    Raises:
        ValueError: no function.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.function(lambda x: x**2 + 1)
    """
    if not callable(function) or isinstance(function, Applied | Layer):
        raise ValueError(f"function: needs a function of arrays, got {function!r}")
    title = getattr(function, "__name__", "function")
    made = computes(function, arity=None, takes_none=bool(optional), bare=True)
    return replace(made, op=_op(title) if title != "<lambda>" else "function")


def _check_arguments(title: str, function: Callable[..., Any], given: list[str]) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some functions that are not written in Python have none
        return
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return
    for name in given:
        if name not in parameters:
            raise ValueError(f'layer: {title} takes no argument "{name}": {suggestion(name, parameters)}')


def same(x: Any) -> Any:
    """What it is given: the transform of a parameter that is tied as it is."""
    return x


def tied(layer: Layer, name: str = "kernel", *, transform: Callable[[Any], Any] = same) -> Tied:
    """In the place of an initializer: the parameter is that of another layer of the model.

    Args:
        layer: the layer that keeps the parameter.
        name: which one.
        transform: a function of its array; ``jax.numpy.transpose`` turns the kernel of an encoder to that of
            its decoder.

    Returns:
        what a builder takes as an initializer.

    Raises:
        TypeError: no layer, or no function.
        ValueError: the layer has no parameter of that name; the text lists near matches.

    >>> import jax
    >>> from axonax import graph as nn
    >>> encode = nn.dense(4)
    >>> decode = nn.dense(9, kernel_initializer=nn.tied(encode, transform=jax.numpy.transpose))
    >>> model = nn.input("x", (None, 9)) | encode | decode
    >>> nn.build(model).init(jax.random.key(0))
    ModelState
      params
        dense_0/bias float32[4]
        dense_0/kernel float32[9, 4]
        dense_1/bias float32[9]
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"tied: needs a layer, such as nn.dense(8), got {type(layer).__name__}")
    if not callable(transform):
        raise TypeError(f"tied: transform must be a function of an array, got {transform!r}")
    if name not in layer.computation.params:
        raise ValueError(f'tied: {layer!r} has no "{name}": {suggestion(name, layer.computation.params)}')
    return Tied(layer, name, transform)
