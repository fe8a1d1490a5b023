"""Normalizations."""

from __future__ import annotations

import functools
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import fraction
from axonax.tensor import layers


@builder
def batch_norm(
    *,
    axis: int = -1,
    momentum: float = 0.99,
    eps: float = 1e-5,
    use_scale: bool = True,
    use_offset: bool = True,
    scale_initializer: str | Initializer = "ones",
    offset_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Normalize each channel: by the batch while training, else by running statistics.

    ``y = (x - mean) / sqrt(var + eps) * scale + offset``

    The running ``mean`` and ``var`` are buffers; each training step keeps ``momentum`` of the old value.

    Args:
        axis: the axis of the channels.
        momentum: the share of the old statistics that is kept, in [0, 1].
        eps: added to the variance.
        use_scale: whether there is a scale.
        use_offset: whether there is an offset.
        scale_initializer: of ``scale (channels,)``.
        offset_initializer: of ``offset (channels,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``momentum`` is not in [0, 1], ``eps`` is below 0, ``axis`` is no integer, an unknown
            initializer.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.batch_norm()
    """
    if not isinstance(axis, int):
        raise ValueError(f"batch_norm: axis must be an integer, got {axis!r}")
    if not isinstance(eps, int | float) or eps < 0:
        raise ValueError(f"batch_norm: eps must be a number of at least 0, got {eps!r}")
    shape = functools.partial(_channels, axis=axis)
    params = {}
    if use_scale:
        params["scale"] = param(shape, scale_initializer)
    if use_offset:
        params["offset"] = param(shape, offset_initializer)
    buffers = {"mean": param(shape, "zeros", dtype="float32"), "var": param(shape, "ones", dtype="float32")}
    return computes(
        function=_batch_norm,
        params=params,
        buffers=buffers,
        options={"axis": axis, "momentum": fraction("batch_norm", "momentum", momentum), "eps": eps},
        needs=frozenset({"train"}),
        check=functools.partial(_check, axis=axis),
    )


def _channels(x: Any, *, axis: int) -> tuple[int]:
    return (x.shape[axis],)


def _check(x: Any, *, axis: int) -> str | None:
    return None if -x.ndim <= axis < x.ndim else f"needs an input that has the axis {axis}"


def _batch_norm(
    x: Any, *, mean: Any, var: Any, scale: Any = None, offset: Any = None, **options: Any
) -> tuple[Any, dict[str, Any]]:
    output, mean, var = layers.batch_norm(x, mean, var, scale, offset, **options)
    return output, {"mean": mean, "var": var}
