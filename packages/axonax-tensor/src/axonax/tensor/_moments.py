"""Mean and variance as every normalization here takes them: float32 at least, and safe far from zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor.precision import promoted


class Moments(NamedTuple):
    """Statistics of ``x`` whose axes stay with size 1; the mean is ``shift + slip``."""

    shift: jax.Array
    """a number near the mean, constant to the gradient"""
    slip: jax.Array
    """the mean of ``x - shift``"""
    variance: jax.Array


def widened(x: ArrayLike) -> jax.Array:
    """``x`` in float32, or as it is where it is wider."""
    x = jnp.asarray(x)
    return x.astype(promoted(x.dtype, jnp.float32))


def narrowed(y: jax.Array, x: ArrayLike) -> jax.Array:
    """``y`` in the dtype of ``x``, or as it is where ``x`` is not float."""
    own = jnp.asarray(x).dtype
    return y.astype(own) if jnp.issubdtype(own, jnp.floating) else y


def moments(x: jax.Array, axis: int | Sequence[int], where: ArrayLike | None = None) -> Moments:
    """Mean and population variance along ``axis``.

    ``E[x**2] - E[x]**2`` would cancel for data far from zero; about one of the elements it does not. Where a
    mask allows nothing, mean and variance are 0, with gradient 0.
    """
    if where is None:
        return about(x, first(x, axis), lambda values: jnp.mean(values, axis, keepdims=True))
    mask = jnp.broadcast_to(jnp.asarray(where, bool), x.shape)
    count = jnp.maximum(jnp.sum(mask, axis, keepdims=True, dtype=x.dtype), 1)

    def masked_mean(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(mask, values, 0), axis, keepdims=True) / count

    return about(x, masked_mean(x), masked_mean)


def first(x: jax.Array, axis: int | Sequence[int]) -> jax.Array:
    """The first element along ``axis``, whose axes stay with size 1; 0 where there is none."""
    axes = {each % x.ndim for each in ((axis,) if isinstance(axis, int) else axis)}
    if any(not x.shape[each] for each in axes):
        return jnp.zeros([1 if each in axes else size for each, size in enumerate(x.shape)], x.dtype)
    return x[tuple(slice(0, 1) if each in axes else slice(None) for each in range(x.ndim))]


def about(x: jax.Array, shift: jax.Array, mean: Callable[[jax.Array], jax.Array]) -> Moments:
    """The moments by way of those about ``shift``, which changes nothing but the rounding."""
    shift = jax.lax.stop_gradient(shift)
    apart = x - shift
    slip = mean(apart)
    return Moments(shift, slip, jnp.maximum(mean(jnp.square(apart)) - jnp.square(slip), 0))
