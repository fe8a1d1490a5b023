"""Agreement of two labelings, by the matrix of how often each pair of classes met."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.metrics import _class_counts, _labels, _tally
from axonax.tensor import names
from axonax.tensor.contracts import Metric


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Statistics: a tally of each pair of a true and a predicted class, row by row."""

    reading: _labels.Reading

    def init(self, y_true: Any, y_pred: Any) -> _tally.Tally:
        """Tallies at zero, by the shapes."""
        if self.reading.multilabel:
            raise ValueError(f"{self.reading.who}: columns of many labels have no single confusion matrix")
        return _tally.zeros((max(self.reading.count(y_true, y_pred), 2) ** 2,))

    def update(
        self, state: _tally.Tally, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _tally.Tally:
        """Count a batch in; a prediction that is no class spoils the matrix."""
        labels = self.reading.read(y_true, y_pred, where)
        length = state.sums.shape[0]
        count = _side(state)
        true, predicted = labels.true, labels.predicted
        if labels.binary:
            true, predicted = (each[..., 0].astype(jnp.int32) for each in (true, predicted))
        inside = (true >= 0) & (true < count) & (predicted < count)
        places = jnp.where(inside & labels.kept, true * count + predicted, length)
        if weights is not None:
            weights = _examples.spread(self.reading.who, "weights", weights, places.shape)
        return _tally.spoil(_tally.scatter(state, places, weights), jnp.any(~inside & labels.kept))

    merge = staticmethod(_tally.merge)


def confusion_matrix(*, normalize: str = "none", **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """Confusion matrix: how often class ``j`` was predicted (column) of examples of class ``i`` (row).

    Args:
        normalize: "none" (tallies), "true" (shares of each row), "pred" (of each column) or "all".
        labels: ``threshold``, ``from_logits``, ``sparse``, ``ignore_index``, ``axis`` as in `accuracy`;
            ``classes=K`` takes class indices as predictions.

    Returns:
        The metric; its value is float32 ``(K, K)``, ``(2, 2)`` for binary labels; an empty row or column is
        0. A prediction that holds NaN has no column: the matrix becomes NaN.

    Raises:
        ValueError: ``normalize`` is unknown, or shapes or labels fit no form.

    >>> confusion_matrix(classes=3)(jnp.array([0, 1, 2, 2]), jnp.array([0, 2, 2, 1])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    """
    scaled = names.lookup(_NORMALIZATIONS, normalize, "normalize")
    return _metric("confusion_matrix", scaled, labels)


def cohen_kappa(*, distance: str = "none", **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """Cohen's kappa: how much better than by chance two labelings agree.

    ``1 - sum_ij d_ij O_ij / sum_ij d_ij E_ij`` with the observed ``O`` and what the margins lead one to
    expect, ``E_ij = row_i column_j / n``; 0 where chance explains all (J. Cohen, 1960).

    Args:
        distance: how wrong a wrong class is: "none" (1 each), "linear" (``|i - j|``) or "quadratic".
        labels: as in `confusion_matrix`.

    Returns:
        The metric; its value is a float32 scalar in [-1, 1].

    Raises:
        ValueError: ``distance`` is unknown, or shapes or labels fit no form.

    >>> round(float(cohen_kappa()(jnp.array([0, 1, 1, 1]), jnp.array([1, 1, 1, 1]))), 4)
    0.0
    """
    apart = names.lookup(_DISTANCES, distance, "distance")

    def kappa(matrix: jax.Array) -> jax.Array:
        rank = jnp.arange(matrix.shape[0])
        cost = apart(jnp.abs(rank[:, None] - rank[None, :])).astype(jnp.float32)
        shares = _tally.ratio(matrix, jnp.sum(matrix))
        expected = jnp.sum(shares, axis=1)[:, None] * jnp.sum(shares, axis=0)[None, :]
        chance = jnp.sum(cost * expected)
        return jnp.where(chance == 0, 0, 1 - _tally.ratio(jnp.sum(cost * shares), chance))

    return _metric("cohen_kappa", kappa, labels)


def matthews_correlation(**labels: Unpack[_labels.LabelOptions]) -> Metric:
    """Matthews' correlation of true and predicted labels.

    ``(tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))``, for K classes summed over them above
    and below (J. Gorodkin, 2004); 0 where one side is constant.

    Args:
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar in [-1, 1].

    Raises:
        ValueError: shapes or labels fit no form.

    >>> round(float(matthews_correlation()(jnp.array([1, 1, 1, 0]), jnp.array([1, 0, 1, 1]))), 4)
    -0.3333
    """
    statistics = _class_counts.ClassCounts(reading=_labels.Reading(who="matthews_correlation", **labels))

    def compute(state: _tally.Tally) -> jax.Array:
        found = _class_counts.cells(state)
        total = found.tp + found.fp + found.fn + found.tn
        tp, fp, fn, tn = (_tally.ratio(each, total) for each in found)
        predicted = jnp.sum((tp + fp) * (tn + fn))
        true = jnp.sum((tp + fn) * (tn + fp))
        return _tally.ratio(jnp.sum(tp * tn - fp * fn), jnp.sqrt(predicted) * jnp.sqrt(true))

    return Metric(
        init=statistics.init,
        update=statistics.update,
        merge=statistics.merge,
        compute=compute,
        name="matthews_correlation",
    )


def _side(state: _tally.Tally) -> int:
    return math.isqrt(state.sums.shape[0])


def _metric(name: str, value: Callable[[jax.Array], jax.Array], labels: _labels.LabelOptions) -> Metric:
    statistics = Confusion(reading=_labels.Reading(who=name, **labels))

    def compute(state: _tally.Tally) -> jax.Array:
        return value(_tally.value(state).reshape(_side(state), _side(state)))

    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=name
    )


_NORMALIZATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "none": lambda matrix: matrix,
    "true": lambda matrix: _tally.ratio(matrix, jnp.sum(matrix, axis=1, keepdims=True)),
    "pred": lambda matrix: _tally.ratio(matrix, jnp.sum(matrix, axis=0, keepdims=True)),
    "all": lambda matrix: _tally.ratio(matrix, jnp.sum(matrix)),
}
_DISTANCES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "none": lambda steps: steps > 0,
    "linear": lambda steps: steps,
    "quadratic": jnp.square,
}
