"""Scores of the cells of true and false positives and negatives.

They share their options. ``average`` joins the classes: "macro", the mean over the classes that occur;
"weighted", by how often each is true; "micro", the score of all cells together; "none", one value a class.
Binary labels have one score, that of label 1, whatever ``average`` says. The others stand in
`axonax.functional.metrics._labels.Reading`: ``threshold``, ``from_logits``, ``sparse``, ``ignore_index``,
``axis``, ``multilabel``, ``classes``.
"""

from __future__ import annotations

from typing import Unpack

import jax

from axonax.functional.metrics import _tally
from axonax.functional.metrics._class_counts import Cells, score_metric
from axonax.functional.metrics._labels import LabelOptions
from axonax.tensor.contracts import Metric


def precision(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """Precision: the share of what was predicted that is true.

    ``tp / (tp + fp)``, 0 where nothing was predicted.

    Args:
        average: "macro", "weighted", "micro" or "none".
        labels: ``threshold``, ``from_logits``, ``sparse``, ``ignore_index``, ``axis`` as in `accuracy`;
            ``multilabel=True`` takes K columns as binary questions, ``classes=K`` takes class indices as
            predictions. The class of ``ignore_index`` takes no part in "macro" and "weighted"; where it is
            predicted for another, that other is missed, and "micro" counts it as wrong.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none", NaN for the ignored class. A label
        that is no class gives NaN under ``jit``, a prediction that holds NaN is wrong.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> round(float(precision()(jnp.array([0, 1, 1, 1]), jnp.array([1, 0, 1, 1]))), 4)
    0.6667
    """
    return score_metric("precision", _precision, average=average, **labels)


def recall(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """Recall: the share of what is true that was predicted.

    ``tp / (tp + fn)``, 0 where nothing is true.

    Args:
        average: "macro", "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none".

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> y_true, y_pred = jnp.array([1, 1, 0, 1]), jnp.array([0.9, 0.2, 0.8, 0.1])
    >>> float(recall()(y_true, y_pred, weights=jnp.array([2, 1, 1, 1])))
    0.5
    """
    return score_metric("recall", _recall, average=average, **labels)


def sensitivity(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """Sensitivity: recall by its name in medicine, ``tp / (tp + fn)``.

    Args:
        average: "macro", "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric, as `recall`.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> float(sensitivity()(jnp.array([1, 1, 0, 0]), jnp.array([0.9, 0.2, 0.8, 0.1])))
    0.5
    """
    return score_metric("sensitivity", _recall, average=average, **labels)


def specificity(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """Specificity: the share of what is not true that was not predicted.

    ``tn / (tn + fp)``, 0 where everything is true.

    Args:
        average: "macro", "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none".

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> float(specificity()(jnp.array([0, 0, 0, 0, 1]), jnp.array([0.9, 0.2, 0.3, 0.1, 0.1])))
    0.75
    """
    return score_metric("specificity", _specificity, average=average, **labels)


def f_beta(*, beta: float = 1.0, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """F-beta score: the harmonic mean of precision and recall, recall ``beta`` times as important.

    ``(1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp)``, 0 where nothing is true or predicted.

    Args:
        beta: above 0.
        average: "macro", "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none".

    Raises:
        ValueError: ``beta`` or ``average`` is out of its range, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> round(float(f_beta(beta=2)(jnp.array([0, 1, 1, 1]), jnp.array([1, 0, 1, 0]))), 4)
    0.3571
    """
    if not beta > 0:
        raise ValueError(f"f_beta: beta must be above 0, got {beta}")
    return score_metric("f_beta", lambda cells: _f(cells, beta), average=average, **labels)


def f1_score(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """F1 score: the harmonic mean of precision and recall, ``2 tp / (2 tp + fn + fp)``.

    Args:
        average: "macro", "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none"; 0 where nothing is true or predicted.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> round(float(f1_score()(jnp.array([0, 1, 1, 1]), jnp.array([1, 0, 1, 1]))), 4)
    0.6667
    """
    return score_metric("f1_score", lambda cells: _f(cells, 1.0), average=average, **labels)


def iou(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """Intersection over union of what is true and what was predicted, over the whole pass.

    ``tp / (tp + fp + fn)``, 0 where nothing is true or predicted (Jaccard's index).

    Args:
        average: "macro" (the mean IoU), "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none".

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> float(iou()(jnp.array([0, 1, 1, 1]), jnp.array([1, 0, 1, 1])))
    0.5
    """
    return score_metric("iou", _iou, average=average, **labels)


def dice(*, average: str = "macro", **labels: Unpack[LabelOptions]) -> Metric:
    """Dice's coefficient over the whole pass, ``2 tp / (2 tp + fp + fn)``: the F1 score of segmentation.

    Args:
        average: "macro", "weighted", "micro" or "none".
        labels: as in `precision`.

    Returns:
        The metric; its value is a float32 scalar, ``(K,)`` with "none"; 0 where nothing is true or predicted.

    Raises:
        ValueError: ``average`` is unknown, or shapes or labels fit no form.

    >>> import jax.numpy as jnp
    >>> round(float(dice()(jnp.array([0, 1, 1, 1]), jnp.array([1, 0, 1, 1]))), 4)
    0.6667
    """
    return score_metric("dice", lambda cells: _f(cells, 1.0), average=average, **labels)


def _precision(cells: Cells) -> jax.Array:
    return _tally.ratio(cells.tp, cells.tp + cells.fp)


def _recall(cells: Cells) -> jax.Array:
    return _tally.ratio(cells.tp, cells.tp + cells.fn)


def _specificity(cells: Cells) -> jax.Array:
    return _tally.ratio(cells.tn, cells.tn + cells.fp)


def _f(cells: Cells, beta: float) -> jax.Array:
    hits = (1 + beta**2) * cells.tp
    return _tally.ratio(hits, hits + beta**2 * cells.fn + cells.fp)


def _iou(cells: Cells) -> jax.Array:
    return _tally.ratio(cells.tp, cells.tp + cells.fp + cells.fn)
