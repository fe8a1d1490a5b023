"""How often each class was true, predicted and both: what precision, recall and their like are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.metrics import _labels, _tally
from axonax.tensor import names
from axonax.tensor.contracts import Metric


class Cells(NamedTuple):
    """True and false positives and negatives of each class, float32 of shape ``(C,)``."""

    tp: jax.Array
    fp: jax.Array
    fn: jax.Array
    tn: jax.Array


Score = Callable[[Cells], jax.Array]


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Statistics: tallies of both, predicted and true for each of C classes, then of all examples."""

    reading: _labels.Reading

    def init(self, y_true: Any, y_pred: Any) -> _tally.Tally:
        """Tallies at zero, by the shapes."""
        return _tally.zeros((3 * self.reading.count(y_true, y_pred) + 1,))

    def update(
        self, state: _tally.Tally, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> _tally.Tally:
        """Count a batch in."""
        labels = self.reading.read(y_true, y_pred, where)
        length = state.sums.shape[0]
        count = (length - 1) // 3
        true, predicted = (self._places(labels, each, count) for each in (labels.true, labels.predicted))
        both = jnp.where(true == predicted, true, count)
        columns = [
            jnp.where(each < count, each + first, length)
            for each, first in ((both, 0), (predicted, count), (true, 2 * count))
        ]
        total = jnp.full((*labels.kept.shape, 1), length - 1)
        places = jnp.where(labels.kept[..., None], jnp.concatenate([*columns, total], axis=-1), length)
        if weights is not None:
            weights = _examples.spread(self.reading.who, "weights", weights, labels.kept.shape)[..., None]
        return _tally.spoil(_tally.scatter(state, places, weights), labels.wrong)

    merge = staticmethod(_tally.merge)

    @staticmethod
    def _places(labels: _labels.Labels, each: jax.Array, count: int) -> jax.Array:
        """Class indices with a last dimension; ``count`` where there is none."""
        if labels.binary:
            return jnp.where(each, jax.lax.broadcasted_iota(jnp.int32, each.shape, each.ndim - 1), count)
        return jnp.where((each >= 0) & (each < count), each, count)[..., None]


def cells(state: _tally.Tally) -> Cells:
    """The four cells of each class, right to the rounding of float32."""
    count = (state.sums.shape[0] - 1) // 3
    both, predicted, true, total = (
        jax.tree.map(lambda leaf, part=part: leaf[part], state)
        for part in (slice(count), slice(count, 2 * count), slice(2 * count, -1), slice(-1, None))
    )
    fn = _tally.minus(true, both)
    tn = _tally.minus(
        jax.tree.map(lambda whole, like: jnp.broadcast_to(whole, like.shape), total, fn), predicted
    )
    return Cells(*map(_tally.value, (both, _tally.minus(predicted, both), fn, _tally.minus(tn, fn))))


def one_or_all(values: jax.Array) -> jax.Array:
    """The only value as a scalar, else one value a class."""
    return values[0] if values.shape == (1,) else values


def _macro(score: Score, found: Cells, ignored: jax.Array) -> jax.Array:
    """A class that is neither true nor predicted anywhere says nothing, nor does the ignored one."""
    counts = ((found.tp + found.fp + found.fn > 0) & ~ignored).astype(jnp.float32)
    return _tally.ratio(jnp.sum(score(found) * counts), jnp.sum(counts))


def _weighted(score: Score, found: Cells, _: jax.Array) -> jax.Array:
    """The ignored class is true nowhere."""
    support = found.tp + found.fn
    return _tally.ratio(jnp.sum(score(found) * support), jnp.sum(support))


_AVERAGES: dict[str, Callable[[Score, Cells, jax.Array], jax.Array]] = {
    "none": lambda score, found, ignored: jnp.where(ignored, jnp.nan, score(found)),
    "micro": lambda score, found, _: score(Cells(*(jnp.sum(each) for each in found))),
    "macro": _macro,
    "weighted": _weighted,
}


def score_metric(name: str, score: Score, *, average: str, **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """The metric of a score of the cells, averaged over the classes.

    Args:
        name: of the metric.
        score: from cells of any shape to a score of that shape.
        average: "none", "micro", "macro" or "weighted"; a single class is not averaged. The class of
            ``ignore_index`` is NaN in "none" and takes no part in "macro" and "weighted".
        labels: options of `_labels.Reading`.

    Raises:
        ValueError: ``average`` is unknown.
    """
    joined = names.lookup(_AVERAGES, average, "average")
    statistics = ClassCounts(reading=_labels.Reading(who=name, **labels))
    ignore = statistics.reading.ignore_index

    def compute(state: _tally.Tally) -> jax.Array:
        found = cells(state)
        # No class has the index -1.
        ignored = jnp.arange(found.tp.size) == (-1 if ignore is None else ignore)
        value = score(found)[0] if found.tp.shape == (1,) else joined(score, found, ignored)
        # An average leaves out what does not occur, and so would the NaN of a bad label.
        return jnp.where(jnp.isnan(jnp.sum(found.tp)), jnp.nan, value)

    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=name
    )
