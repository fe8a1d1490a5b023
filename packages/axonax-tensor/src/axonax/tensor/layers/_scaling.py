"""What the normalizations share: checked axes, learned scales, running statistics."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor._moments import narrowed, widened
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
