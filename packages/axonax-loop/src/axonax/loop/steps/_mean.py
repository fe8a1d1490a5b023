"""Exact weighted means: of one batch, and of a whole pass in one small array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.loop.data._batch import masked, rows
from axonax.tensor.contracts import Metric


class Mean(NamedTuple):
    """The mean of a batch, with the sum and the weight that join it to other batches."""

    value: jax.Array
    total: jax.Array
    weight: Any


def batch_mean(values: Any, weights: Any, count: int, who: str) -> Mean:
    """The weighted mean of the values of one batch.

    Args:
        values: one value an example ``(B, ...)``, or a scalar, which is taken for the mean of the batch.
        weights: ``None`` or ``(B, ...)``, broadcast over further axes of ``values``.
        count: the rows of the batch.
        who: what the values come from, for errors.

    Raises:
        ValueError: weights with a scalar, or weights that do not fit.
    """
    values = jnp.asarray(values)
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if weights is None:
        if values.ndim == 0:
            return Mean(values, values * count, count)
        total = values.sum()
        return Mean(total / values.size, total, values.size)
    if values.ndim == 0:
        raise ValueError(
            f"{who} gave one number for the whole batch, so the weights of its rows cannot be applied: "
            "return one value an example"
        )
    weights = jnp.asarray(weights, values.dtype)
    if weights.shape != values.shape[: weights.ndim]:
        raise ValueError(f"weights of shape {weights.shape} do not fit the values of {who}, {values.shape}")
    weights = jnp.broadcast_to(
        weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim)), values.shape
    )
    total = jnp.where(weights == 0, 0, values * weights).sum()
    weight = weights.sum()
    return Mean(jnp.where(weight == 0, 0, total / jnp.where(weight == 0, 1, weight)), total, weight)


def empty_mean() -> jax.Array:
    """The accumulator of no batches: float32 ``(sum, its error, weight, its error)``."""
    return jnp.zeros(4, jnp.float32)


def add_mean(state: jax.Array, mean: Mean) -> jax.Array:
    """The accumulator with one more batch; both sums carry their rounding error along (Knuth's TwoSum)."""
    total = _two_sum(state[0], state[1], jnp.asarray(mean.total, jnp.float32))
    weight = _two_sum(state[2], state[3], jnp.asarray(mean.weight, jnp.float32))
    return jnp.stack([*total, *weight])


def compute_mean(state: jax.Array) -> jax.Array:
    """The mean of all batches; NaN of none."""
    return (state[0] + state[1]) / (state[2] + state[3])


def mean_metric(function: Callable[..., Any], name: str) -> Metric:
    """The weighted mean over rows of what a plain function gives.

    Args:
        function: ``(y_true, y_pred) ->`` one value an example, or a scalar that is the mean of its batch.
        name: the name of the metric, for errors.
    """
    who = f'metric "{name}"'

    def update(state: Any, *values: Any, weights: Any = None, where: Any = None) -> Any:
        return add_mean(state, batch_mean(function(*values), masked(weights, where), rows(values), who))

    return Metric(
        init=lambda *values: empty_mean(),
        update=update,
        merge=_merge,
        compute=compute_mean,
        name=name,
    )


def _merge(left: jax.Array, right: jax.Array) -> jax.Array:
    joined = add_mean(left, Mean(right[0], right[0], right[2]))
    return add_mean(joined, Mean(right[1], right[1], right[3]))


def _two_sum(high: jax.Array, low: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``high + low + value`` as a pair whose second number is below the rounding of the first."""
    total = high + value
    part = total - high
    error = low + ((high - (total - part)) + (value - part))
    rounded = total + error
    finite = jnp.isfinite(total)
    return jnp.where(finite, rounded, total), jnp.where(finite, error - (rounded - total), 0)
