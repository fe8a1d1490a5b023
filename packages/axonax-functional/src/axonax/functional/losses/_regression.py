"""Losses between real numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional.losses import _reduction


def mean_squared_error(
    y_true: Any, y_pred: Any, *, reduction: str = "none", weights: Any = None, where: Any = None
) -> jax.Array:
    r"""Mean squared error of each example.

    ``l_i = mean_j (y_pred_ij - y_true_ij)^2`` over the last dimension; with one dimension, that of the
    examples, ``l_i = (y_pred_i - y_true_i)^2``.

    Args:
        y_true: targets, ``(B, ..., F)`` or ``(B,)``.
        y_pred: predictions of exactly that shape.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> mean_squared_error(jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[1.0, 1.0], [1.0, 0.0]])).tolist()
    [0.5, 0.5]
    """
    pair = _reduction.pair("mean_squared_error", y_true, y_pred, where=where)
    values = _reduction.feature_mean(jnp.square(pair.y_pred - pair.y_true))
    return pair.reduce(values, reduction=reduction, weights=weights)
