"""Rows of ``axonax.functional.metrics``: labels against predicted labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as sk

from ops.row import MetricRow, case
from ops.rows_metrics import BINARY, LABELS, PROBABILITY, SCORES, K

_RANDOM = np.random.default_rng(44)
MANY = _RANDOM.integers(0, 2, (24, 3)).astype(np.int32)
MANY_SCORES = np.clip(0.5 + 0.4 * (MANY - 0.5) + 0.3 * _RANDOM.normal(size=MANY.shape), 0, 1)
COMMON = (case(BINARY, PROBABILITY, threshold=0.4), case(LABELS, SCORES, average="none"))
ALL = (
    *COMMON,
    case(np.eye(K)[LABELS], SCORES),
    case(LABELS, SCORES, average="weighted", ignore_index=2),
    case(MANY, MANY_SCORES, average="micro", multilabel=True),
)


def labels(
    y_true: Any,
    y_pred: Any,
    *,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    multilabel: bool = False,
) -> tuple[Any, Any, Any]:
    """True and predicted labels, and which count."""
    if multilabel or y_pred.ndim == 1:
        return y_true, (y_pred > threshold).astype(y_true.dtype), np.ones(len(y_true))
    y_true = y_true.argmax(-1) if y_true.ndim == y_pred.ndim else y_true
    return y_true, y_pred.argmax(-1), (y_true != ignore_index) * 1.0


def weighed(weights: Any, kept: Any) -> Any:
    return kept if weights is None else weights * kept


def scored(score: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """A score of scikit-learn in our terms: the class 1 of binary labels, else averaged."""

    def oracle(y_true: Any, y_pred: Any, weights: Any, *, average: str = "macro", **options: Any) -> Any:
        true, predicted, kept = labels(y_true, y_pred, **options)
        given = {"sample_weight": weighed(weights, kept), "zero_division": 0, **fixed}
        if y_pred.ndim == 1:
            return score(true, predicted, average="binary", **given)
        how = None if average == "none" else average
        if average == "macro":
            # scikit-learn takes a class for present whose examples have no weight.
            present = given["sample_weight"] > 0
            found = np.union1d(true[present], predicted[present])
            return score(true, predicted, average=how, labels=found, **given) if found.size else 0.0
        names = None if options.get("multilabel") else np.arange(K)
        return score(true, predicted, average=how, labels=names, **given)

    return oracle


def cells(y_true: Any, y_pred: Any, weights: Any, **options: Any) -> np.ndarray:
    """tn, fp, fn, tp of each class (the only one of binary labels)."""
    true, predicted, kept = labels(y_true, y_pred, **options)
    if y_pred.ndim > 1 and not options.get("multilabel"):
        true, predicted = np.eye(K)[true], np.eye(K)[predicted]
    true, predicted = (each.reshape(len(kept), -1) for each in (true, predicted))
    each = np.stack(
        [(1 - true) * (1 - predicted), (1 - true) * predicted, true * (1 - predicted), true * predicted]
    )
    return np.einsum("cik,i->ck", each, weighed(weights, kept))


def specificity(y_true: Any, y_pred: Any, weights: Any, *, average: str = "macro", **options: Any) -> Any:
    tn, fp, fn, tp = cells(y_true, y_pred, weights, **options)
    if average == "micro":
        tn, fp, fn, tp = (each.sum(keepdims=True) for each in (tn, fp, fn, tp))
    score = tn / (tn + fp)
    if average == "none":
        return score
    if score.size == 1:
        return score[0]
    support = tp + fn if average == "weighted" else (tp + fp + fn > 0) * 1.0
    return np.average(score, weights=support)


def cell(index: int) -> Callable[..., Any]:
    def oracle(y_true: Any, y_pred: Any, weights: Any, *, average: str = "micro", **options: Any) -> Any:
        found = cells(y_true, y_pred, weights, **options)[index]
        return found.sum() if average == "micro" else found

    return oracle


def confusion(
    y_true: Any, y_pred: Any, weights: Any, *, normalize: str = "none", classes: int = K, **options: Any
) -> Any:
    true, predicted, kept = labels(y_true, y_pred, **options)
    count = 2 if y_pred.ndim == 1 else classes
    how = None if normalize == "none" else normalize
    given = {"sample_weight": weighed(weights, kept), "labels": np.arange(count)}
    return sk.confusion_matrix(true, predicted, normalize=how, **given)


def kappa(y_true: Any, y_pred: Any, weights: Any, *, distance: str = "none", **options: Any) -> float:
    true, predicted, kept = labels(y_true, y_pred, **options)
    how = None if distance == "none" else distance
    return sk.cohen_kappa_score(true, predicted, weights=how, sample_weight=weighed(weights, kept))


def matthews(y_true: Any, y_pred: Any, weights: Any, **options: Any) -> float:
    true, predicted, kept = labels(y_true, y_pred, **options)
    return sk.matthews_corrcoef(true, predicted, sample_weight=weighed(weights, kept))


def top_k(y_true: Any, y_pred: Any, weights: Any, *, k: int = 5, ignore_index: int | None = None) -> float:
    true, _, kept = labels(y_true, y_pred, ignore_index=ignore_index)
    given = {"sample_weight": weighed(weights, kept), "labels": np.arange(K)}
    return sk.top_k_accuracy_score(true, y_pred, k=k, **given)


def right(y_true: Any, y_pred: Any) -> Any:
    if y_true.shape == y_pred.shape:
        return (y_pred > 0.5) == (y_true == 1)
    return y_pred.argmax(-1) == y_true


def row(name: str, formula: str, oracle: Any, oracle_name: str, cases: Any, **rest: Any) -> MetricRow:
    given = {"peers": "Keras, torchmetrics, scikit-learn", "no_torch": "torch has no metrics", **rest}
    return MetricRow(
        name=f"metrics.{name}",
        formula=formula,
        oracle=oracle,
        oracle_name=oracle_name,
        cases=cases,
        **given,
    )


SPARSE = (case(BINARY, PROBABILITY, threshold=0.4), case(LABELS, SCORES))
ROWS: tuple[MetricRow, ...] = (
    row("precision", "tp / (tp + fp)", scored(sk.precision_score), "sklearn.metrics.precision_score", ALL),
    row("recall", "tp / (tp + fn)", scored(sk.recall_score), "sklearn.metrics.recall_score", ALL),
    row("sensitivity", "tp / (tp + fn)", scored(sk.recall_score), "sklearn.metrics.recall_score", COMMON),
    row("specificity", "tn / (tn + fp)", specificity, "counts in NumPy", ALL, peers="torchmetrics"),
    row(
        "f_beta",
        "(1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp)",
        lambda y_true, y_pred, weights, beta=1.0, **options: scored(sk.fbeta_score, beta=beta)(
            y_true, y_pred, weights, **options
        ),
        "sklearn.metrics.fbeta_score",
        (case(BINARY, PROBABILITY, beta=0.5), case(LABELS, SCORES, beta=2.0)),
    ),
    row("f1_score", "2 tp / (2 tp + fn + fp)", scored(sk.f1_score), "sklearn.metrics.f1_score", COMMON),
    row("dice", "2 tp / (2 tp + fn + fp)", scored(sk.f1_score), "sklearn.metrics.f1_score", COMMON),
    row("iou", "tp / (tp + fp + fn)", scored(sk.jaccard_score), "sklearn.metrics.jaccard_score", COMMON),
    row("true_negatives", "sum_i w_i [not predicted, not true]", cell(0), "counts in NumPy", COMMON),
    row("false_positives", "sum_i w_i [predicted, not true]", cell(1), "counts in NumPy", COMMON),
    row("false_negatives", "sum_i w_i [not predicted, true]", cell(2), "counts in NumPy", COMMON),
    row(
        "true_positives",
        "sum_i w_i [predicted, true]",
        cell(3),
        "counts in NumPy",
        (*COMMON, case(MANY, MANY_SCORES, multilabel=True)),
    ),
    row(
        "confusion_matrix",
        "M_jk = sum_i w_i [y_true_i = j, predicted_i = k]",
        confusion,
        "sklearn.metrics.confusion_matrix",
        (case(BINARY, PROBABILITY), case(LABELS, SCORES, normalize="true")),
    ),
    row(
        "cohen_kappa",
        "1 - sum d O / sum d E",
        kappa,
        "sklearn.metrics.cohen_kappa_score",
        (case(BINARY, PROBABILITY), case(LABELS, SCORES, distance="quadratic")),
        peers="torchmetrics, scikit-learn",
    ),
    row(
        "matthews_correlation",
        "(tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))",
        matthews,
        "sklearn.metrics.matthews_corrcoef",
        SPARSE,
        peers="torchmetrics, scikit-learn",
    ),
    row(
        "top_k_accuracy",
        "sum_i w_i [rank of y_true_i <= k] / sum_i w_i",
        top_k,
        "sklearn.metrics.top_k_accuracy_score",
        (case(LABELS, SCORES, k=2), case(np.eye(K)[LABELS], SCORES, k=3)),
    ),
    row(
        "hamming",
        "sum_ij w_i [predicted_ij != y_true_ij] / sum_ij w_i",
        lambda y_true, y_pred, weights: np.average(
            1.0 - right(y_true, y_pred).reshape(len(y_true), -1).mean(-1), weights=weights
        ),
        "NumPy",
        (case(MANY, MANY_SCORES), case(LABELS, SCORES)),
        peers="torchmetrics, scikit-learn",
    ),
    row(
        "exact_match",
        "sum_i w_i [all of predicted_i = y_true_i] / sum_i w_i",
        lambda y_true, y_pred, weights: np.average(
            right(y_true, y_pred).reshape(len(y_true), -1).all(-1), weights=weights
        ),
        "NumPy",
        (case(MANY, MANY_SCORES),),
        peers="torchmetrics",
    ),
)
