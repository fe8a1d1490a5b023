"""Mean and variance as every normalization here takes them: float32 at least, in two passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class Moments(NamedTuple):
    """Statistics whose axes stay with size 1, and ``x - mean``, more exact than from a rounded mean."""

    mean: jax.Array
    variance: jax.Array
    centered: jax.Array


def widened(x: ArrayLike) -> jax.Array:
    """``x`` in float32, or as it is where it is wider."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def narrowed(y: jax.Array, x: ArrayLike) -> jax.Array:
    """``y`` in the dtype of ``x``, or as it is where ``x`` is not float."""
    own = jnp.asarray(x).dtype
    return y.astype(own) if jnp.issubdtype(own, jnp.floating) else y


def moments(x: jax.Array, axis: int | Sequence[int], where: ArrayLike | None = None) -> Moments:
    """Mean and population variance along ``axis``.

    ``E[x**2] - E[x]**2`` would cancel for data far from zero. Where a mask allows nothing, mean and variance
    are 0, with gradient 0.
    """
    if where is None:
        mean = jnp.mean(x, axis, keepdims=True)
        centered = x - mean
        # A mean of large numbers is off by some of their rounding; the mean of what is left is not.
        slip = jax.lax.stop_gradient(jnp.mean(centered, axis, keepdims=True))
        centered = centered - slip
        return Moments(mean + slip, jnp.mean(jnp.square(centered), axis, keepdims=True), centered)
    mask = jnp.broadcast_to(jnp.asarray(where, bool), x.shape)
    count = jnp.maximum(jnp.sum(mask, axis, keepdims=True, dtype=x.dtype), 1)

    def masked_mean(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(mask, values, 0), axis, keepdims=True) / count

    mean = masked_mean(x)
    slip = jax.lax.stop_gradient(masked_mean(x - mean))
    centered = x - mean - slip
    return Moments(mean + slip, masked_mean(jnp.square(centered)), centered)
