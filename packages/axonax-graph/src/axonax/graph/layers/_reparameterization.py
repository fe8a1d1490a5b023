"""Layers whose kernel is normalized before it is used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import Computation, Layer
from axonax.graph.data._param import Initializer, Param, param
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import number, positive
from axonax.tensor import layers
from axonax.tensor.names import suggestion


@builder
def weight_norm(
    layer: Layer,
    *,
    of: str = "kernel",
    scale_initializer: str | Initializer = "ones",
    name: str | None = None,
) -> Layer:
    """A layer whose kernel is ``scale * kernel / |kernel|``, the norm by unit: direction and length apart.

    Args:
        layer: what to apply with such a kernel, such as ``nn.dense(8)``. Its parameters stand under the path
            of this layer.
        of: which of its parameters; the last axis is that of the units.
        scale_initializer: of ``scale (units,)``, the lengths.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer of the same inputs and outputs.

    Raises:
        TypeError: no layer.
        ValueError: it has no such parameter, or has a ``scale`` of its own; an unknown initializer.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.weight_norm(nn.dense(8, activation="relu"))
    """
    inner = _inner("weight_norm", layer, of, "scale")
    scale = param(functools.partial(_units, kernel=inner.params[of]), scale_initializer)
    function = functools.partial(_weight_normed, function=inner.function, of=of)
    return _like(inner, function, params={**inner.params, "scale": scale})


@builder
def spectral_norm(
    layer: Layer, *, of: str = "kernel", steps: int = 1, eps: float = 1e-12, name: str | None = None
) -> Layer:
    """A layer whose kernel is divided by its largest singular value, found by power iteration.

    The right singular vector ``u`` is a buffer, which each step of training improves.

    Args:
        layer: what to apply with such a kernel, such as ``nn.dense(8)``. Its parameters stand under the path
            of this layer.
        of: which of its parameters; all its axes but the last count as inputs.
        steps: iterations for each step of training.
        eps: the least norm that is divided by.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer of the same inputs and outputs.

    Raises:
        TypeError: no layer.
        ValueError: it has no such parameter, or has a ``u`` of its own; ``steps`` is not a positive integer,
            ``eps`` is below 0.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.spectral_norm(nn.dense(8))
    """
    inner = _inner("spectral_norm", layer, of, "u")
    options = {
        "steps": positive("spectral_norm", "steps", steps),
        "eps": number("spectral_norm", "eps", eps),
    }
    u = param(functools.partial(_units, kernel=inner.params[of]), "normal", dtype="float32")
    function = functools.partial(
        _spectral_normed,
        function=inner.function,
        of=of,
        buffered=bool(inner.buffers),
        tells="train" in inner.needs,
        options=options,
    )
    return _like(inner, function, buffers={**inner.buffers, "u": u}, needs=inner.needs | {"train"})


def _inner(who: str, layer: Any, of: str, new: str) -> Computation:
    """The computation of a layer that has the parameter ``of`` and none by the name of the new one."""
    if not isinstance(layer, Layer):
        raise TypeError(f"{who}: needs a layer, such as nn.dense(8), got {type(layer).__name__}")
    computation = layer.computation
    if not isinstance(of, str) or of not in computation.params:
        raise ValueError(f'{who}: {layer!r} has no "{of}": {suggestion(str(of), computation.params)}')
    if new in {*computation.params, *computation.buffers}:
        raise ValueError(f'{who}: {layer!r} has a "{new}" of its own')
    return computation


def _like(inner: Computation, function: Callable[..., Any], **changes: Any) -> Layer:
    return Layer(op="", arguments={}, computation=replace(inner, function=function, **changes))


def _units(*inputs: Any, kernel: Param) -> tuple[int]:
    return (kernel.shape_for(*inputs)[-1],)


def _weight_normed(*inputs: Any, function: Callable[..., Any], of: str, scale: Any, **rest: Any) -> Any:
    return function(*inputs, **{**rest, of: layers.weight_norm(rest[of], scale)})


def _spectral_normed(
    *inputs: Any,
    function: Callable[..., Any],
    of: str,
    buffered: bool,
    tells: bool,
    options: dict[str, Any],
    u: Any,
    train: bool,
    **rest: Any,
) -> Any:
    kernel, u = layers.spectral_norm(rest[of], u, train=train, **options)
    mode = {"train": train} if tells else {}
    result = function(*inputs, **{**rest, of: kernel}, **mode)
    output, news = result if buffered else (result, {})
    return output, {**news, "u": u}
