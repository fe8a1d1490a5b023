"""Normalizations. Statistics are float32 at least and exact for data far from zero."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor._moments import moments, narrowed, widened
from axonax.tensor.layers._arrays import along


def batch_norm(
    x: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    scale: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    *,
    train: bool = False,
    momentum: float = 0.99,
    eps: float = 1e-5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
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
    _check_options("batch_norm", eps, momentum)
    vectors = {"mean": mean, "var": var, "scale": scale, "offset": offset}
    channel = _checked_axes("batch_norm", jnp.shape(x), axis, vectors)
    wide = widened(x)
    if not train:
        centered = wide - _wide_along(mean, wide.ndim, channel)
        y = centered * jax.lax.rsqrt(_wide_along(var, wide.ndim, channel) + eps)
        return _scaled(y, x, scale, offset, channel), jnp.asarray(mean), jnp.asarray(var)
    mask = None if where is None else _over("batch_norm", where, wide.shape)
    others = tuple(each for each in range(wide.ndim) if each not in channel)
    found = moments(wide, others, mask)
    y = found.centered * jax.lax.rsqrt(found.variance + eps)
    share = 1 - momentum if mask is None else jnp.where(jnp.any(mask), 1 - momentum, 0.0)
    return (
        _scaled(y, x, scale, offset, channel),
        _moved(mean, found.mean, share),
        _moved(var, found.variance, share),
    )


def layer_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    axis: int | Sequence[int] = -1,
) -> jax.Array:
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
    _check_options("layer_norm", eps)
    features = _checked_axes("layer_norm", jnp.shape(x), axis, {"scale": scale, "offset": offset})
    found = moments(widened(x), features)
    return _scaled(found.centered * jax.lax.rsqrt(found.variance + eps), x, scale, offset, features)


def _scaled(
    y: jax.Array, x: ArrayLike, scale: ArrayLike | None, offset: ArrayLike | None, axes: tuple[int, ...]
) -> jax.Array:
    """``y * scale + offset`` in the dtype of ``x``."""
    if scale is not None:
        y = y * _wide_along(scale, y.ndim, axes)
    if offset is not None:
        y = y + _wide_along(offset, y.ndim, axes)
    return narrowed(y, x)


def _wide_along(values: ArrayLike, ndim: int, axes: tuple[int, ...]) -> jax.Array:
    wide = widened(values)
    if len(axes) == 1:
        return along(wide, ndim, axes[0])
    return jnp.expand_dims(wide, tuple(each for each in range(ndim) if each not in axes))


def _moved(old: ArrayLike, new: jax.Array, share: ArrayLike) -> jax.Array:
    """``old`` moved by ``share`` towards ``new``, in its own shape and dtype."""
    start = widened(old)
    moved = start * (1 - share) + jnp.reshape(new, start.shape) * share
    return jax.lax.stop_gradient(moved.astype(jnp.asarray(old).dtype))


def _over(op: str, where: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """The mask in the full shape."""
    mask = jnp.asarray(where, bool)
    aligned = mask.reshape(*mask.shape, *(1,) * max(len(shape) - mask.ndim, 0))
    if len(aligned.shape) != len(shape) or any(
        m not in (1, n) for m, n in zip(aligned.shape, shape, strict=True)
    ):
        raise ValueError(f"{op}: where {mask.shape} does not fit input {shape}")
    return jnp.broadcast_to(aligned, shape)


def _checked_axes(
    op: str, shape: tuple[int, ...], axis: int | Sequence[int], vectors: dict[str, ArrayLike | None]
) -> tuple[int, ...]:
    """``axis`` as sorted numbers from 0, if all vectors have the sizes along it."""
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    if not given or any(not -len(shape) <= each < len(shape) for each in given):
        raise ValueError(f"{op}: axis must be within the {len(shape)} axes of input {shape}, got {axis}")
    axes = tuple(sorted({each % len(shape) for each in given}))
    required = tuple(shape[each] for each in axes)
    for name, vector in vectors.items():
        if vector is not None and jnp.shape(vector) != required:
            raise ValueError(
                f"{op}: {name} {jnp.shape(vector)} does not fit input {shape}: "
                f"it must be {required} for axis {axis}"
            )
    return axes


def _check_options(op: str, eps: float, momentum: float = 0.0) -> None:
    if isinstance(eps, int | float) and eps < 0:
        raise ValueError(f"{op}: eps must not be negative, got {eps}")
    if isinstance(momentum, int | float) and not 0 <= momentum <= 1:
        raise ValueError(f"{op}: momentum must be in [0, 1], got {momentum}")
