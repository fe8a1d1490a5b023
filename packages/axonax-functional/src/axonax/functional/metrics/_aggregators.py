"""Aggregators of plain values: of ``y_pred`` itself, or of what a function makes of a batch.

``of`` is a function of ``(y_true, y_pred)`` that returns one value an element (a loss, say); without it
``y_true`` has no part and may be ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.metrics import _means, _moments, _sums
from axonax.tensor.contracts import Metric

Function = Callable[[Any, Any], Any]


def mean(of: Function | None = None) -> Metric:
    """Mean of the values of a pass, ``sum_i w_i x_i / sum_i w_i``, compensated; 0 over nothing.

    Args:
        of: a function of ``(y_true, y_pred)``, of one value an element; ``y_pred`` itself if ``None``.

    Returns:
        The metric; weights and masks have the shape of the values or its leading dimensions, its value is a
        float32 scalar.

    >>> float(mean()(None, jnp.array([1.0, 2.0, 6.0])))
    3.0
    """
    return _means.metric("mean", values_of("mean", of))


def sum(of: Function | None = None) -> Metric:
    """Sum of the values of a pass, ``sum_i w_i x_i``, compensated.

    Args:
        of: as in `mean`.

    Returns:
        The metric, as `mean`.

    >>> float(sum()(None, jnp.array([1.0, 2.0, 6.0]), weights=jnp.array([1, 1, 2])))
    15.0
    """
    return _means.metric("sum", values_of("sum", of), lambda state: _sums.to_float(state.total))


def minimum(of: Function | None = None) -> Metric:
    """Smallest value of a pass; infinity over nothing. A value of weight 0 does not count.

    Args:
        of: as in `mean`.

    Returns:
        The metric, as `mean`.

    >>> float(minimum()(None, jnp.array([3.0, 2.0, 6.0])))
    2.0
    """
    return _extreme("minimum", of, jnp.minimum, jnp.inf)


def maximum(of: Function | None = None) -> Metric:
    """Largest value of a pass; minus infinity over nothing. A value of weight 0 does not count.

    Args:
        of: as in `mean`.

    Returns:
        The metric, as `mean`.

    >>> float(maximum()(None, jnp.array([3.0, 2.0, 6.0])))
    6.0
    """
    return _extreme("maximum", of, jnp.maximum, -jnp.inf)


def standard_deviation(of: Function | None = None, *, ddof: float = 0.0) -> Metric:
    """Standard deviation of the values of a pass, by Welford's and Chan's updates.

    ``sqrt(sum_i w_i (x_i - mean)^2 / (sum_i w_i - ddof))``; 0 where there is nothing to divide by.

    Args:
        of: as in `mean`.
        ddof: what is taken off the count: 1 for the estimate from a sample.

    Returns:
        The metric, as `mean`.

    >>> float(standard_deviation()(None, jnp.array([1e6 + 1, 1e6 + 3])))
    1.0
    """
    who = "standard_deviation"
    value = _function(who, of)
    statistics = _moments.MomentsOf(
        who=who, columns=lambda y_true, y_pred: (value(y_true, y_pred),), count=1, by_feature=False
    )

    def compute(state: _moments.Moments) -> jax.Array:
        weight, _, spread = _moments.covariances(state)
        left = weight[0] - ddof
        return jnp.sqrt(jnp.where(left > 0, spread[0, 0, 0] * weight[0] / jnp.where(left > 0, left, 1), 0))

    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=who
    )


def from_function(function: Function, *, name: str | None = None) -> Metric:
    """Metric from a function: the weighted mean over the pass of what ``function(y_true, y_pred)`` returns.

    Args:
        function: returns one value an example (or several); what it returns is what weights and masks fit.
        name: of the metric; the function's if ``None``.

    Returns:
        The metric, as `mean`.

    >>> bias = from_function(lambda y_true, y_pred: y_pred - y_true, name="bias")
    >>> float(bias(jnp.array([1.0, 2.0]), jnp.array([2.0, 2.5])))
    0.75
    """
    found = name or str(getattr(function, "__name__", "from_function"))
    return _means.metric(found, values_of(found, function))


def values_of(who: str, of: Function | None) -> _means.Values:
    """The values that are aggregated, and their mask."""
    value = _function(who, of)

    def values(y_true: Any, y_pred: Any, where: Any) -> tuple[jax.Array, jax.Array | None]:
        found = value(y_true, y_pred)
        return found, _examples.mask(who, where, found.shape)

    return values


def _function(who: str, of: Function | None) -> Callable[[Any, Any], jax.Array]:
    def value(y_true: Any, y_pred: Any) -> jax.Array:
        found = jnp.asarray(y_pred if of is None else of(y_true, y_pred))
        return found.astype(_examples.computing_dtype(_examples.floating_dtype(who, found)))

    return value


@dataclass(frozen=True, kw_only=True)
class _Extreme:
    who: str = field(compare=False)
    values: _means.Values
    choose: Callable[[jax.Array, jax.Array], jax.Array]
    start: float

    def init(self, y_true: Any, y_pred: Any) -> jax.Array:
        return jnp.asarray(self.start, jnp.float32)

    def update(
        self, state: jax.Array, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> jax.Array:
        values, kept = self.values(y_true, y_pred, where)
        kept = jnp.ones(values.shape, bool) if kept is None else kept
        if weights is not None:
            kept &= _examples.spread(self.who, "weights", weights, values.shape) != 0
        inside = jnp.where(kept, values.astype(jnp.float32), self.start)
        reduce = jnp.min if self.start > 0 else jnp.max
        return jnp.asarray(self.choose(state, reduce(inside, initial=self.start)))


def _extreme(
    who: str, of: Function | None, choose: Callable[[jax.Array, jax.Array], jax.Array], start: float
) -> Metric:
    statistics = _Extreme(who=who, values=values_of(who, of), choose=choose, start=start)
    return Metric(
        init=statistics.init,
        update=statistics.update,
        merge=choose,
        compute=lambda state: state,
        name=who,
    )
