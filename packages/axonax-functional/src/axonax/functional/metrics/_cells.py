"""True and false positives and negatives, counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import jax
import jax.numpy as jnp

from axonax.functional.metrics import _class_counts, _labels, _tally
from axonax.tensor import names
from axonax.tensor.contracts import Metric

_JOINED: dict[str, Callable[[jax.Array], jax.Array]] = {"micro": jnp.sum, "none": _class_counts.one_or_all}


def true_positives(*, average: str = "micro", **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """True positives: how often a class was predicted and is true.

    Args:
        average: "micro", the sum over the classes, or "none", one number a class.
        labels: as in `precision`.

    Returns:
        The metric. It counts exactly up to 2**64 (weighted sums are compensated); its value is that in
        float32, since weights may be fractions: a scalar, or ``(K,)`` with "none".

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> float(true_positives()(jnp.array([1, 0, 1, 1]), jnp.array([0.8, 0.6, 0.4, 0.9])))
    2.0
    """
    return _cell("true_positives", "tp", average, labels)


def false_positives(*, average: str = "micro", **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """False positives: how often a class was predicted and is not true.

    Args:
        average: "micro", the sum over the classes, or "none", one number a class.
        labels: as in `precision`.

    Returns:
        The metric, as `true_positives`.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> float(false_positives()(jnp.array([1, 0, 1, 1]), jnp.array([0.8, 0.6, 0.4, 0.9])))
    1.0
    """
    return _cell("false_positives", "fp", average, labels)


def true_negatives(*, average: str = "micro", **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """True negatives: how often a class was not predicted and is not true.

    Args:
        average: "micro", the sum over the classes, or "none", one number a class.
        labels: as in `precision`.

    Returns:
        The metric, as `true_positives`.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> float(true_negatives()(jnp.array([1, 0, 1, 1]), jnp.array([0.8, 0.6, 0.4, 0.9])))
    0.0
    """
    return _cell("true_negatives", "tn", average, labels)


def false_negatives(*, average: str = "micro", **labels: Unpack[_labels.LabelOptions]) -> Metric:
    """False negatives: how often a class was not predicted and is true.

    Args:
        average: "micro", the sum over the classes, or "none", one number a class.
        labels: as in `precision`.

    Returns:
        The metric, as `true_positives`.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> float(false_negatives()(jnp.array([1, 0, 1, 1]), jnp.array([0.8, 0.6, 0.4, 0.9])))
    1.0
    """
    return _cell("false_negatives", "fn", average, labels)


def _cell(name: str, cell: str, average: str, labels: _labels.LabelOptions) -> Metric:
    joined = names.lookup(_JOINED, average, "average")
    statistics = _class_counts.ClassCounts(reading=_labels.Reading(who=name, **labels))

    def compute(state: _tally.Tally) -> jax.Array:
        return joined(getattr(_class_counts.cells(state), cell))

    return Metric(
        init=statistics.init, update=statistics.update, merge=statistics.merge, compute=compute, name=name
    )
