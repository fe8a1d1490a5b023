"""Rank correlation of two numbers of each example."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _examples
from axonax.functional.metrics import _scored, _tally
from axonax.tensor.contracts import Metric

_WHO = "spearman"


def spearman(*, capacity: int | None = None, bins: int | None = None) -> Metric:
    """Spearman's rank correlation of targets and predictions; equal numbers share their mean rank.

    With ``bins`` both are counted in a square of bins, and what falls into one bin ties. Where ``d`` is the
    largest share of the weight in a bin of either side, and no two numbers are equal, the value is off by
    ``2 d / (1 - d)`` at most: evenly spread numbers in 1000 bins by 0.002, and mostly by far less.

    Args:
        capacity: how many examples are kept, to be exact; 65536 if neither is given.
        bins: how many bins of numbers in [0, 1] are counted instead, on each side; what lies outside goes to
            the first or the last. Bins hold ``bins**2`` counters.

    Returns:
        The metric of two arrays ``(B,)``; its value is a float32 scalar in [-1, 1], 0 where a side is
        constant.

    Raises:
        ValueError: an option is out of its range, or there are more examples than ``capacity``; shapes
            differ.

    >>> value = spearman(capacity=8)(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 8.0, 27.0]))
    >>> round(float(value), 4)
    1.0
    """
    if capacity is not None and bins is not None:
        raise ValueError(f"{_WHO}: give capacity= (exact) or bins=, not both")
    if bins is not None:
        return _binned(bins)
    buffer = _scored.Buffer(who=_WHO, capacity=_scored.CAPACITY if capacity is None else capacity)

    def init(y_true: Any, y_pred: Any) -> _scored.Kept:
        _examples.require_same_shape(_WHO, y_true, y_pred)
        return buffer.empty(2)

    def update(
        state: _scored.Kept, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _scored.Kept:
        _examples.require_same_shape(_WHO, y_true, y_pred)
        columns = jnp.stack([jnp.ravel(jnp.asarray(each)).astype(jnp.float32) for each in (y_true, y_pred)])
        return buffer.add(state, columns.T, *_scored.shares(_WHO, np.shape(y_pred), weights, where))

    def compute(state: _scored.Kept) -> jax.Array:
        shares = _tally.ratio(state.weights, jnp.sum(state.weights))
        true, pred = (_ranks(state.columns[:, side], shares) for side in (0, 1))
        both, one, two = (jnp.sum(a * b * shares) for a, b in ((true, pred), (true, true), (pred, pred)))
        return buffer.spoiled(state, _correlation(both, one, two))

    return Metric(init=init, update=update, merge=buffer.merge, compute=compute, name=_WHO)


def _ranks(values: jax.Array, shares: jax.Array) -> jax.Array:
    """Mean ranks less their mean of a half: the share below, and half of that of equal numbers."""
    order = jnp.argsort(values)
    ordered = values[order]
    last = jnp.concatenate([ordered[1:] != ordered[:-1], jnp.ones(1, bool)])
    below, through = _scored.around(shares[order], last)
    ranks = jnp.zeros_like(shares).at[order].set((below + through) / 2)
    return ranks - jnp.sum(ranks * shares)


def _correlation(both: jax.Array, one: jax.Array, two: jax.Array) -> jax.Array:
    return jnp.clip(_tally.ratio(both, jnp.sqrt(one) * jnp.sqrt(two)), -1, 1)


def _binned(bins: int) -> Metric:
    if bins < 2:
        raise ValueError(f"{_WHO}: bins must be at least 2, got {bins}")

    def init(y_true: Any, y_pred: Any) -> _tally.Tally:
        _examples.require_same_shape(_WHO, y_true, y_pred)
        return _tally.zeros((bins**2,))

    def update(
        state: _tally.Tally, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _tally.Tally:
        _examples.require_same_shape(_WHO, y_true, y_pred)
        true, pred = (jnp.ravel(jnp.asarray(each)).astype(jnp.float32) for each in (y_true, y_pred))
        shares, kept = _scored.shares(_WHO, np.shape(y_pred), weights, where)
        index = _scored.places(true, bins) * bins + _scored.places(pred, bins)
        found = _tally.scatter(state, jnp.where(kept, index, bins**2), None if weights is None else shares)
        return _tally.spoil(found, jnp.any((jnp.isnan(true) | jnp.isnan(pred)) & kept))

    def compute(state: _tally.Tally) -> jax.Array:
        counts = _tally.value(state).reshape(bins, bins)
        shares = _tally.ratio(counts, jnp.sum(counts))
        sides = [jnp.sum(shares, axis=axis) for axis in (1, 0)]
        true, pred = (jnp.cumsum(side) - side / 2 for side in sides)
        true, pred = (rank - jnp.sum(rank * side) for rank, side in zip((true, pred), sides, strict=True))
        both = jnp.sum(true[:, None] * pred[None] * shares)
        one, two = (jnp.sum(rank**2 * side) for rank, side in zip((true, pred), sides, strict=True))
        return jnp.where(jnp.isnan(jnp.sum(counts)), jnp.nan, _correlation(both, one, two))

    return Metric(init=init, update=update, merge=_tally.merge, compute=compute, name=_WHO)
