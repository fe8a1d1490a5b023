"""Means, variances and covariances, exact however far the mean lies from 0.

Each batch has its mean taken off before anything is squared, and batches are joined by Chan's rule (T. F.
Chan, G. H. Golub, R. J. LeVeque, 1979; B. P. Welford, 1962, for a single number), with means of two floats:
in one, 1e8 updates would drift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _examples
from axonax.functional.metrics import _sums, _tally

Columns = Callable[[Any, Any], tuple[jax.Array, ...]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of D variables at each of F places, as compensated sums.

    The weight ``(F,)``, means ``(D, F, 2)`` and sums of products of deviations ``(D, D, F, 2)``.
    """

    weight: _tally.Tally
    means: jax.Array
    products: jax.Array


@dataclass(frozen=True, kw_only=True)
class MomentsOf:
    """Statistics of the variables that ``columns`` makes of a batch, one for each feature."""

    who: str = field(compare=False)
    columns: Columns
    """of ``(y_true, y_pred)``: arrays of one shape"""
    count: int
    by_feature: bool = True
    """whether the last of several dimensions is that of features, each with moments of its own"""

    def init(self, y_true: Any, y_pred: Any) -> Moments:
        """Nothing as yet, by the shapes."""
        shape = np.shape(y_pred)
        places = shape[-1] if self.by_feature and len(shape) > 1 else 1
        if self.count > 1:
            _examples.require_same_shape(self.who, y_true, y_pred)
        return Moments(
            weight=_tally.zeros((places,)),
            means=_sums.zeros((self.count, places)),
            products=_sums.zeros((self.count, self.count, places)),
        )

    def update(
        self, state: Moments, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> Moments:
        """Count a batch in."""
        found, places = self.columns(y_true, y_pred), state.means.shape[1]
        shape = found[0].shape
        columns = [self._rows(each, places) for each in found]
        kept = _examples.mask(self.who, where, shape)
        kept = None if kept is None else self._rows(kept, places)
        if weights is not None:
            weights = self._rows(_examples.spread(self.who, "weights", weights, shape), places)
        return self.merge(state, of_batch(columns, kept, weights))

    @staticmethod
    def _rows(each: jax.Array, places: int) -> jax.Array:
        """Features first: ``(F, N)``."""
        return each.reshape(-1, places).T

    @staticmethod
    def merge(left: Moments, right: Moments) -> Moments:
        """Both parts together."""
        first, second = _tally.value(left.weight), _tally.value(right.weight)
        weight = _tally.merge(left.weight, right.weight)
        share = _tally.ratio(second, _tally.value(weight))
        between = _sums.to_float(_sums.add(right.means, -left.means))
        step = jnp.stack([between * share[None], jnp.zeros_like(between)], axis=-1)
        means = _sums.add(left.means, step)
        # Where one side is empty, the mean of the other is kept to both of its floats.
        means = jnp.where((first == 0)[None, :, None], right.means, means)
        outer = between[:, None] * between[None, :] * (first * share)[None, None]
        products = _sums.add(_sums.add(left.products, right.products), _pairs(outer))
        return Moments(weight=weight, means=means, products=products)


def of_batch(columns: list[jax.Array], kept: jax.Array | None, weights: jax.Array | None) -> Moments:
    """The moments of one batch.

    Args:
        columns: D arrays ``(F, N)``.
        kept: booleans ``(F, N)``, or ``None``: all count.
        weights: ``(F, N)`` or ``None``.
    """
    shape = columns[0].shape
    weight = _tally.add(_tally.zeros(shape[:1]), jnp.ones(shape, bool) if kept is None else kept, weights)
    total = _tally.value(weight)
    columns = [each.astype(jnp.float32) for each in columns]
    shares = None
    if kept is not None or weights is not None:
        shares = jnp.ones(shape, jnp.float32) if weights is None else weights.astype(jnp.float32)
        shares = shares if kept is None else jnp.where(kept, shares, 0)
        columns = [jnp.where(shares != 0, each, 0) for each in columns]

    def weighed(each: jax.Array) -> jax.Array:
        return each if shares is None else each * shares

    # Any number near the mean will do to begin with: what it is off by is found exactly.
    near = [_tally.ratio(jnp.sum(weighed(each), axis=1), total) for each in columns]
    apart = [each - start[:, None] for each, start in zip(columns, near, strict=True)]
    rest = [_tally.ratio(_sums.to_float(_sums.of(weighed(each), (1,))), total) for each in apart]
    apart = [each - start[:, None] for each, start in zip(apart, rest, strict=True)]
    count = range(len(columns))
    products = {(i, j): _sums.of(weighed(apart[i] * apart[j]), (1,)) for i in count for j in count if i <= j}
    return Moments(
        weight=weight,
        means=_sums.add(_pairs(jnp.stack(near)), _pairs(jnp.stack(rest))),
        products=jnp.stack([jnp.stack([products[min(i, j), max(i, j)] for j in count]) for i in count]),
    )


def covariances(state: Moments) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weight ``(F,)``, means ``(D, F)`` and covariances ``(D, D, F)``; 0 over nothing."""
    weight, means = _tally.value(state.weight), _sums.to_float(state.means)
    found = _tally.ratio(_sums.to_float(state.products), weight[None, None])
    # Below the resolution of the means there is only what rounding left of a constant.
    spread = jnp.einsum("ddf->df", found)
    varies = spread > jnp.square(means * 2.0**-40)
    return weight, means, jnp.where(varies[:, None] & varies[None, :], found, 0)


def _pairs(values: jax.Array) -> jax.Array:
    return jnp.stack([values, jnp.zeros_like(values)], axis=-1)
