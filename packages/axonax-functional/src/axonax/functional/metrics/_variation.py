"""How much of the variation of the targets predictions explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional.metrics import _means, _moments, _tally
from axonax.tensor import names
from axonax.tensor.contracts import Metric


def r2_score(*, average: str = "macro") -> Metric:
    """Coefficient of determination, ``1 - sum_i w_i (t_i - p_i)^2 / sum_i w_i (t_i - mean t)^2``.

    Constant targets give 1 where each is predicted exactly, else 0.

    Args:
        average: "macro", the mean over the features, or "none", one value a feature.

    Returns:
        The metric of two arrays of one shape, ``(B,)`` or ``(B, ..., F)``; its value is a float32 scalar,
        ``(F,)`` with "none"; 0 over nothing.

    Raises:
        ValueError: ``average`` is unknown; at the first batch, shapes differ.

    >>> round(float(r2_score()(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 2.0, 2.0]))), 4)
    0.5
    """

    def value(weight: jax.Array, means: jax.Array, spread: jax.Array) -> jax.Array:
        return _explained(weight, spread[1, 1] + jnp.square(means[1]), spread[0, 0])

    return _metric("r2_score", _target_and_rest, value, average)


def explained_variance(*, average: str = "macro") -> Metric:
    """Explained variance, ``1 - var(t - p) / var(t)``: `r2_score` without a constant offset.

    Args:
        average: "macro", the mean over the features, or "none", one value a feature.

    Returns:
        The metric, as `r2_score`.

    Raises:
        ValueError: ``average`` is unknown; at the first batch, shapes differ.

    >>> float(explained_variance()(jnp.array([1.0, 2.0, 3.0]), jnp.array([6.0, 7.0, 8.0])))
    1.0
    """

    def value(weight: jax.Array, means: jax.Array, spread: jax.Array) -> jax.Array:
        return _explained(weight, spread[1, 1], spread[0, 0])

    return _metric("explained_variance", _target_and_rest, value, average)


def pearson(*, average: str = "macro") -> Metric:
    """Pearson's correlation, ``cov(t, p) / sqrt(var(t) var(p))``; 0 where a side is constant.

    Args:
        average: "macro", the mean over the features, or "none", one value a feature.

    Returns:
        The metric, as `r2_score`, in [-1, 1].

    Raises:
        ValueError: ``average`` is unknown; at the first batch, shapes differ.

    >>> round(float(pearson()(jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 4.0, 6.0]))), 4)
    1.0
    """

    def value(weight: jax.Array, means: jax.Array, spread: jax.Array) -> jax.Array:
        both = jnp.sqrt(spread[0, 0]) * jnp.sqrt(spread[1, 1])
        return jnp.clip(_tally.ratio(spread[0, 1], both), -1, 1)

    return _metric("pearson", _target_and_prediction, value, average)


def _explained(weight: jax.Array, rest: jax.Array, whole: jax.Array) -> jax.Array:
    constant = jnp.where((rest == 0) & (weight > 0), 1.0, 0.0)
    return jnp.where(whole == 0, constant, 1 - _tally.ratio(rest, whole))


def _target_and_rest(y_true: Any, y_pred: Any) -> tuple[jax.Array, ...]:
    true, pred = _means.pair("r2_score", y_true, y_pred)
    return true, true - pred


def _target_and_prediction(y_true: Any, y_pred: Any) -> tuple[jax.Array, ...]:
    return _means.pair("pearson", y_true, y_pred)


_AVERAGES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "macro": jnp.mean,
    "none": lambda values: values[0] if values.shape == (1,) else values,
}


def _metric(who: str, columns: _moments.Columns, value: Callable[..., jax.Array], average: str) -> Metric:
    joined = names.lookup(_AVERAGES, average, "average")
    statistics = _moments.MomentsOf(who=who, columns=columns, count=2)

    def compute(state: _moments.Moments) -> jax.Array:
        return joined(value(*_moments.covariances(state)))

    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=who
    )
