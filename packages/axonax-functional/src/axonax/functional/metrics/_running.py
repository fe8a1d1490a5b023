"""Means that favour what came last. The order matters: nothing merges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.metrics import _aggregators, _tally
from axonax.tensor.contracts import Metric


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class _Recent:
    values: jax.Array
    weights: jax.Array


def running_mean(of: _aggregators.Function | None = None, *, window: int = 100) -> Metric:
    """Mean of the last values, ``sum_i w_i x_i / sum_i w_i`` over the last ``window`` of them.

    Batches may have any size: values count, not updates. Masked values do not enter the window; weights
    weigh within it.

    Args:
        of: as in `mean`.
        window: how many values, 1 or more.

    Returns:
        The metric, which has no merge; its value is a float32 scalar, 0 over nothing.

    Raises:
        ValueError: ``window`` is below 1.

    >>> float(running_mean(window=2)(None, jnp.array([9.0, 1.0, 2.0])))
    1.5
    """
    who = "running_mean"
    if window < 1:
        raise ValueError(f"{who}: window must be at least 1, got {window}")

    def init(y_true: Any, y_pred: Any) -> _Recent:
        return _Recent(values=jnp.zeros(window, jnp.float32), weights=jnp.zeros(window, jnp.float32))

    def update(
        state: _Recent, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _Recent:
        values, shares, kept = _flat(who, of, y_true, y_pred, weights, where)
        # From the newest back: 1 is the last value that counts.
        age = jnp.cumsum(kept[::-1], dtype=jnp.int32)[::-1]
        old = jnp.arange(window) - jnp.sum(kept, dtype=jnp.int32)
        places = jnp.concatenate([old, jnp.where(kept, window - age, -1)])
        places = jnp.where(places < 0, window, places)
        put = [
            jnp.zeros(window, jnp.float32).at[places].set(jnp.concatenate([before, new]), mode="drop")
            for before, new in ((state.values, values), (state.weights, shares))
        ]
        return _Recent(values=put[0], weights=put[1])

    def compute(state: _Recent) -> jax.Array:
        return _tally.ratio(jnp.sum(state.values * state.weights), jnp.sum(state.weights))

    return Metric(init=init, update=update, merge=None, compute=compute, name=who)


def exponential_mean(of: _aggregators.Function | None = None, *, momentum: float = 0.9) -> Metric:
    """Exponentially weighted mean: each value leaves the share ``momentum`` of the old mean.

    ``m_i = momentum m_(i-1) + (1 - momentum) x_i``, divided by what the shares add up to, so that the start
    at 0 has no part. A value of weight ``w`` counts as ``w`` values in a row.

    Args:
        of: as in `mean`.
        momentum: the share of the old value that a new one leaves, in (0, 1).

    Returns:
        The metric, which has no merge; its value is a float32 scalar, 0 over nothing.

    Raises:
        ValueError: ``momentum`` is out of its range.

    >>> round(float(exponential_mean(momentum=0.5)(None, jnp.array([3.0, 6.0]))), 4)
    5.0
    """
    who = "exponential_mean"
    if not 0 < momentum < 1:
        raise ValueError(f"{who}: momentum must be in (0, 1), got {momentum}")
    decay = math.log(momentum)

    def init(y_true: Any, y_pred: Any) -> jax.Array:
        return jnp.zeros(2, jnp.float32)

    def update(
        state: jax.Array, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> jax.Array:
        values, shares, _ = _flat(who, of, y_true, y_pred, weights, where)
        after = jnp.cumsum(shares[::-1])[::-1] - shares
        parts = jnp.exp(decay * after) * -jnp.expm1(decay * shares)
        old = jnp.exp(decay * jnp.sum(shares))
        return old * state + jnp.stack([jnp.sum(parts * values), jnp.sum(parts)])

    def compute(state: jax.Array) -> jax.Array:
        return _tally.ratio(state[0], state[1])

    return Metric(init=init, update=update, merge=None, compute=compute, name=who)


def _flat(
    who: str, of: _aggregators.Function | None, y_true: Any, y_pred: Any, weights: Any, where: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values, weights and mask in one row; 0 where masked."""
    values, kept = _aggregators.values_of(who, of)(y_true, y_pred, where)
    kept = jnp.ones(values.shape, bool) if kept is None else kept
    shares = (
        jnp.ones(values.shape) if weights is None else _examples.spread(who, "weights", weights, values.shape)
    )
    shares = jnp.where(kept, shares.astype(jnp.float32), 0)
    values = jnp.where(shares != 0, values.astype(jnp.float32), 0)
    return values.ravel(), shares.ravel(), kept.ravel()
