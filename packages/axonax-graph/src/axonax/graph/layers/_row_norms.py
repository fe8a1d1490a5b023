"""Normalizations of each example on its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, Param, param
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import has_axes, integer, integers, number, positive
from axonax.tensor import layers


@builder
def layer_norm(
    *,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-5,
    use_scale: bool = True,
    use_offset: bool = True,
    scale_initializer: str | Initializer = "ones",
    offset_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Normalize each example over its features: ``(x - mean) / sqrt(var + eps) * scale + offset``.

    Args:
        axis: the axis of the features, or several.
        eps: added to the variance.
        use_scale: whether there is a scale.
        use_offset: whether there is an offset.
        scale_initializer: of ``scale``, of the sizes along ``axis``.
        offset_initializer: of ``offset``, likewise.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``axis`` holds no integers, ``eps`` is below 0, an unknown initializer.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 12, 64)) | nn.layer_norm()
    """
    axis = integers("layer_norm", "axis", axis)
    return computes(
        function=layers.layer_norm,
        params=_leaves(
            functools.partial(_along, axis=axis),
            scale=scale_initializer if use_scale else None,
            offset=offset_initializer if use_offset else None,
        ),
        options={"axis": axis, "eps": number("layer_norm", "eps", eps)},
        check=functools.partial(has_axes, axis=axis),
    )


@builder
def rms_norm(
    *,
    axis: int | Sequence[int] = -1,
    eps: float = 1e-6,
    shift: float = 0.0,
    use_scale: bool = True,
    scale_initializer: str | Initializer | None = None,
    name: str | None = None,
) -> Layer:
    """Divide each example by the root mean square of its features.

    ``y = x / sqrt(mean(x**2) + eps) * (shift + scale)``

    Args:
        axis: the axis of the features, or several.
        eps: added to the mean square.
        shift: added to ``scale``; with 1, as in Gemma, a scale of zeros changes nothing.
        use_scale: whether there is a scale.
        scale_initializer: of ``scale``, of the sizes along ``axis``; ``None`` is ones, or zeros with a
            ``shift``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``axis`` holds no integers, ``eps`` or ``shift`` is below 0, an unknown initializer.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 12, 64)) | nn.rms_norm()
    """
    axis, shift = integers("rms_norm", "axis", axis), number("rms_norm", "shift", shift)
    if shift and not use_scale:
        raise ValueError(
            f"rms_norm: shift is added to the scale, which use_scale=False leaves out, got {shift}"
        )
    first = scale_initializer or ("zeros" if shift else "ones")
    return computes(
        function=layers.rms_norm,
        params=_leaves(functools.partial(_along, axis=axis), scale=first if use_scale else None),
        options={"axis": axis, "eps": number("rms_norm", "eps", eps), "shift": shift},
        check=functools.partial(has_axes, axis=axis),
    )


@builder
def group_norm(
    groups: int,
    *,
    axis: int = -1,
    eps: float = 1e-5,
    use_scale: bool = True,
    use_offset: bool = True,
    scale_initializer: str | Initializer = "ones",
    offset_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Normalize each example over groups of neighbouring channels and all spatial axes.

    Args:
        groups: how many; divides the channels.
        axis: the axis of the channels.
        eps: added to the variance.
        use_scale: whether there is a scale.
        use_offset: whether there is an offset.
        scale_initializer: of ``scale (channels,)``.
        offset_initializer: of ``offset (channels,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape, which is ``(batch, ...)``.

    Raises:
        ValueError: ``groups`` is not a positive integer, ``axis`` is no integer, ``eps`` is below 0, an
            unknown initializer.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 32)) | nn.group_norm(8)
    """
    groups, axis = positive("group_norm", "groups", groups), integer("group_norm", "axis", axis)
    return computes(
        function=layers.group_norm,
        params=_leaves(
            functools.partial(_along, axis=axis),
            scale=scale_initializer if use_scale else None,
            offset=offset_initializer if use_offset else None,
        ),
        options={"groups": groups, "axis": axis, "eps": number("group_norm", "eps", eps)},
        check=functools.partial(_check_groups, axis=axis, groups=groups),
    )


@builder
def local_response_norm(
    size: int = 5,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    axis: int = -1,
    name: str | None = None,
) -> Layer:
    """Divide each channel by what its neighbours have: ``x / (k + alpha * mean(neighbours**2)) ** beta``.

    Args:
        size: how many neighbouring channels, ``size // 2`` of them in front; beyond the ends they count as 0.
        alpha: the weight of the mean square.
        beta: the exponent.
        k: the constant.
        axis: the axis of the channels.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``size`` is not a positive integer, ``axis`` is no integer, another number is below 0.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 32)) | nn.local_response_norm()
    """
    who = "local_response_norm"
    numbers = {"alpha": alpha, "beta": beta, "k": k}
    axis = integer(who, "axis", axis)
    return computes(
        function=layers.local_response_norm,
        options={
            "size": positive(who, "size", size),
            "axis": axis,
            **{each: number(who, each, value) for each, value in numbers.items()},
        },
        check=functools.partial(has_axes, axis=axis),
    )


def _leaves(shape: Any, **initializers: Any) -> dict[str, Param]:
    """Parameters of one shape, where they have an initializer."""
    return {name: param(shape, each) for name, each in initializers.items() if each is not None}


def _along(x: Any, *, axis: int | tuple[int, ...]) -> tuple[int, ...]:
    """The sizes along some axes, in the order in which ``x`` has them."""
    places = {each % x.ndim for each in ((axis,) if isinstance(axis, int) else axis)}
    return tuple(x.shape[each] for each in sorted(places))


def _check_groups(x: Any, *, axis: int, groups: int) -> str | None:
    if x.ndim < 2 or not -x.ndim < axis < x.ndim or axis == 0:
        return f"needs an input (batch, ...) with channels at axis {axis}"
    return f"needs channels that groups={groups} divides" if x.shape[axis] % groups else None
