"""Losses between real numbers."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _reduction


def mean_squared_error(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
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


def mean_absolute_error(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Mean absolute error of each example.

    ``l_i = mean_j |y_pred_ij - y_true_ij|`` over the last dimension; with one dimension, that of the
    examples, no mean is taken. The gradient at 0 is 0.

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

    >>> mean_absolute_error(jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[1.0, 1.0], [3.0, 0.0]])).tolist()
    [0.5, 1.5]
    """
    pair = _reduction.pair("mean_absolute_error", y_true, y_pred, where=where)
    values = _reduction.feature_mean(_reduction.absolute(pair.y_pred - pair.y_true))
    return pair.reduce(values, reduction=reduction, weights=weights)


def mean_absolute_percentage_error(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    eps: float = 1e-7,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Mean absolute error of each example in percent of the targets.

    ``l_i = 100 mean_j |y_pred_ij - y_true_ij| / max(|y_true_ij|, eps)`` over the last dimension; with one
    dimension, that of the examples, no mean is taken. As in Keras.

    Args:
        y_true: targets, ``(B, ..., F)`` or ``(B,)``.
        y_pred: predictions of exactly that shape.
        eps: the smallest divisor, above 0.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or an option is out of its range.

    >>> mean_absolute_percentage_error(jnp.array([2.0, -4.0]), jnp.array([1.0, -5.0])).tolist()
    [50.0, 25.0]
    """
    who = "mean_absolute_percentage_error"
    _examples.require_positive(who, "eps", eps)
    pair = _reduction.pair(who, y_true, y_pred, where=where)
    shares = _reduction.absolute((pair.y_pred - pair.y_true) / jnp.maximum(jnp.abs(pair.y_true), eps))
    return pair.reduce(100 * _reduction.feature_mean(shares), reduction=reduction, weights=weights)


def mean_squared_logarithmic_error(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Mean squared difference of the logarithms of each example.

    ``l_i = mean_j (log(1 + y_pred_ij) - log(1 + y_true_ij))^2`` over the last dimension; with one dimension,
    that of the examples, no mean is taken. Negative numbers are raised to 0, the gradient is that at 0, so
    that they can recover.

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

    >>> mean_squared_logarithmic_error(jnp.array([0.0, 1.0]), jnp.array([jnp.e - 1, 1.0])).round(4).tolist()
    [1.0, 0.0]
    """
    pair = _reduction.pair("mean_squared_logarithmic_error", y_true, y_pred, where=where)
    logs = [jnp.log1p(_reduction.clip(each, 0, jnp.inf)) for each in pair.arrays]
    values = _reduction.feature_mean(jnp.square(logs[1] - logs[0]))
    return pair.reduce(values, reduction=reduction, weights=weights)
