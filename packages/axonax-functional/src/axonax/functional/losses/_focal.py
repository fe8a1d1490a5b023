"""Cross-entropies that weigh examples by how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer, Shaped

from axonax.functional import _classes, _examples
from axonax.functional.losses import _logarithms, _reduction
from axonax.tensor import names
from axonax.tensor.contracts import Closing, expects


def _kind(y_true: Any, y_pred: Any, kind: str | None) -> str:
    """The kind of focal loss, by name or by the shapes."""
    if kind is None:
        return "categorical" if np.ndim(y_true) < np.ndim(y_pred) else "binary"
    return kind


def _closing(y_true: Any, y_pred: Any, *, kind: str | None = None, **options: Any) -> Closing:
    return Closing("sigmoid" if _kind(y_true, y_pred, kind) == "binary" else "softmax")


@expects(_closing)
def focal(
    y_true: Shaped[ArrayLike, " ..."],
    y_pred: Shaped[ArrayLike, " ..."],
    *,
    kind: str | None = None,
    gamma: float = 2.0,
    alpha: Shaped[ArrayLike, " ..."] | None = None,
    from_logits: bool = False,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Focal loss: cross-entropy in which examples that are right already count little.

    - binary: ``l_i = mean_j [-alpha y_ij (1 - p_ij)^gamma log p_ij - (1 - alpha) (1 - y_ij) p_ij^gamma
      log(1 - p_ij)]`` over the last dimension, without the factors of ``alpha`` where it is ``None``; with
      one dimension, that of the examples, no mean is taken. ``p`` is ``sigmoid(y_pred)`` from logits.
    - categorical: ``l_i = -sum_c alpha_c y_ic (1 - p_ic)^gamma log p_ic``; ``p`` is ``softmax(y_pred)``
      from logits.

    Probabilities are clipped to ``[eps, 1 - eps]`` with the ``eps`` of their dtype, the gradient is that at
    the clipped value.

    Args:
        y_true: labels 0 or 1 of the shape of ``y_pred``; for categories, one-hot or integer indices
            ``(B, ...)``.
        y_pred: probabilities or logits, ``(B, ..., F)`` or ``(B,)``; for categories, ``(B, ..., K)``.
        kind: "binary" or "categorical"; ``None`` reads it from the shapes: indices are of categories.
        gamma: how much the sure examples are held back; 0 is plain cross-entropy.
        alpha: the weight of label 1 in [0, 1], that of label 0 being its rest; for categories, ``(K,)``.
        from_logits: whether ``y_pred`` holds logits.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ or do not fit an option, or an option is out of its range.

    >>> [round(each, 4) for each in focal(jnp.array([1, 0]), jnp.array([0.9, 0.9])).tolist()]
    [0.0011, 1.8651]

    Lin and others, Focal loss for dense object detection (2017), equations 4 and 5.
    """
    _examples.require_nonnegative("focal", "gamma", gamma)
    compute = names.lookup(_KINDS, _kind(y_true, y_pred, kind), "kind of focal loss")
    return compute(
        y_true,
        y_pred,
        gamma=gamma,
        alpha=alpha,
        from_logits=from_logits,
        reduction=reduction,
        weights=weights,
        where=where,
    )


def _binary(
    y_true: Any,
    y_pred: Any,
    *,
    gamma: float,
    alpha: Any,
    from_logits: bool,
    reduction: str,
    weights: Any,
    where: Any,
) -> jax.Array:
    if alpha is not None:
        _examples.require_fraction("focal", "alpha", alpha)
    pair = _reduction.pair("focal", y_true, y_pred, where=where, neutral=0.5)
    if from_logits:
        log_p, log_q = _logarithms.sigmoids(pair.y_pred)
    else:
        inside = _reduction.clip(pair.y_pred, pair.eps, 1 - pair.eps)
        log_p, log_q = jnp.log(inside), jnp.log1p(-inside)
    positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    elements = -positive * pair.y_true * jnp.exp(gamma * log_q) * log_p
    elements -= negative * (1 - pair.y_true) * jnp.exp(gamma * log_p) * log_q
    values = _reduction.feature_mean(elements)
    return pair.reduce(values, reduction=reduction, weights=weights)


def _categorical(
    y_true: Any,
    y_pred: Any,
    *,
    gamma: float,
    alpha: Any,
    from_logits: bool,
    reduction: str,
    weights: Any,
    where: Any,
) -> jax.Array:
    found = _classes.gather("focal", y_true, y_pred, axis=-1, sparse=None, where=where)
    eps = float(_examples.limits(jnp.asarray(y_pred).dtype).eps)
    if from_logits:
        log_p = _logarithms.log_softmax(found.scores)
        rest = -jnp.expm1(log_p)
    else:
        inside = _reduction.clip(found.scores, eps, 1 - eps)
        log_p, rest = jnp.log(inside), 1 - inside
    # 0 times -inf is NaN, and so is the slope of a power at 0.
    log_p = jnp.where((found.targets == 0) & (log_p == -jnp.inf), 0, log_p)
    factors = jnp.where(rest > 0, jnp.where(rest > 0, rest, 1) ** gamma, float(gamma == 0))
    terms = found.targets * factors * log_p
    if alpha is not None:
        terms = terms * _classes.class_weights("focal", alpha, terms)
    return _reduction.reduce(
        "focal",
        -jnp.sum(terms, axis=-1),
        reduction=reduction,
        weights=weights,
        kept=found.kept,
        dtype=found.dtype,
    )


_KINDS: dict[str, Callable[..., jax.Array]] = {"binary": _binary, "categorical": _categorical}


@expects(Closing("softmax"))
def poly(
    y_true: Integer[ArrayLike, "*batch"] | Shaped[ArrayLike, "*batch classes"],
    y_pred: Shaped[ArrayLike, "*batch classes"],
    *,
    epsilon: float = 2.0,
    from_logits: bool = False,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""PolyLoss: cross-entropy with another first coefficient of its series in ``1 - p``.

    ``l_i = -sum_c y_ic log p_ic + epsilon (1 - sum_c y_ic p_ic)`` with ``p = y_pred``, or
    ``softmax(y_pred)`` with ``from_logits``.

    Args:
        y_true: integer class indices ``(B, ...)``, or one-hot or probabilities of the shape of ``y_pred``.
        y_pred: probabilities or logits, ``(B, ..., K)``.
        epsilon: what is added to the first coefficient, -1 or more.
        from_logits: whether ``y_pred`` holds logits.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least. An index out of range gives NaN under
        ``jit``.

    Raises:
        ValueError: shapes fit neither form or do not fit an option, or indices are out of range.

    >>> round(poly(jnp.array([1]), jnp.array([[0.25, 0.75]]), epsilon=1.0).item(), 4)
    0.5377

    Leng and others, PolyLoss: a polynomial expansion perspective of classification loss functions (2022).
    """
    found = _classes.gather("poly", y_true, y_pred, axis=-1, sparse=None, where=where)
    if from_logits:
        log_p = _logarithms.log_softmax(found.scores)
        p = jnp.exp(log_p)
    else:
        p = found.scores
        log_p = _logarithms.floored(p, float(_examples.limits(jnp.asarray(y_pred).dtype).tiny))
    log_p = jnp.where((found.targets == 0) & (log_p == -jnp.inf), 0, log_p)
    values = epsilon * (1 - jnp.sum(found.targets * p, axis=-1)) - jnp.sum(found.targets * log_p, axis=-1)
    return _reduction.reduce(
        "poly", values, reduction=reduction, weights=weights, kept=found.kept, dtype=found.dtype
    )
