"""How often something was true: exact counts without weights, compensated sums with them.

Most metrics are a ratio of such numbers. Batches with and without weights may alternate.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from axonax.functional.metrics import _counts, _sums


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Tally:
    """An array of tallies: what came without weights, and what came with them."""

    counts: jax.Array
    sums: jax.Array


def zeros(shape: tuple[int, ...]) -> Tally:
    """An array of tallies of ``shape``, at zero."""
    return Tally(counts=_counts.zeros(shape), sums=_sums.zeros(shape))


def add(tally: Tally, flags: jax.Array, weights: jax.Array | None) -> Tally:
    """Count a batch in.

    Args:
        tally: tallies of shape ``S``.
        flags: booleans of shape ``(*S, *examples)``.
        weights: numbers of the shape of the examples, or ``None``: each counts 1, exactly.
    """
    axis = tuple(range(tally.sums.ndim - 1, flags.ndim))
    if weights is None:
        return Tally(counts=_counts.add(tally.counts, _counts.of(flags, axis)), sums=tally.sums)
    spread = jnp.broadcast_to(
        weights.reshape((1,) * (flags.ndim - weights.ndim) + weights.shape), flags.shape
    )
    return Tally(counts=tally.counts, sums=_sums.add(tally.sums, _sums.of(jnp.where(flags, spread, 0), axis)))


def scatter(tally: Tally, places: jax.Array, weights: jax.Array | None) -> Tally:
    """Count a batch in, each item in its place.

    Args:
        tally: tallies of shape ``(n,)``.
        places: integers of any shape in ``[0, n]``; ``n`` counts nowhere.
        weights: numbers that spread to the shape of ``places``, or ``None``: each counts 1, exactly.
    """
    length = tally.sums.shape[0]
    if weights is None:
        low = jnp.zeros(length, jnp.uint32).at[places].add(jnp.uint32(1), mode="drop")
        return Tally(
            counts=_counts.add(tally.counts, jnp.stack([low, jnp.zeros_like(low)], axis=-1)), sums=tally.sums
        )
    spread = jnp.broadcast_to(weights, places.shape)
    return Tally(counts=tally.counts, sums=_sums.add(tally.sums, _sums.scatter(spread, places, length)))


def minus(whole: Tally, part: Tally) -> Tally:
    """What is left of ``whole`` without a ``part`` of it, as exact as they are."""
    return Tally(counts=_counts.subtract(whole.counts, part.counts), sums=_sums.add(whole.sums, -part.sums))


def spoil(tally: Tally, wrong: jax.Array) -> Tally:
    """Turn the tallies to NaN if ``wrong``, a boolean scalar: how a bad label shows under ``jit``."""
    return Tally(counts=tally.counts, sums=jnp.where(wrong, jnp.nan, tally.sums))


def merge(left: Tally, right: Tally) -> Tally:
    """The tallies of both parts together."""
    return Tally(counts=_counts.add(left.counts, right.counts), sums=_sums.add(left.sums, right.sums))


def value(tally: Tally) -> jax.Array:
    """The tallies as float32."""
    return _counts.to_float(tally.counts) + _sums.to_float(tally.sums)


def ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    """``part / whole``, and 0 where there is nothing to divide by."""
    nothing = whole == 0
    return jnp.where(nothing, 0, part / jnp.where(nothing, 1, whole))
