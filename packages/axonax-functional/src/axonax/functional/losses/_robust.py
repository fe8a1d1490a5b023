"""Losses between real numbers that grow linearly with large errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _reduction


def huber(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    delta: float = 1.0,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Huber loss: squared for small errors, linear for large ones.

    ``l_i = mean_j h(y_pred_ij - y_true_ij)`` over the last dimension, with ``h(d) = d^2 / 2`` where
    ``|d| <= delta`` and ``delta (|d| - delta / 2)`` elsewhere; with one dimension, that of the examples, no
    mean is taken.

    Args:
        y_true: targets, ``(B, ..., F)`` or ``(B,)``.
        y_pred: predictions of exactly that shape.
        delta: where the parabola ends, above 0.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or an option is out of its range.

    >>> huber(jnp.array([0.0, 0.0]), jnp.array([0.5, 3.0])).tolist()
    [0.125, 2.5]

    Huber, Robust estimation of a location parameter (1964).
    """
    _examples.require_positive("huber", "delta", delta)
    pair = _reduction.pair("huber", y_true, y_pred, where=where)
    error = pair.y_pred - pair.y_true
    bounded = jnp.clip(error, -delta, delta)
    values = _reduction.feature_mean(bounded * (error - bounded / 2))
    return pair.reduce(values, reduction=reduction, weights=weights)


def log_cosh(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Logarithm of the hyperbolic cosine of the errors.

    ``l_i = mean_j log cosh(y_pred_ij - y_true_ij)`` over the last dimension, about ``d^2 / 2`` for small
    errors ``d`` and ``|d| - log 2`` for large ones; with one dimension, that of the examples, no mean is
    taken.

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

    >>> [round(each, 3) for each in log_cosh(jnp.array([0.0, 0.0]), jnp.array([1.0, 100.0])).tolist()]
    [0.434, 99.307]
    """
    pair = _reduction.pair("log_cosh", y_true, y_pred, where=where)
    values = _reduction.feature_mean(_log_cosh(pair.y_pred - pair.y_true))
    return pair.reduce(values, reduction=reduction, weights=weights)


@jax.custom_jvp
def _log_cosh(x: jax.Array) -> jax.Array:
    """``log cosh x`` from ``q = exp(-|x|)``: of ``1 + (1 - q)^2 / 2q`` near 0, where ``1 + q^2`` cancels."""
    size = jnp.abs(x)
    below = jnp.expm1(-size)
    q = below + 1
    near = size < 1
    return jnp.where(near, 0, size) + jnp.log1p(
        jnp.where(near, jnp.square(below) / (2 * q), (q - 1) * (q + 1) / 2)
    )


@_log_cosh.defjvp
def _log_cosh_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return _log_cosh(primals[0]), jnp.tanh(primals[0]) * tangents[0]


def quantile(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    quantile: float = 0.5,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Quantile (pinball) loss, least where ``y_pred`` is a quantile of the targets.

    ``l_i = mean_j max(q d_ij, (q - 1) d_ij)`` over the last dimension, with ``d = y_true - y_pred``; with one
    dimension, that of the examples, no mean is taken.

    Args:
        y_true: targets, ``(B, ..., F)`` or ``(B,)``.
        y_pred: predictions of exactly that shape.
        quantile: ``q`` in [0, 1]: the share of targets that shall lie below. 0.5 is half the absolute error.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or an option is out of its range.

    >>> quantile(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), quantile=0.75).tolist()
    [0.75, 0.25]

    Koenker and Bassett, Regression quantiles (1978).
    """
    _examples.require_fraction("quantile", "quantile", quantile)
    pair = _reduction.pair("quantile", y_true, y_pred, where=where)
    short = pair.y_true - pair.y_pred
    values = _reduction.feature_mean(jnp.maximum(quantile * short, (quantile - 1) * short))
    return pair.reduce(values, reduction=reduction, weights=weights)
