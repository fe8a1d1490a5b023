"""Cross-entropy of one class out of several."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _classes, _examples
from axonax.functional.losses import _reduction

_WHO = "categorical_cross_entropy"


def categorical_cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    from_logits: bool = False,
    sparse: bool | None = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: str = "none",
    weights: Any = None,
    where: Any = None,
) -> jax.Array:
    r"""Cross-entropy of each example.

    ``l_i = -sum_c class_weights_c * y_ic * log p_ic`` with ``p = y_pred``, or ``softmax(y_pred)`` with
    ``from_logits``. The mean divides by ``sum_i weights_i * sum_c class_weights_c * y_ic``.

    A logit of -inf masks its class: it adds nothing, gets gradient 0 and no share of the label smoothing.
    Probabilities are not normalized; they are raised to the smallest normal number of their dtype, and the
    gradient goes on below it (bounded by 2**100). After a softmax that underflows to 0 it still vanishes in
    the softmax: train from logits.

    Args:
        y_true: integer class indices ``(B, ...)``, one dimension less than ``y_pred``; or one-hot or
            probabilities of exactly the shape of ``y_pred``.
        y_pred: probabilities or logits, ``(B, ..., K)``.
        from_logits: whether ``y_pred`` holds logits.
        sparse: True insists on class indices (and takes them as ``(B, ..., 1)`` too), False on one number
            a class; ``None`` reads it from the shapes.
        class_weights: ``(K,)``.
        label_smoothing: ``s`` in [0, 1]; targets become ``y * (1 - s) + s / K``.
        ignore_index: the class index, in range or not, whose examples do not exist.
        axis: the class dimension of ``y_pred``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least. An index out of range gives NaN under ``jit``.

    Raises:
        ValueError: shapes fit neither form or do not fit an option, indices are no integers or, where
            their values are known, out of range, or an option is out of its range.

    >>> probabilities = jnp.array([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
    >>> print(categorical_cross_entropy(jnp.array([1, 2]), probabilities).round(4))
    [0.0513 2.3026]
    """
    _examples.require_fraction(_WHO, "label_smoothing", label_smoothing)
    classes = _classes.describe(_WHO, y_true, y_pred, axis=axis, sparse=sparse)
    kept = _classes.counted(classes, y_true, where, ignore_index)
    _classes.require_in_range(classes, y_true, where, ignore_index)
    y_pred = jnp.asarray(y_pred)
    dtype = _examples.floating_dtype(_WHO, jnp.asarray(y_true), y_pred)
    targets = _targets(classes, y_true, _examples.computing_dtype(dtype))
    log_p, allowed = _log_probabilities(classes, y_pred, kept, targets.dtype, from_logits)
    if kept is not None:
        targets = jnp.where(kept[..., None], targets, 0)
    scale = _class_weights(classes, class_weights, log_p)
    smooth = targets * (1 - label_smoothing) + label_smoothing * allowed / jnp.sum(allowed, -1, keepdims=True)
    values = -jnp.sum(_product(smooth * scale, log_p), axis=-1)
    if classes.sparse:
        values = jnp.where(_classes.one_hot(classes, y_true).any(-1), values, jnp.nan)
    shares = None if class_weights is None else jnp.sum(targets * scale, axis=-1)
    return _reduction.reduce(
        _WHO, values, reduction=reduction, weights=weights, kept=kept, dtype=dtype, shares=shares
    )


def _targets(classes: _classes.Classes, y_true: Any, dtype: Any) -> jax.Array:
    """One number a class, ``(*examples, K)``."""
    if classes.sparse:
        return _classes.one_hot(classes, y_true).astype(dtype)
    return jnp.moveaxis(jnp.asarray(y_true), classes.axis, -1).astype(dtype)


def _log_probabilities(
    classes: _classes.Classes, y_pred: jax.Array, kept: jax.Array | None, dtype: Any, from_logits: bool
) -> tuple[jax.Array, jax.Array]:
    """Logarithms ``(*examples, K)`` of the probabilities, and 1 for each class that is not masked."""
    scores = jnp.moveaxis(y_pred, classes.axis, -1)
    floor = float(_examples.limits(scores.dtype).tiny)
    scores = scores.astype(dtype)
    if kept is not None:
        # Replaced before the logarithm, a NaN in a masked example reaches neither value nor gradient.
        scores = jnp.where(kept[..., None], scores, 1)
    if not from_logits:
        return _floored_log(scores, floor), jnp.ones_like(scores)
    # A logit of +inf is certainty: lowered to the largest finite number it gives 0, not inf - inf.
    bounded = jnp.minimum(scores, float(_examples.limits(dtype).max))
    return _log_softmax(bounded), (scores > -jnp.inf).astype(dtype)


def _floored_log(probabilities: jax.Array, floor: float) -> jax.Array:
    """``log(max(p, floor))`` with the slope ``1 / max(p, floor, 2**-100)``.

    The slope goes on below the floor, where a confidently wrong prediction needs it; its bound leaves room
    for weights and loss scales, whose overflow would come out of a softmax as NaN.
    """
    bounded = jnp.log(_reduction.clip(probabilities, max(floor, 2.0**-100), jnp.inf))
    value = jnp.log(jnp.maximum(probabilities, floor))
    return bounded + jax.lax.stop_gradient(value - bounded)


def _log_softmax(logits: jax.Array) -> jax.Array:
    """The log-softmax over the last dimension, to a few ulp also where the probability is close to 1.

    With ``log(1 + rest)`` a loss of 1e-9 is not 0: ``exp`` of the largest shifted logit, exactly 1, is taken
    out of the sum as a constant, so that the gradient stays that of the whole sum.
    """
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True, initial=-jnp.inf))
    shifted = logits - largest
    ones = jax.lax.stop_gradient(shifted == 0).astype(logits.dtype)
    rest = jnp.sum(jnp.exp(shifted) - ones, axis=-1, keepdims=True)
    return shifted - jnp.log1p(rest + (jnp.sum(ones, axis=-1, keepdims=True) - 1))


def _class_weights(classes: _classes.Classes, class_weights: Any, like: jax.Array) -> jax.Array:
    if class_weights is None:
        return jnp.ones_like(like)
    found = jnp.asarray(class_weights)
    if found.shape != (classes.count,):
        raise ValueError(
            f"{_WHO}: class_weights must have shape ({classes.count},), one for each class, got {found.shape}"
        )
    return jnp.broadcast_to(found.astype(like.dtype).reshape((1,) * (like.ndim - 1) + (-1,)), like.shape)


def _product(factors: jax.Array, logs: jax.Array) -> jax.Array:
    """``factors * logs`` where 0 times -inf is 0."""
    return factors * jnp.where((factors == 0) & (logs == -jnp.inf), 0, logs)
