"""Mean and variance as every normalization here takes them: float32 at least, in two passes."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def widened(x: ArrayLike) -> jax.Array:
    """``x`` in float32, or as it is where it is wider."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def moments(
    x: jax.Array, axis: int | Sequence[int], where: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """Mean and population variance along ``axis``, which stays with size 1.

    ``E[x**2] - E[x]**2`` would cancel for data far from zero. Where a mask allows nothing, both are 0, with
    gradient 0.
    """
    if where is None:
        mean = jnp.mean(x, axis, keepdims=True)
        return mean, jnp.mean(jnp.square(x - mean), axis, keepdims=True)
    mask = jnp.broadcast_to(jnp.asarray(where, bool), x.shape)
    count = jnp.maximum(jnp.sum(mask, axis, keepdims=True, dtype=x.dtype), 1)
    mean = jnp.sum(jnp.where(mask, x, 0), axis, keepdims=True) / count
    centered = jnp.where(mask, x - mean, 0)
    return mean, jnp.sum(jnp.square(centered), axis, keepdims=True) / count
