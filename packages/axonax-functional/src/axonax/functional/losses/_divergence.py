"""Distances between probability distributions."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _logarithms, _reduction, _softmax_cross_entropy
from axonax.tensor.contracts import Closing, expects


@expects(Closing("softmax"))
def kl_divergence(
    y_true: Shaped[ArrayLike, "*batch classes"],
    y_pred: Shaped[ArrayLike, "*batch classes"],
    *,
    log_target: bool = False,
    from_logits: bool = False,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Kullback-Leibler divergence of the predicted distribution from the true one.

    ``l_i = sum_c y_ic (log y_ic - log p_ic)`` over the last dimension, with ``p = y_pred``, or
    ``softmax(y_pred)`` with ``from_logits``. A target of 0 adds 0. Probabilities are raised to the smallest
    normal number of their dtype, the gradient goes on below it (bounded by 2**100).

    Args:
        y_true: probabilities, or their logarithms; ``(B, ..., K)``.
        y_pred: probabilities or logits of exactly that shape.
        log_target: whether ``y_true`` holds logarithms.
        from_logits: whether ``y_pred`` holds logits; logarithms of probabilities are logits too.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ or are (), do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> round(kl_divergence(jnp.array([[0.0, 1.0]]), jnp.array([[0.6, 0.4]])).item(), 4)
    0.9163

    Kullback and Leibler, On information and sufficiency (1951).
    """
    pair = _reduction.pair("kl_divergence", y_true, y_pred, where=where, neutral=1.0, vectors=True)
    tiny = [float(_examples.limits(jnp.asarray(each).dtype).tiny) for each in (y_true, y_pred)]
    if log_target:
        target, log_y = jnp.exp(pair.y_true), pair.y_true
    else:
        target, log_y = pair.y_true, _logarithms.floored(pair.y_true, tiny[0])
    if from_logits:
        # 0 times -inf is NaN: a class that is masked on both sides adds nothing.
        known = jnp.sum(jnp.where(target == 0, 0, target * log_y), axis=-1)
        values = known + _softmax_cross_entropy.of_distributions(pair.y_pred, target)
    else:
        gap = log_y - _logarithms.floored(pair.y_pred, tiny[1])
        values = jnp.sum(target * (jnp.where(target == 0, 0, gap) if log_target else gap), axis=-1)
    return pair.reduce(values, reduction=reduction, weights=weights)


@expects(Closing("softmax"))
def js_divergence(
    y_true: Shaped[ArrayLike, "*batch classes"],
    y_pred: Shaped[ArrayLike, "*batch classes"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Jensen-Shannon divergence of two distributions: symmetric, at most ``log 2``.

    ``l_i = sum_c [y_ic log(y_ic / m_ic) + p_ic log(p_ic / m_ic)] / 2`` over the last dimension, with
    ``m = (y_true + y_pred) / 2``. A probability of 0 adds 0.

    Args:
        y_true: probabilities, ``(B, ..., K)``.
        y_pred: probabilities of exactly that shape.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ or are (), do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> round(js_divergence(jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]])).item(), 4)
    0.6931

    Lin, Divergence measures based on the Shannon entropy (1991).
    """
    pair = _reduction.pair("js_divergence", y_true, y_pred, where=where, neutral=1.0, vectors=True)
    tiny = float(_examples.limits(pair.y_true.dtype).tiny)
    middle = _logarithms.floored((pair.y_true + pair.y_pred) / 2, tiny)
    terms = [each * (_logarithms.floored(each, tiny) - middle) for each in pair.arrays]
    return pair.reduce(jnp.sum(terms[0] + terms[1], axis=-1) / 2, reduction=reduction, weights=weights)
