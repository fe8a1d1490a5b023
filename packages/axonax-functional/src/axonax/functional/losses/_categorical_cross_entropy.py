"""Cross-entropy of one class out of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.functional import _classes, _examples
from axonax.functional.losses import _logarithms, _reduction

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
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    dtype = _examples.floating_dtype(_WHO, y_true, y_pred)
    log_p = _log_probabilities(classes, y_pred, kept, _examples.computing_dtype(dtype), from_logits)
    class_weights = (
        None if class_weights is None else _classes.class_weights(_WHO, class_weights, log_p.scores)
    )
    if classes.sparse:
        values, shares = _of_indices(classes, y_true, log_p, class_weights)
    else:
        targets = jnp.moveaxis(y_true, classes.axis, -1).astype(log_p.scores.dtype)
        targets = targets if kept is None else jnp.where(kept[..., None], targets, 0)
        values, shares = _of_distributions(targets, log_p, class_weights)
    if label_smoothing > 0:
        values = (1 - label_smoothing) * values + label_smoothing * _of_uniform(log_p, class_weights)
    return _reduction.reduce(
        _WHO, values, reduction=reduction, weights=weights, kept=kept, dtype=dtype, shares=shares
    )


class _LogProbabilities(NamedTuple):
    """``log(scores) - normalizer[..., None]``, formed only for the classes that are asked for."""

    scores: jax.Array
    normalizer: jax.Array
    log: Callable[[jax.Array], jax.Array]


def _log_probabilities(
    classes: _classes.Classes, y_pred: jax.Array, kept: jax.Array | None, dtype: Any, from_logits: bool
) -> _LogProbabilities:
    scores = jnp.moveaxis(y_pred, classes.axis, -1)
    floor = float(_examples.limits(scores.dtype).tiny)
    scores = scores.astype(dtype)
    if kept is not None:
        # Replaced before the logarithm, a NaN in a masked example reaches neither value nor gradient.
        scores = jnp.where(kept[..., None], scores, 1)
    if not from_logits:
        return _LogProbabilities(
            scores, jnp.zeros(classes.shape, dtype), lambda p: _logarithms.floored(p, floor)
        )
    shifted = _logarithms.shifted(scores)
    return _LogProbabilities(shifted, _logarithms.sum_exp(shifted), lambda logits: logits)


def _of_indices(
    classes: _classes.Classes,
    y_true: jax.Array,
    log_p: _LogProbabilities,
    class_weights: jax.Array | None,
) -> tuple[jax.Array, jax.Array | None]:
    """The unsmoothed values, NaN where an index is out of range, and the shares in the mean."""
    labels = _classes.labels(classes, y_true)
    valid = (labels >= 0) & (labels < classes.count)
    index = jnp.where(valid, labels, 0)
    picked = jnp.take_along_axis(log_p.scores, index[..., None], axis=-1)[..., 0]
    values = jnp.where(valid, log_p.normalizer - log_p.log(picked), jnp.nan)
    if class_weights is None:
        return values, None
    shares = class_weights.ravel()[index]
    # 0 * inf is NaN: a class without weight adds nothing, even if it is masked.
    return shares * jnp.where((shares == 0) & jnp.isinf(values), 0, values), shares


def _of_distributions(
    targets: jax.Array, log_p: _LogProbabilities, class_weights: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """The unsmoothed values and the shares in the mean, from one number a class."""
    if class_weights is None:
        return _expectation(targets, log_p), None
    targets = targets * class_weights
    return _expectation(targets, log_p), jnp.sum(targets, axis=-1)


def _of_uniform(log_p: _LogProbabilities, class_weights: jax.Array | None) -> jax.Array:
    """The values against targets of ``1 / K``, K being the number of classes that are not masked."""
    allowed = log_p.scores > -jnp.inf
    shares = allowed.astype(log_p.scores.dtype)
    count = jnp.sum(shares, axis=-1)
    if class_weights is not None:
        shares = shares * class_weights
    logs = jnp.where(allowed, log_p.log(log_p.scores), 0)
    return (jnp.sum(shares, axis=-1) * log_p.normalizer - jnp.sum(shares * logs, axis=-1)) / count


def _expectation(targets: jax.Array, log_p: _LogProbabilities) -> jax.Array:
    """``-sum_c targets_c * log p_c``, in which 0 times -inf is 0."""
    logs = log_p.log(log_p.scores)
    finite = jnp.where((targets == 0) & (logs == -jnp.inf), 0, logs)
    return jnp.sum(targets, axis=-1) * log_p.normalizer - jnp.sum(targets * finite, axis=-1)
