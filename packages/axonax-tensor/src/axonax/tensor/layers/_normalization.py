"""Normalizations. Statistics are float32 at least and exact for data far from zero."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import about, first, moments, narrowed, widened
from axonax.tensor.layers._scaling import (
    by_row,
    check_options,
    checked_axes,
    moved,
    normalized,
    over,
    scaled,
    wide_along,
)


def batch_norm(
    x: Shaped[ArrayLike, "*shape"],
    mean: Shaped[ArrayLike, " channels"],
    var: Shaped[ArrayLike, " channels"],
    scale: Shaped[ArrayLike, " channels"] | None = None,
    offset: Shaped[ArrayLike, " channels"] | None = None,
    *,
    train: bool = False,
    momentum: float = 0.99,
    eps: float = 1e-5,
    axis: int = -1,
    where: Shaped[ArrayLike, " ..."] | None = None,
) -> tuple[Shaped[Array, "*shape"], Shaped[Array, " channels"], Shaped[Array, " channels"]]:
    """Normalize each channel over all other axes.

    ``y = (x - mean) / sqrt(var + eps) * scale + offset``, with the statistics of the batch in training and
    the running ones else. Training moves these: ``mean = momentum * mean + (1 - momentum) * batch mean``,
    likewise ``var``, with the population variance.

    Args:
        x: any shape with ``channels`` on ``axis``.
        mean: running mean, ``(channels,)``.
        var: running variance, ``(channels,)``.
        scale: ``(channels,)`` or none.
        offset: ``(channels,)`` or none.
        train: use and learn the statistics of the batch.
        momentum: the share of the old statistics that is kept, in [0, 1].
        eps: added to the variance.
        axis: the axis of the channels.
        where: mask over the leading axes of ``x``, such as ``(batch,)``, or one that broadcasts to ``x``;
            what is ``False`` does not count in the statistics. With nothing left they stay as they were.

    Returns:
        ``(y, mean, var)``: ``y`` has the shape and dtype of ``x``; the running statistics are as given
        where ``train`` is false.

    Raises:
        ValueError: shapes that do not fit, ``momentum`` outside [0, 1], or a negative ``eps``.

    Source: Ioffe and Szegedy, Batch Normalization (2015), algorithm 1.

    >>> x = jnp.array([[1.0], [3.0]])
    >>> y, mean, var = batch_norm(x, jnp.zeros(1), jnp.ones(1), train=True, momentum=0.5)
    >>> mean.tolist(), var.tolist()
    ([1.0], [1.0])
    """
    check_options("batch_norm", eps, momentum)
    vectors = {"mean": mean, "var": var, "scale": scale, "offset": offset}
    channel = checked_axes("batch_norm", jnp.shape(x), axis, vectors)
    wide = widened(x)
    if not train:
        centered = wide - wide_along(mean, wide.ndim, channel)
        y = centered * jax.lax.rsqrt(wide_along(var, wide.ndim, channel) + eps)
        return scaled(y, x, scale, offset, channel), jnp.asarray(mean), jnp.asarray(var)
    mask = None if where is None else over("batch_norm", where, wide.shape)
    others = tuple(each for each in range(wide.ndim) if each not in channel)
    found = moments(wide, others, mask)
    share = 1 - momentum if mask is None else jnp.where(jnp.any(mask), 1 - momentum, 0.0)
    return (
        narrowed(normalized(wide, found, eps, scale, offset, channel), x),
        moved(mean, found.shift + found.slip, share),
        moved(var, found.variance, share),
    )


def instance_norm(
    x: Shaped[ArrayLike, "*shape"],
    mean: Shaped[ArrayLike, " channels"] | None = None,
    var: Shaped[ArrayLike, " channels"] | None = None,
    scale: Shaped[ArrayLike, " channels"] | None = None,
    offset: Shaped[ArrayLike, " channels"] | None = None,
    *,
    train: bool = False,
    momentum: float = 0.99,
    eps: float = 1e-5,
    axis: int = -1,
) -> tuple[Shaped[Array, "*shape"], Shaped[Array, " channels"] | None, Shaped[Array, " channels"] | None]:
    """Normalize each channel of each example over its spatial axes.

    With running statistics it works as `batch_norm`, but each example has its own statistics in training;
    the running ones move towards their mean over the batch. Without, an example's own serve always.

    Args:
        x: ``(batch, ...)`` with ``channels`` on ``axis`` and at least one further axis.
        mean: running mean, ``(channels,)``, or none.
        var: running variance, ``(channels,)``, or none; both or neither.
        scale: ``(channels,)`` or none.
        offset: ``(channels,)`` or none.
        train: use and learn the statistics of the examples.
        momentum: the share of the old statistics that is kept, in [0, 1].
        eps: added to the variance.
        axis: the axis of the channels.

    Returns:
        ``(y, mean, var)``: ``y`` has the shape and dtype of ``x``; ``None`` stays ``None``.

    Raises:
        ValueError: shapes that do not fit, one running statistic alone, ``momentum`` outside [0, 1], or a
            negative ``eps``.

    Source: Ulyanov et al., Instance Normalization (2016), equation 1.

    >>> instance_norm(jnp.array([[[1.0], [3.0]]]), eps=0.0)[0].ravel().tolist()
    [-1.0, 1.0]
    """
    check_options("instance_norm", eps, momentum)
    vectors = {"mean": mean, "var": var, "scale": scale, "offset": offset}
    channel = checked_axes("instance_norm", jnp.shape(x), axis, vectors)
    wide = widened(x)
    others = tuple(each for each in range(1, wide.ndim) if each not in channel)
    if not others or 0 in channel:
        raise ValueError(f"instance_norm: input must be (batch, *spatial, channels), got {wide.shape}")
    if (mean is None) != (var is None):
        raise ValueError("instance_norm: mean and var must be given both or neither")
    if mean is not None and var is not None and not train:
        return batch_norm(x, mean, var, scale, offset, eps=eps, axis=axis)
    found = moments(wide, others)
    y = narrowed(normalized(wide, found, eps, scale, offset, channel), x)
    if mean is None or var is None:
        return y, None, None
    share = 1 - momentum
    own = found.shift + found.slip
    return y, moved(mean, jnp.mean(own, 0), share), moved(var, jnp.mean(found.variance, 0), share)


def group_norm(
    x: Shaped[ArrayLike, "*shape"],
    scale: Shaped[ArrayLike, " channels"] | None = None,
    offset: Shaped[ArrayLike, " channels"] | None = None,
    *,
    groups: int,
    eps: float = 1e-5,
    axis: int = -1,
) -> Shaped[Array, "*shape"]:
    """Normalize each example over groups of neighbouring channels and all spatial axes.

    Args:
        x: ``(batch, ...)`` with ``channels`` on ``axis``.
        scale: ``(channels,)`` or none.
        offset: ``(channels,)`` or none.
        groups: how many; divides the channels.
        eps: added to the variance.
        axis: the axis of the channels.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: shapes or groups that do not fit, or a negative ``eps``.

    Source: Wu and He, Group Normalization (2018), equation 7.

    >>> group_norm(jnp.array([[1.0, 3.0, 5.0, 5.0]]), groups=2, eps=1e-12).tolist()
    [[-1.0, 1.0, 0.0, 0.0]]
    """
    check_options("group_norm", eps)
    shape = jnp.shape(x)
    (channel,) = checked_axes("group_norm", shape, axis, {"scale": scale, "offset": offset})
    if channel == 0:
        raise ValueError(f"group_norm: input must be (batch, ..., channels), got {shape} with axis {axis}")
    if groups < 1 or shape[channel] % groups:
        raise ValueError(f"group_norm: groups must divide {shape[channel]} channels, got {groups}")
    wide = widened(x)
    size = shape[channel] // groups
    spatial = tuple(each for each in range(1, wide.ndim) if each != channel)

    def spread(values: jax.Array) -> jax.Array:
        # A repetition of known length is a gather, and its gradient a scatter.
        whole = (*values.shape[: channel + 1], size, *values.shape[channel + 1 :])
        each = jnp.broadcast_to(jnp.expand_dims(values, channel + 1), whole)
        return each.reshape(*whole[:channel], shape[channel], *whole[channel + 2 :])

    def mean(values: jax.Array) -> jax.Array:
        # Sums by channel serve the gradient of the scale as well.
        by_channel = jnp.mean(values, spatial, keepdims=True)
        split = (*by_channel.shape[:channel], groups, size, *by_channel.shape[channel + 1 :])
        return spread(jnp.mean(by_channel.reshape(split), channel + 1))

    shift = spread(jax.lax.slice_in_dim(first(wide, spatial), 0, None, size, channel))
    return narrowed(normalized(wide, about(wide, shift, mean), eps, scale, offset, (channel,)), x)


def layer_norm(
    x: Shaped[ArrayLike, "*shape"],
    scale: Shaped[ArrayLike, "*features"] | None = None,
    offset: Shaped[ArrayLike, "*features"] | None = None,
    *,
    eps: float = 1e-5,
    axis: int | Sequence[int] = -1,
) -> Shaped[Array, "*shape"]:
    """Normalize each example over its features: ``(x - mean) / sqrt(variance + eps) * scale + offset``.

    Args:
        x: any shape.
        scale: the sizes of ``x`` along ``axis``, or none.
        offset: the sizes of ``x`` along ``axis``, or none.
        eps: added to the variance.
        axis: the axes of the features.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: shapes that do not fit, or a negative ``eps``.

    Source: Ba et al., Layer Normalization (2016), equation 3.

    >>> layer_norm(jnp.array([[1.0, 3.0]]), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    check_options("layer_norm", eps)
    features = checked_axes("layer_norm", jnp.shape(x), axis, {"scale": scale, "offset": offset})
    y = by_row(widened(x), None if scale is None else widened(scale), eps, features)
    return scaled(y, x, None, offset, features)


def rms_norm(
    x: Shaped[ArrayLike, "*shape"],
    scale: Shaped[ArrayLike, " ..."] | None = None,
    *,
    eps: float = 1e-6,
    shift: float = 0.0,
    axis: int | Sequence[int] = -1,
) -> Shaped[Array, "*shape"]:
    """Divide each example by the root mean square of its features.

    ``y = x / sqrt(mean(x**2) + eps) * (shift + scale)``

    Args:
        x: any shape.
        scale: the sizes of ``x`` along ``axis``, or none.
        eps: added to the mean square.
        shift: added to ``scale``, in float32 at least; with 1, as in Gemma, a scale of zeros changes nothing.
        axis: the axes of the features.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: shapes that do not fit, a negative ``eps``, or a ``shift`` without a ``scale``.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), equation 4.

    >>> rms_norm(jnp.array([[3.0, 3.0]]), eps=0.0).tolist()
    [[1.0, 1.0]]
    """
    check_options("rms_norm", eps)
    features = checked_axes("rms_norm", jnp.shape(x), axis, {"scale": scale})
    if shift:
        if scale is None:
            raise ValueError(f"rms_norm: shift needs a scale to be added to, got shift={shift} and no scale")
        scale = widened(scale) + shift
    wide = widened(x)
    mean = jnp.mean(jnp.square(wide), features, keepdims=True)
    return scaled(wide * jax.lax.rsqrt(mean + eps), x, scale, None, features)
