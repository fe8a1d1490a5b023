"""Negative logarithms of likelihoods, and the divergence of Gaussians that a variational bound adds."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _reduction


def gaussian_nll(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: tuple[Shaped[ArrayLike, "*shape"], Shaped[ArrayLike, "*shape"]],
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Negative log-likelihood of a Gaussian whose mean and variance are predicted.

    ``l_i = mean_j [log v_ij + (y_true_ij - mean_ij)^2 / v_ij] / 2`` over the last dimension, with
    ``v = max(variance, eps)``, whose gradient passes below ``eps`` as well; with one dimension, that of the
    examples, no mean is taken.

    Args:
        y_true: targets, ``(B, ..., F)`` or ``(B,)``.
        y_pred: the tuple ``(mean, variance)``, each of exactly that shape.
        full: whether to add the constant ``log(2 pi) / 2``.
        eps: the smallest variance, above 0.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: ``y_pred`` is no pair, shapes differ, or an option is out of its range.

    >>> gaussian_nll(jnp.array([1.0, 3.0]), (jnp.array([1.0, 1.0]), jnp.array([1.0, 1.0]))).tolist()
    [0.0, 2.0]

    Nix and Weigend, Estimating the mean and variance of the target probability distribution (1994).
    """
    _examples.require_positive("gaussian_nll", "eps", eps)
    predicted = _reduction.parts("gaussian_nll", "y_pred", y_pred, "mean", "variance")
    group = _reduction.group("gaussian_nll", {"y_true": y_true, **predicted}, where=where, neutral=1.0)
    target, mean, variance = group.arrays
    variance = _reduction.clip(variance, eps, jnp.inf)
    constant = math.log(2 * math.pi) / 2 if full else 0.0
    elements = (jnp.log(variance) + jnp.square(target - mean) / variance) / 2 + constant
    values = _reduction.feature_mean(elements)
    return group.reduce(values, reduction=reduction, weights=weights)


def poisson(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    from_log: bool = False,
    eps: float = 1e-7,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Negative log-likelihood of a Poisson distribution whose rate is predicted, up to a constant.

    ``l_i = mean_j [y_pred_ij - y_true_ij log(y_pred_ij + eps)]`` over the last dimension; with one dimension,
    that of the examples, no mean is taken. With ``from_log`` it is ``exp(y_pred) - y_true y_pred``.

    Args:
        y_true: counts, ``(B, ..., F)`` or ``(B,)``.
        y_pred: rates, 0 or more, or their logarithms; of exactly that shape.
        from_log: whether ``y_pred`` holds logarithms of rates.
        eps: keeps the logarithm of a rate of 0 finite.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or an option is out of its range.

    >>> poisson(jnp.array([0.0, 2.0]), jnp.array([0.0, 0.0]), from_log=True).tolist()
    [1.0, 1.0]
    """
    _examples.require_nonnegative("poisson", "eps", eps)
    pair = _reduction.pair("poisson", y_true, y_pred, where=where, neutral=1.0)
    if from_log:
        elements = jnp.exp(pair.y_pred) - pair.y_true * pair.y_pred
    else:
        elements = pair.y_pred - pair.y_true * jnp.log(pair.y_pred + eps)
    return pair.reduce(_reduction.feature_mean(elements), reduction=reduction, weights=weights)


def gaussian_kl(
    y_true: tuple[Shaped[ArrayLike, "*batch features"], Shaped[ArrayLike, "*batch features"]] | None,
    y_pred: tuple[Shaped[ArrayLike, "*batch features"], Shaped[ArrayLike, "*batch features"]],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Kullback-Leibler divergence of Gaussians with independent coordinates: the term of an ELBO.

    ``l_i = sum_j [(exp(s_ij) + (mean_ij - m_ij)^2) exp(-t_ij) - 1 - s_ij + t_ij] / 2`` over the last
    dimension, where ``s`` is ``log_variance`` and ``m``, ``t`` are mean and log-variance of the prior.

    Args:
        y_true: the prior, ``None`` for mean 0 and variance 1, or a tuple ``(mean, log_variance)``.
        y_pred: the posterior, the tuple ``(mean, log_variance)``, each ``(B, ..., F)``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: an argument is no pair, shapes differ, or do not fit ``weights`` or ``where``.

    >>> gaussian_kl(None, (jnp.array([[1.0, 2.0]]), jnp.zeros((1, 2)))).tolist()
    [2.5]

    Kingma and Welling, Auto-encoding variational Bayes (2014), appendix B.
    """
    who = "gaussian_kl"
    named = _reduction.parts(who, "y_pred", y_pred, "mean", "log_variance")
    if y_true is not None:
        named |= _reduction.parts(who, "y_true", y_true, "prior_mean", "prior_log_variance")
    group = _reduction.group(who, named, where=where, vectors=True)
    mean, log_variance = group.arrays[:2]
    prior_mean, prior = group.arrays[2:] if y_true is not None else (0.0, jnp.zeros_like(mean))
    ratio = log_variance - prior
    elements = (jnp.square(mean - prior_mean) * jnp.exp(-prior) + (jnp.expm1(ratio) - ratio)) / 2
    return group.reduce(jnp.sum(elements, axis=-1), reduction=reduction, weights=weights)
