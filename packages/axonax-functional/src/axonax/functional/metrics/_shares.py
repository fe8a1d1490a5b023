"""Shares of examples or of single labels that are right, other than plain accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _classes, _examples
from axonax.functional.metrics import _labels, _tally
from axonax.tensor.contracts import Metric

Outcome = tuple[jax.Array, jax.Array, jax.Array]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Statistics: tallies of the examples that are right, and of all."""

    who: str = field(compare=False)
    outcomes: Callable[[Any, Any, Any], Outcome]
    """of ``(y_true, y_pred, where)``: whether each is right, whether it counts; whether a label is wrong"""

    def init(self, y_true: Any, y_pred: Any) -> _tally.Tally:
        """Tallies at zero; fails where the shapes fit no form."""
        jax.eval_shape(lambda true, pred: self.outcomes(true, pred, None), *map(_abstract, (y_true, y_pred)))
        return _tally.zeros((2,))

    def update(
        self, state: _tally.Tally, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _tally.Tally:
        """Count a batch in."""
        right, kept, wrong = self.outcomes(y_true, y_pred, where)
        if weights is not None:
            weights = _examples.spread(self.who, "weights", weights, right.shape)
        return _tally.spoil(_tally.add(state, jnp.stack([right & kept, kept]), weights), wrong)

    merge = staticmethod(_tally.merge)


def top_k_accuracy(
    *, k: int = 5, sparse: bool | None = None, ignore_index: int | None = None, axis: int = -1
) -> Metric:
    """Top-k accuracy: the weighted share of examples whose class is among the k highest scores.

    Of equal scores the first come first. ``k = 1`` is categorical `accuracy`.

    Args:
        k: 1 or more.
        sparse: True insists on class indices (and takes them as ``(B, ..., 1)`` too), False on one number a
            class; ``None`` reads it from the shapes.
        ignore_index: the class index whose examples do not exist.
        axis: the class dimension of ``y_pred``.

    Returns:
        The metric of ``y_true`` ``(B, ...)`` or ``(B, ..., K)`` and ``y_pred`` ``(B, ..., K)``; its value is
        a float32 scalar. A prediction that holds NaN is wrong.

    Raises:
        ValueError: ``k`` is below 1; shapes fit no form, or labels that can be read are no classes.

    >>> scores = jnp.array([[0.1, 0.4, 0.3, 0.2], [0.9, 0.0, 0.1, 0.0]])
    >>> float(top_k_accuracy(k=2)(jnp.array([2, 3]), scores))
    0.5
    """
    who = "top_k_accuracy"
    if k < 1:
        raise ValueError(f"{who}: k must be at least 1, got {k}")

    def outcomes(y_true: Any, y_pred: Any, where: Any) -> Outcome:
        classes = _classes.describe(who, y_true, y_pred, axis=axis, sparse=sparse)
        kept = _classes.counted(classes, y_true, where, ignore_index)
        _classes.require_in_range(classes, y_true, where, ignore_index)
        scores = jnp.moveaxis(jnp.asarray(y_pred), classes.axis, -1)
        if classes.sparse:
            true = _classes.labels(classes, y_true)
        else:
            true = _labels.first_largest(jnp.asarray(y_true), classes.axis)
        wrong = (true < 0) | (true >= classes.count)
        own = jnp.take_along_axis(scores, jnp.clip(true, 0, classes.count - 1)[..., None], axis=-1)
        first = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1) < true[..., None]
        ahead = jnp.sum((scores > own) | ((scores == own) & first), axis=-1)
        kept = jnp.ones(classes.shape, bool) if kept is None else kept
        right = (ahead < k) & ~wrong & ~jnp.any(jnp.isnan(scores), axis=-1)
        return right, kept, jnp.any(wrong & kept)

    return _share(who, outcomes)


def hamming(*, threshold: float = 0.5, from_logits: bool = False) -> Metric:
    """Hamming distance: the weighted share of single labels that are wrong.

    Args:
        threshold: above which a prediction of a label 0 or 1 means 1; a probability with ``from_logits``.
        from_logits: whether predictions are logits, compared after a sigmoid.

    Returns:
        The metric of labels 0 and 1 ``(B, ..., K)`` and predictions of that shape, each label by itself, or
        of class indices ``(B, ...)`` and scores ``(B, ..., K)``; its value is a float32 scalar. Weights and
        masks have the shape of the labels or its leading dimensions.

    Raises:
        ValueError: shapes fit no form, or labels that can be read are none.

    >>> float(hamming()(jnp.array([[1, 0], [0, 1]]), jnp.array([[0.9, 0.2], [0.7, 0.8]])))
    0.25
    """
    reading = _labels.Reading(who="hamming", threshold=threshold, from_logits=from_logits)

    def outcomes(y_true: Any, y_pred: Any, where: Any) -> Outcome:
        right, kept, wrong = _elements(reading, y_true, y_pred, where)
        return ~right, kept, wrong

    return _share("hamming", outcomes)


def exact_match(*, threshold: float = 0.5, from_logits: bool = False) -> Metric:
    """Exact match: the weighted share of examples all of whose labels are right.

    Args:
        threshold: above which a prediction of a label 0 or 1 means 1; a probability with ``from_logits``.
        from_logits: whether predictions are logits, compared after a sigmoid.

    Returns:
        The metric of labels 0 and 1 ``(B, ...)`` and predictions of that shape, or of class indices
        ``(B, ...)`` and scores ``(B, ..., K)``; its value is a float32 scalar. Weights have the shape
        ``(B,)``; a mask of the shape of the labels takes single labels out, an example without labels does
        not exist.

    Raises:
        ValueError: shapes fit no form, or labels that can be read are none.

    >>> float(exact_match()(jnp.array([[1, 0], [0, 1]]), jnp.array([[0.9, 0.2], [0.7, 0.8]])))
    0.5
    """
    reading = _labels.Reading(who="exact_match", threshold=threshold, from_logits=from_logits)

    def outcomes(y_true: Any, y_pred: Any, where: Any) -> Outcome:
        right, kept, wrong = _elements(reading, y_true, y_pred, where)
        inner = tuple(range(1, right.ndim))
        return jnp.all(right | ~kept, axis=inner), jnp.any(kept, axis=inner), wrong

    return _share("exact_match", outcomes)


def _elements(reading: _labels.Reading, y_true: Any, y_pred: Any, where: Any) -> Outcome:
    """Of each single label whether it is right and counts."""
    if np.shape(y_true) == np.shape(y_pred):
        # As one column each, labels of any shape are binary.
        y_true, y_pred = (each[..., None] for each in map(_array, (y_true, y_pred)))
        where = None if where is None else _spread_mask(reading.who, where, y_pred.shape[:-1])
        labels = reading.read(y_true, y_pred, where)
        return (labels.true == labels.predicted)[..., 0, 0], labels.kept[..., 0], labels.wrong
    labels = reading.read(y_true, y_pred, where)
    return labels.true == labels.predicted, labels.kept, labels.wrong


def _spread_mask(who: str, where: Any, shape: tuple[int, ...]) -> Any:
    mask = _examples.mask(who, where, shape)
    return None if mask is None else mask[..., None]


def _array(value: Any) -> Any:
    """A list as NumPy takes it; arrays and tracers as they are."""
    return value if hasattr(value, "ndim") else np.asarray(value)


def _abstract(value: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(value), _examples.dtype_of(value))  # type: ignore[no-untyped-call]


def _share(who: str, outcomes: Callable[[Any, Any, Any], Outcome]) -> Metric:
    statistics = Share(who=who, outcomes=outcomes)

    def compute(state: _tally.Tally) -> jax.Array:
        part, whole = _tally.value(state)
        return _tally.ratio(part, whole)

    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=who
    )
