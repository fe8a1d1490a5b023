"""Cross-entropy of independent yes-or-no labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _logarithms, _reduction
from axonax.tensor.contracts import Closing, expects

_WHO = "binary_cross_entropy"


@expects(Closing("sigmoid"))
def binary_cross_entropy(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    from_logits: bool = False,
    positive_weight: Shaped[ArrayLike, " ..."] = 1,
    negative_weight: Shaped[ArrayLike, " ..."] = 1,
    label_smoothing: float = 0.0,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Binary cross-entropy of each example.

    ``l_i = mean_j [-positive_weight * y_ij * log p_ij - negative_weight * (1 - y_ij) * log(1 - p_ij)]`` over
    the last dimension; with one dimension, that of the examples, no mean is taken. ``p = y_pred``, or
    ``sigmoid(y_pred)`` with ``from_logits``, which is exact however large the logits are.

    Probabilities are clipped to ``[eps, 1 - eps]`` with the ``eps`` of their dtype, the gradient is that at
    the clipped value. After a sigmoid that rounds to 0 or 1 it still vanishes in the sigmoid: train from
    logits.

    Args:
        y_true: labels 0 or 1, booleans or probabilities, ``(B, ..., F)`` or ``(B,)``.
        y_pred: probabilities or logits of exactly that shape.
        from_logits: whether ``y_pred`` holds logits.
        positive_weight: of the term of label 1: a number, or ``(F,)``. It scales the loss and does not
            enter the divisor of the mean.
        negative_weight: of the term of label 0, likewise.
        label_smoothing: ``s`` in [0, 1]; labels become ``y * (1 - s) + s / 2``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ or do not fit an option, or an option is out of its range.

    >>> loss = binary_cross_entropy(jnp.array([1, 0]), jnp.array([1e4, 1e4]), from_logits=True)
    >>> loss.tolist()
    [0.0, 10000.0]
    """
    _examples.require_fraction(_WHO, "label_smoothing", label_smoothing)
    pair = _reduction.pair(_WHO, y_true, y_pred, where=where, neutral=0.0 if from_logits else 0.5)
    smooth = pair.y_true * (1 - label_smoothing) + label_smoothing / 2
    positive = smooth * _feature_weight("positive_weight", positive_weight, pair.y_pred)
    negative = (1 - smooth) * _feature_weight("negative_weight", negative_weight, pair.y_pred)
    if from_logits:
        elements = _from_logits(positive, negative, pair.y_pred)
    else:
        elements = _from_probabilities(positive, negative, pair.y_pred, pair.eps)
    values = _reduction.feature_mean(elements)
    return pair.reduce(values, reduction=reduction, weights=weights)


def _from_logits(positive: jax.Array, negative: jax.Array, logits: jax.Array) -> jax.Array:
    log_p, log_q = _logarithms.sigmoids(logits)
    # 0 * inf is NaN: a term that does not count must not see an infinite logarithm.
    log_p = jnp.where((positive == 0) & jnp.isinf(log_p), 0, log_p)
    log_q = jnp.where((negative == 0) & jnp.isinf(log_q), 0, log_q)
    return -positive * log_p - negative * log_q


def _from_probabilities(
    positive: jax.Array, negative: jax.Array, probabilities: jax.Array, eps: float
) -> jax.Array:
    inside = _reduction.clip(probabilities, eps, 1 - eps)
    return -positive * jnp.log(inside) - negative * jnp.log1p(-inside)


def _feature_weight(name: str, weight: Any, y_pred: jax.Array) -> jax.Array:
    weight = jnp.asarray(weight).astype(y_pred.dtype)
    if weight.ndim > 1 or (weight.ndim == 1 and (y_pred.ndim < 2 or weight.shape != y_pred.shape[-1:])):
        raise ValueError(
            f"{_WHO}: {name} must be a number or have one for each feature of y_pred of shape "
            f"{y_pred.shape}, got shape {weight.shape}"
        )
    return jnp.broadcast_to(weight.reshape((1,) * (y_pred.ndim - weight.ndim) + weight.shape), y_pred.shape)
