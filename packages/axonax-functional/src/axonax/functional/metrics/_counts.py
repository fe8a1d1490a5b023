"""Exact counters up to 2**64 without 64-bit integers: each is two uint32, the low and the high half."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def zeros(shape: tuple[int, ...]) -> jax.Array:
    """Counters at zero: uint32 of shape ``(*shape, 2)``."""
    return jnp.zeros((*shape, 2), jnp.uint32)


def of(flags: jax.Array, axis: tuple[int, ...]) -> jax.Array:
    """Counters of the True values over ``axis``, of which there are less than 2**32."""
    low = jnp.sum(flags, axis=axis, dtype=jnp.uint32)
    return jnp.stack([low, jnp.zeros_like(low)], axis=-1)


def add(left: jax.Array, right: jax.Array) -> jax.Array:
    """The sum of two arrays of counters of one shape."""
    low = left[..., 0] + right[..., 0]
    carry = (low < left[..., 0]).astype(jnp.uint32)
    return jnp.stack([low, left[..., 1] + right[..., 1] + carry], axis=-1)


def subtract(left: jax.Array, right: jax.Array) -> jax.Array:
    """``left - right`` of two arrays of counters, of which none of the left is smaller."""
    borrow = (left[..., 0] < right[..., 0]).astype(jnp.uint32)
    return jnp.stack([left[..., 0] - right[..., 0], left[..., 1] - right[..., 1] - borrow], axis=-1)


def to_float(counts: jax.Array) -> jax.Array:
    """The counters as float32, right to its rounding."""
    low, high = jnp.moveaxis(counts, -1, 0).astype(jnp.float32)
    return jnp.add(high * 2.0**32, low)
