"""Metrics of how scores rank the examples of a class above the others.

``capacity=`` keeps every example (three floats each) and is exact; one more than that is an error, NaN
under ``jit``. ``bins=`` counts scores in [0, 1] in that many bins, in any number; scores in one bin tie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _classes, _examples
from axonax.functional.metrics import _labels, _scored, _tally
from axonax.tensor import names
from axonax.tensor.contracts import Metric


def roc_auc(*, capacity: int | None = None, bins: int | None = None, average: str = "macro") -> Metric:
    """Area under the receiver operating characteristic: the share of pairs that are ranked right.

    Of each positive and each negative example, by weight; a tie counts half.

    Args:
        capacity: how many examples are kept, to be exact; 65536 if neither is given.
        bins: how many bins of scores in [0, 1] are counted instead.
        average: of K classes, each against the rest: "macro", the mean over those that occur among others, or
            "none".

    Returns:
        The metric of labels 0 and 1 and scores ``(B,)``, or of class indices or one-hot targets and scores
        ``(B, K)``; its value is a float32 scalar, ``(K,)`` with "none"; 0 without positives or negatives.

    Raises:
        ValueError: an option is out of its range; shapes or labels fit no form; too many examples.

    >>> float(roc_auc(capacity=8)(jnp.array([0, 1, 0, 1]), jnp.array([0.1, 0.3, 0.4, 0.8])))
    0.75
    """
    return _ranked("roc_auc", _scored.roc_area, capacity, bins, average)


def average_precision(
    *, capacity: int | None = None, bins: int | None = None, average: str = "macro"
) -> Metric:
    """Average precision: the mean over the positives of the precision at their score.

    ``sum_n (R_n - R_(n-1)) P_n`` over the thresholds; the area under the precision-recall curve in steps.

    Args:
        capacity: how many examples are kept, to be exact; 65536 if neither is given.
        bins: how many bins of scores in [0, 1] are counted instead.
        average: of K classes: "macro" or "none".

    Returns:
        The metric, as `roc_auc`; 0 without positives.

    Raises:
        ValueError: an option is out of its range; shapes or labels fit no form; too many examples.

    >>> score = average_precision(capacity=8)(jnp.array([0, 1, 0, 1]), jnp.array([0.1, 0.3, 0.4, 0.8]))
    >>> round(float(score), 4)
    0.8333
    """
    return _ranked("average_precision", _scored.precision_area, capacity, bins, average)


def precision_at_recall(
    *, recall: float = 0.5, capacity: int | None = None, bins: int | None = None, average: str = "macro"
) -> Metric:
    """Precision at recall: the highest precision of a threshold with at least this recall.

    Args:
        recall: in [0, 1].
        capacity: how many examples are kept, to be exact; 65536 if neither is given.
        bins: how many bins of scores in [0, 1] are counted instead.
        average: of K classes: "macro" or "none".

    Returns:
        The metric, as `roc_auc`; 0 without positives.

    Raises:
        ValueError: an option is out of its range; shapes or labels fit no form; too many examples.

    >>> float(precision_at_recall(recall=0.5, capacity=8)(jnp.array([0, 1, 1]), jnp.array([0.1, 0.3, 0.8])))
    1.0
    """
    who = "precision_at_recall"
    _examples.require_fraction(who, "recall", recall)

    def best(groups: jax.Array, last: jax.Array) -> jax.Array:
        precision, found = _scored.points(groups, last)
        return jnp.max(jnp.where(found >= recall, precision, 0), initial=0)

    return _ranked(who, best, capacity, bins, average)


def recall_at_precision(
    *, precision: float = 0.5, capacity: int | None = None, bins: int | None = None, average: str = "macro"
) -> Metric:
    """Recall at precision: the highest recall of a threshold with at least this precision; 0 if none has.

    Args:
        precision: in [0, 1].
        capacity: how many examples are kept, to be exact; 65536 if neither is given.
        bins: how many bins of scores in [0, 1] are counted instead.
        average: of K classes: "macro" or "none".

    Returns:
        The metric, as `roc_auc`; 0 without positives.

    Raises:
        ValueError: an option is out of its range; shapes or labels fit no form; too many examples.

    >>> metric = recall_at_precision(precision=0.9, capacity=8)
    >>> float(metric(jnp.array([1, 0, 1]), jnp.array([0.1, 0.3, 0.8])))
    0.5
    """
    who = "recall_at_precision"
    _examples.require_fraction(who, "precision", precision)

    def best(groups: jax.Array, last: jax.Array) -> jax.Array:
        found, recall = _scored.points(groups, last)
        return jnp.max(jnp.where(found >= precision, recall, 0), initial=0)

    return _ranked(who, best, capacity, bins, average)


def _sides(who: str, y_true: Any, y_pred: Any, where: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scores and positives ``(N, C)``, one column a class (binary: one), and the wrong labels ``(N,)``."""
    scores = jnp.asarray(y_pred).astype(jnp.float32)
    found = _labels.describe(who, y_true, y_pred, axis=-1, sparse=None, ignore_index=None)
    if found is None:
        _labels.require_binary(who, y_true, where)
        true = jnp.ravel(jnp.asarray(y_true))
        return scores.reshape(-1, 1), (true == 1)[:, None], (true != 0) & (true != 1)
    _classes.require_in_range(found, y_true, where, None)
    true = jnp.asarray(y_true)
    true = jnp.ravel(true if found.sparse else _labels.first_largest(true, found.axis)).astype(jnp.int32)
    names_of = jax.lax.broadcasted_iota(jnp.int32, (true.size, found.count), 1)
    return scores.reshape(-1, found.count), true[:, None] == names_of, (true < 0) | (true >= found.count)


def _columns(who: str, y_true: Any, y_pred: Any) -> tuple[int, tuple[int, ...]]:
    """How many classes are scored, and the shape of the examples; of shapes alone."""
    found = _labels.describe(who, y_true, y_pred, axis=-1, sparse=None, ignore_index=None)
    return (1, np.shape(y_pred)) if found is None else (found.count, found.shape)


def _macro(values: jax.Array, mixed: jax.Array) -> jax.Array:
    return _tally.ratio(jnp.sum(jnp.where(mixed, values, 0)), jnp.sum(mixed).astype(jnp.float32))


_AVERAGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "macro": _macro,
    "none": lambda values, mixed: values[0] if values.shape == (1,) else values,
}


def _ranked(who: str, score: _scored.Score, capacity: int | None, bins: int | None, average: str) -> Metric:
    joined = names.lookup(_AVERAGES, average, "average")
    if capacity is not None and bins is not None:
        raise ValueError(f"{who}: give capacity= (exact) or bins=, not both")
    if bins is not None:
        return _binned(who, score, bins, joined)
    buffer = _scored.Buffer(who=who, capacity=_scored.CAPACITY if capacity is None else capacity)

    def init(y_true: Any, y_pred: Any) -> _scored.Kept:
        return buffer.empty(2 * _columns(who, y_true, y_pred)[0])

    def update(
        state: _scored.Kept, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _scored.Kept:
        scores, positive, wrong = _sides(who, y_true, y_pred, where)
        shares, kept = _scored.shares(who, _columns(who, y_true, y_pred)[1], weights, where)
        flags = jnp.where(wrong[:, None], jnp.nan, positive.astype(jnp.float32))
        return buffer.add(state, jnp.concatenate([scores, flags], axis=-1), shares, kept)

    def compute(state: _scored.Kept) -> jax.Array:
        scores, flags = jnp.split(state.columns, 2, axis=-1)
        groups, last = jax.vmap(_scored.curve, (1, 1, None))(scores, flags == 1, state.weights)
        value = joined(jax.vmap(score)(groups, last), jnp.all(jnp.sum(groups, axis=1) > 0, axis=-1))
        return buffer.spoiled(state, value)

    return Metric(init=init, update=update, merge=buffer.merge, compute=compute, name=who)


def _binned(who: str, score: _scored.Score, bins: int, joined: Any) -> Metric:
    if bins < 2:
        raise ValueError(f"{who}: bins must be at least 2, got {bins}")

    def init(y_true: Any, y_pred: Any) -> _tally.Tally:
        return _tally.zeros((2 * bins * _columns(who, y_true, y_pred)[0],))

    def update(
        state: _tally.Tally, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _tally.Tally:
        scores, positive, wrong = _sides(who, y_true, y_pred, where)
        shares, kept = _scored.shares(who, _columns(who, y_true, y_pred)[1], weights, where)
        wrong |= jnp.any(jnp.isnan(scores), axis=-1)
        column = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
        # Falling scores: the highest bin comes first.
        row = bins - 1 - _scored.places(scores, bins)
        index = (column * bins + row) * 2 + jnp.where(positive, 0, 1)
        index = jnp.where(kept[:, None], index, state.sums.shape[0])
        found = _tally.scatter(state, index, None if weights is None else shares[:, None])
        return _tally.spoil(found, jnp.any(wrong & kept))

    def compute(state: _tally.Tally) -> jax.Array:
        groups = _tally.value(state).reshape(-1, bins, 2)
        # A bin is a threshold where its last item stands: both of its sides lie in it.
        values = jax.vmap(lambda each: score(each, jnp.ones(bins, bool)))(groups)
        value = joined(values, jnp.all(jnp.sum(groups, axis=1) > 0, axis=-1))
        return jnp.where(jnp.isnan(jnp.sum(groups)), jnp.nan, value)

    return Metric(init=init, update=update, merge=_tally.merge, compute=compute, name=who)
