"""Normalizations that may keep running statistics."""

from __future__ import annotations

import functools
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, Param, param
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import fraction, has_axes, integer, number
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
    ``nn.batch_norm()(x, where=mask)`` leaves out of the statistics what is false in a second input.

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
    who = "batch_norm"
    axis = integer(who, "axis", axis)
    params, buffers = _leaves(
        axis, scale_initializer if use_scale else None, offset_initializer if use_offset else None
    )
    return computes(
        function=_batch_norm,
        params=params,
        buffers=buffers,
        options={
            "axis": axis,
            "momentum": fraction(who, "momentum", momentum),
            "eps": number(who, "eps", eps),
        },
        needs=frozenset({"train"}),
        named=("where",),
        check=functools.partial(_check, axis=axis),
    )


@builder
def instance_norm(
    *,
    axis: int = -1,
    running: bool = False,
    momentum: float = 0.99,
    eps: float = 1e-5,
    use_scale: bool = True,
    use_offset: bool = True,
    scale_initializer: str | Initializer = "ones",
    offset_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Normalize each channel of each example over its spatial axes.

    Args:
        axis: the axis of the channels.
        running: whether running statistics (buffers as those of `batch_norm`) serve when nothing is trained;
            else an example's own serve always.
        momentum: the share of the old statistics that is kept, in [0, 1].
        eps: added to the variance.
        use_scale: whether there is a scale.
        use_offset: whether there is an offset.
        scale_initializer: of ``scale (channels,)``.
        offset_initializer: of ``offset (channels,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape, which is ``(batch, ...)`` with at least one axis beside the channels.

    Raises:
        ValueError: as for `batch_norm`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.instance_norm()
    """
    who = "instance_norm"
    axis = integer(who, "axis", axis)
    params, buffers = _leaves(
        axis, scale_initializer if use_scale else None, offset_initializer if use_offset else None
    )
    options = {"axis": axis, "eps": number(who, "eps", eps)}
    momentum = fraction(who, "momentum", momentum)
    check = functools.partial(_check_spatial, axis=axis)
    if not running:
        return computes(_instance_norm, params=params, options=options, check=check)
    return computes(
        function=_running_instance_norm,
        params=params,
        buffers=buffers,
        options={**options, "momentum": momentum},
        needs=frozenset({"train"}),
        check=check,
    )


def _leaves(axis: int, scale: Any, offset: Any) -> tuple[dict[str, Param], dict[str, Param]]:
    """Parameters, where they have an initializer, and running statistics, all one number a channel."""
    shape = functools.partial(_channels, axis=axis)
    given = {"scale": scale, "offset": offset}
    params = {
        name: param(shape, initializer) for name, initializer in given.items() if initializer is not None
    }
    buffers = {"mean": param(shape, "zeros", dtype="float32"), "var": param(shape, "ones", dtype="float32")}
    return params, buffers


def _channels(x: Any, *, axis: int) -> tuple[int]:
    return (x.shape[axis],)


def _check(x: Any, where: Any = None, *, axis: int) -> str | None:
    return has_axes(x, axis)


def _check_spatial(x: Any, *, axis: int) -> str | None:
    if x.ndim < 3 or not -x.ndim < axis < x.ndim or axis == 0:
        return f"needs an input (batch, ...) with channels at axis {axis} and at least one axis more"
    return None


def _batch_norm(
    x: Any, *, mean: Any, var: Any, scale: Any = None, offset: Any = None, **options: Any
) -> tuple[Any, dict[str, Any]]:
    output, mean, var = layers.batch_norm(x, mean, var, scale, offset, **options)
    return output, {"mean": mean, "var": var}


def _running_instance_norm(
    x: Any, *, mean: Any, var: Any, scale: Any = None, offset: Any = None, **options: Any
) -> tuple[Any, dict[str, Any]]:
    output, mean, var = layers.instance_norm(x, mean, var, scale, offset, **options)
    return output, {"mean": mean, "var": var}


def _instance_norm(x: Any, *, scale: Any = None, offset: Any = None, **options: Any) -> Any:
    return layers.instance_norm(x, None, None, scale, offset, **options)[0]
