"""The share of right predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _classes, _examples
from axonax.functional.metrics import _labels, _tally
from axonax.tensor.contracts import Metric
from axonax.tensor.precision import promoted

_WHO = "accuracy"


def accuracy(
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    sparse: bool | None = None,
    ignore_index: int | None = None,
    axis: int = -1,
) -> Metric:
    """Accuracy: the weighted share of examples whose prediction is right.

    ``sum_i w_i [predicted_i = y_true_i] / sum_i w_i``, 0 with nothing to count. The shapes say what is
    compared:

    - binary, ``y_true`` and ``y_pred`` both ``(B,)`` or ``(B, ..., 1)``: ``y_pred > threshold`` against
      labels 0 and 1. Predictions that are integers are compared as they are.
    - categorical, both ``(B, ..., K)``: the places of the largest numbers; the first of equal ones.
    - sparse, integer ``y_true`` ``(B, ...)`` and ``y_pred`` ``(B, ..., K)``: the class index.

    ``weights`` and ``where`` of the update have the shape of the examples or its leading dimensions. Counts
    are exact up to 2**64, weighted sums are compensated. A prediction that holds NaN is wrong.

    Args:
        threshold: above which a binary prediction means 1; a probability with ``from_logits``.
        from_logits: whether binary predictions are logits, compared after a sigmoid.
        sparse: True insists on class indices (and takes them as ``(B, ..., 1)`` too), False on one number
            a class; ``None`` reads it from the shapes.
        ignore_index: the class index, in range or not, whose examples do not exist.
        axis: the class dimension of ``y_pred``.

    Returns:
        The metric; its value is a float32 scalar. A label that is no class gives NaN under ``jit``.

    Raises:
        ValueError: ``threshold`` is no probability with ``from_logits``; at the first batch, shapes fit no
            form, or labels that can be read are no classes.

    >>> metric = accuracy()
    >>> float(metric(jnp.array([0, 1, 1, 0]), jnp.array([0.1, 0.9, 0.4, 0.2])))
    0.75
    >>> state = metric.init(jnp.array([2]), jnp.zeros((1, 3)))
    >>> state = metric.update(state, jnp.array([2, 0]), jnp.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]))
    >>> float(metric.compute(state))
    0.5
    """
    if from_logits:
        _examples.require_fraction(_WHO, "threshold", threshold)
        threshold = _labels.logit(threshold)
    options = _Options(threshold=threshold, sparse=sparse, ignore_index=ignore_index, axis=axis)

    def init(y_true: Any, y_pred: Any) -> _tally.Tally:
        _form(options, y_true, y_pred)
        return _tally.zeros((2,))

    def update(
        state: _tally.Tally, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _tally.Tally:
        right, wrong_label, kept = _outcomes(options, y_true, y_pred, where)
        if weights is not None:
            weights = _examples.spread(_WHO, "weights", weights, right.shape)
        flags = jnp.stack([right & kept, kept])
        return _tally.spoil(_tally.add(state, flags, weights), jnp.any(wrong_label & kept))

    def compute(state: _tally.Tally) -> jax.Array:
        right, total = _tally.value(state)
        return _tally.ratio(right, total)

    return Metric(init=init, update=update, merge=_tally.merge, compute=compute, name=_WHO)


@dataclass(frozen=True, kw_only=True)
class _Options:
    threshold: float
    sparse: bool | None
    ignore_index: int | None
    axis: int


def _form(options: _Options, y_true: Any, y_pred: Any) -> _classes.Classes | None:
    """How the classes are named; ``None`` for binary labels."""
    return _labels.describe(
        _WHO, y_true, y_pred, axis=options.axis, sparse=options.sparse, ignore_index=options.ignore_index
    )


def _outcomes(
    options: _Options, y_true: Any, y_pred: Any, where: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of each example whether it is predicted right, whether its label is no class, whether it counts."""
    classes = _form(options, y_true, y_pred)
    if classes is None:
        kept = _examples.mask(_WHO, where, np.shape(y_pred))
        if not jnp.issubdtype(_examples.dtype_of(y_pred), jnp.integer):
            _labels.require_binary(_WHO, y_true, where)
        right, wrong_label = _binary(options.threshold, jnp.asarray(y_true), jnp.asarray(y_pred))
    else:
        kept = _classes.counted(classes, y_true, where, options.ignore_index)
        _classes.require_in_range(classes, y_true, where, options.ignore_index)
        right, wrong_label = _categorical(classes, y_true, jnp.asarray(y_pred))
    return right, wrong_label, jnp.ones_like(right) if kept is None else kept


def _binary(threshold: float, y_true: jax.Array, y_pred: jax.Array) -> tuple[jax.Array, jax.Array]:
    if jnp.issubdtype(y_pred.dtype, jnp.integer):
        wide = promoted(y_true.dtype, y_pred.dtype)
        return y_true.astype(wide) == y_pred.astype(wide), jnp.zeros(y_true.shape, bool)
    scores = y_pred.astype(_examples.computing_dtype(_examples.floating_dtype(_WHO, y_pred)))
    right = ((scores > threshold) == (y_true == 1)) & ~jnp.isnan(scores)
    return right, (y_true != 0) & (y_true != 1)


def _categorical(classes: _classes.Classes, y_true: Any, y_pred: jax.Array) -> tuple[jax.Array, jax.Array]:
    best = _labels.first_largest(y_pred, classes.axis)
    if not classes.sparse:
        right = best == _labels.first_largest(jnp.asarray(y_true), classes.axis)
        return right & (best < classes.count), jnp.zeros_like(right)
    found = _classes.labels(classes, y_true)
    wrong_label = (found < 0) | (found >= classes.count)
    return (best == found) & ~wrong_label, wrong_label
