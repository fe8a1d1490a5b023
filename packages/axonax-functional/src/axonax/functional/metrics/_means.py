"""The weighted mean or sum of one value an element, compensated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _examples
from axonax.functional.metrics import _sums, _tally
from axonax.tensor.contracts import Metric

Values = Callable[[Any, Any, Any], tuple[jax.Array, jax.Array | None]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Mean:
    """The sum of weighted values, and of the weights."""

    total: jax.Array
    weight: _tally.Tally


@dataclass(frozen=True, kw_only=True)
class MeanOf:
    """Statistics of a mean."""

    who: str = field(compare=False)
    values: Values
    """of ``(y_true, y_pred, where)``: values of any shape, and the mask of that shape"""

    def init(self, y_true: Any, y_pred: Any) -> Mean:
        """Nothing as yet."""
        return Mean(total=_sums.zeros(()), weight=_tally.zeros(()))

    def update(
        self, state: Mean, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> Mean:
        """Count a batch in."""
        values, kept = self.values(y_true, y_pred, where)
        if weights is not None:
            weights = _examples.spread(self.who, "weights", weights, values.shape)
        values, kept = weighed(values, kept, weights)
        return Mean(
            total=_sums.add(state.total, _sums.of(values, tuple(range(values.ndim)))),
            weight=_tally.add(state.weight, kept, weights),
        )

    @staticmethod
    def merge(left: Mean, right: Mean) -> Mean:
        """Both parts together."""
        return Mean(total=_sums.add(left.total, right.total), weight=_tally.merge(left.weight, right.weight))


def weighed(
    values: jax.Array, kept: jax.Array | None, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Weighted values, 0 where masked or of weight 0, whatever stood there; and the mask."""
    values = values.astype(jnp.float32)
    kept = jnp.ones(values.shape, bool) if kept is None else kept
    if weights is None:
        return jnp.where(kept, values, 0), kept
    return jnp.where(kept & (weights != 0), values * weights.astype(jnp.float32), 0), kept


def mean_of(state: Mean) -> jax.Array:
    """The mean; 0 over nothing."""
    return _tally.ratio(_sums.to_float(state.total), _tally.value(state.weight))


def metric(who: str, values: Values, compute: Callable[[Mean], jax.Array] = mean_of) -> Metric:
    """The metric of a mean."""
    statistics = MeanOf(who=who, values=values)
    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=who
    )


def pair(who: str, y_true: Any, y_pred: Any) -> tuple[jax.Array, jax.Array]:
    """Targets and predictions of one shape, in float32 at least."""
    _examples.require_same_shape(who, y_true, y_pred)
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    dtype = _examples.computing_dtype(_examples.floating_dtype(who, y_true, y_pred))
    return y_true.astype(dtype), y_pred.astype(dtype)


def elementwise(who: str, function: Callable[[jax.Array, jax.Array], jax.Array]) -> Values:
    """Values of each element of a pair."""

    def values(y_true: Any, y_pred: Any, where: Any) -> tuple[jax.Array, jax.Array | None]:
        return function(*pair(who, y_true, y_pred)), _examples.mask(who, where, np.shape(y_pred))

    return values
