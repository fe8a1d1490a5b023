"""What the normalizations share: checked axes, learned scales, running statistics."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor._moments import Moments, moments, narrowed, widened
from axonax.tensor.layers._arrays import along


def scaled(
    y: jax.Array, x: ArrayLike, scale: ArrayLike | None, offset: ArrayLike | None, axes: tuple[int, ...]
) -> jax.Array:
    """``y * scale + offset`` in the dtype of ``x``."""
    if scale is not None:
        y = y * wide_along(scale, y.ndim, axes)
    if offset is not None:
        y = y + wide_along(offset, y.ndim, axes)
    return narrowed(y, x)


def normalized(
    x: jax.Array,
    found: Moments,
    eps: float,
    scale: ArrayLike | None,
    offset: ArrayLike | None,
    axes: tuple[int, ...],
) -> jax.Array:
    """``(x - mean) / sqrt(variance + eps) * scale + offset`` as one product and one sum an element.

    For a ``scale`` that is as small as the statistics are.
    """
    factor = jax.lax.rsqrt(found.variance + eps)
    if scale is not None:
        factor = factor * wide_along(scale, x.ndim, axes)
    start = -found.slip * factor
    if offset is not None:
        start = start + wide_along(offset, x.ndim, axes)
    return (x - found.shift) * factor + start


def by_row(x: jax.Array, scale: jax.Array | None, eps: float, axes: tuple[int, ...]) -> jax.Array:
    """``(x - mean) / sqrt(variance + eps) * scale`` for a ``scale`` along the axes of the statistics."""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    rows = jnp.moveaxis(x, axes, last)
    flat = rows.reshape(*rows.shape[: last[0]], -1)
    ones = jnp.ones(flat.shape[-1:], x.dtype) if scale is None else scale.reshape(-1)
    y, _, _ = _rows(flat, ones.astype(x.dtype), eps)
    return jnp.moveaxis(y.reshape(rows.shape), last, axes)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _rows(
    x: jax.Array, scale: jax.Array, eps: float, alone: bool = True
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The scaled result, the result without the scale, and the inverse deviation.

    ``alone``, without a gradient, a chain is the faster on a GPU; with one, sums in one pass are read less.
    """
    elsewhere = _centered_twice if alone else _centered
    centered, variance = jax.lax.platform_dependent(x, cpu=_centered, default=elsewhere)
    inverse = jax.lax.rsqrt(variance + eps)
    y = centered * inverse
    return y * along(scale, x.ndim), y, inverse


@_rows.defjvp
def _rows_jvp(
    eps: float, alone: bool, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    # By itself JAX would keep every step of the way; and an outer product turns into a product with a vector
    # when it is transposed, where a broadcast turns into a copy and a sum.
    (x, scale), (dx, dscale) = primals, tangents
    scaled, y, inverse = _rows(x, scale, eps, False)
    mean = inverse * jnp.mean(dx, -1, keepdims=True)
    slope = inverse * jnp.mean(y * dx, -1, keepdims=True)
    dscaled = inverse * (dx * along(scale, x.ndim)) - _outer(mean, scale)
    dscaled = dscaled + y * (along(dscale, x.ndim) - _outer(slope, scale))
    return (scaled, y, inverse), (dscaled, inverse * dx - mean - y * slope, -inverse * slope)


def _centered(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x`` less its mean along the last axis, and the variance, both sums in one pass."""
    found = moments(x, -1)
    return x - found.shift - found.slip, found.variance


def _centered_twice(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same as a chain of sums and differences, which XLA makes one kernel of on a GPU.

    The second mean is what rounding left of the first: for data far from zero it counts.
    """
    apart = x - jnp.mean(x, -1, keepdims=True)
    centered = apart - jnp.mean(apart, -1, keepdims=True)
    return centered, jnp.mean(jnp.square(centered), -1, keepdims=True)


def _outer(column: jax.Array, row: jax.Array) -> jax.Array:
    return jax.lax.dot_general(column[..., 0], row, (((), ()), ((), ())))


def wide_along(values: ArrayLike, ndim: int, axes: tuple[int, ...]) -> jax.Array:
    """``values`` in float32 at least, on ``axes`` of ``ndim``."""
    wide = widened(values)
    if len(axes) == 1:
        return along(wide, ndim, axes[0])
    return jnp.expand_dims(wide, tuple(each for each in range(ndim) if each not in axes))


def moved(old: ArrayLike, new: jax.Array, share: ArrayLike) -> jax.Array:
    """``old`` moved by ``share`` towards ``new``, in its own shape and dtype."""
    start = widened(old)
    moved = start * (1 - share) + jnp.reshape(new, start.shape) * share
    return jax.lax.stop_gradient(moved.astype(jnp.asarray(old).dtype))


def over(op: str, where: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """The mask in the full shape."""
    mask = jnp.asarray(where, bool)
    aligned = mask.reshape(*mask.shape, *(1,) * max(len(shape) - mask.ndim, 0))
    if len(aligned.shape) != len(shape) or any(
        m not in (1, n) for m, n in zip(aligned.shape, shape, strict=True)
    ):
        raise ValueError(f"{op}: where {mask.shape} does not fit input {shape}")
    return jnp.broadcast_to(aligned, shape)


def checked_axes(
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


def check_options(op: str, eps: float, momentum: float = 0.0) -> None:
    """Raise a ValueError for a negative ``eps`` or a ``momentum`` outside [0, 1]."""
    if isinstance(eps, int | float) and eps < 0:
        raise ValueError(f"{op}: eps must not be negative, got {eps}")
    if isinstance(momentum, int | float) and not 0 <= momentum <= 1:
        raise ValueError(f"{op}: momentum must be in [0, 1], got {momentum}")
