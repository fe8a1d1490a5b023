"""Rows of ``axonax.functional.metrics``: ranks, and calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as sk

from ops.row import MetricRow, case
from ops.rows_metrics import BINARY, LABELS, PROBABILITY, SCORES, K
from ops.rows_metrics_values import PRED, TRUE, pearson

# Multiples of 1/16, some of them equal: the middles of bins are the scores themselves.
SIXTEENTHS = np.round(PROBABILITY * 15) / 16 + 1 / 64
P = np.exp(SCORES) / np.exp(SCORES).sum(-1, keepdims=True)
BOTH = (case(BINARY, SIXTEENTHS, capacity=80), case(BINARY, SIXTEENTHS, bins=16))


def counted(score: Callable[..., float]) -> Callable[..., Any]:
    """A score of binary labels, of each class against the rest where there are several."""

    def oracle(
        y_true: Any,
        y_pred: Any,
        weights: Any,
        *,
        capacity: int = 0,
        bins: int = 0,
        average: str = "",
        **rest: Any,
    ) -> Any:
        weights = np.ones(len(y_true)) if weights is None else weights
        if y_pred.ndim == 1:
            return score(y_true, y_pred, weights, **rest)
        return np.mean([score(y_true == each, y_pred[:, each], weights, **rest) for each in range(K)])

    return oracle


def precision_at(y_true: Any, y_pred: Any, weights: Any, recall: float = 0.5) -> float:
    precision, found, _ = sk.precision_recall_curve(y_true, y_pred, sample_weight=weights)
    return precision[:-1][found[:-1] >= recall].max()


def recall_at(y_true: Any, y_pred: Any, weights: Any, precision: float = 0.5) -> float:
    found, recall, _ = sk.precision_recall_curve(y_true, y_pred, sample_weight=weights)
    return recall[:-1][found[:-1] >= precision].max(initial=0)


def spearman(y_true: Any, y_pred: Any, weights: Any, capacity: int = 0, bins: int = 0) -> float:
    weights = np.ones(len(y_true)) if weights is None else weights.astype(np.float64)

    def ranks(x: Any) -> Any:
        return np.array([weights[x < each].sum() + weights[x == each].sum() / 2 for each in x])

    return pearson(ranks(y_true), ranks(y_pred), weights)


def calibration(y_true: Any, y_pred: Any, weights: Any, bins: int = 15) -> float:
    if y_pred.ndim > 1:
        y_true, y_pred = y_pred.argmax(-1) == y_true, y_pred.max(-1)
    weights = np.ones(len(y_true)) if weights is None else weights.astype(np.float64)
    place = np.minimum((y_pred * bins).astype(int), bins - 1)
    gaps = [abs((weights * (y_true - y_pred))[place == each].sum()) for each in range(bins)]
    return np.sum(gaps) / weights.sum()


def row(name: str, formula: str, oracle: Any, oracle_name: str, cases: Any) -> MetricRow:
    return MetricRow(
        name=f"metrics.{name}",
        formula=formula,
        oracle=oracle,
        oracle_name=oracle_name,
        peers="torchmetrics, scikit-learn",
        cases=cases,
        no_torch="torch has no metrics",
    )


ROWS: tuple[MetricRow, ...] = (
    row(
        "roc_auc",
        "share of pairs (positive, negative) in order, ties half",
        counted(lambda t, p, w: sk.roc_auc_score(t, p, sample_weight=w)),
        "sklearn.metrics.roc_auc_score",
        (*BOTH, case(LABELS, SCORES, capacity=80)),
    ),
    row(
        "average_precision",
        "sum_n (R_n - R_(n-1)) P_n",
        counted(lambda t, p, w: sk.average_precision_score(t, p, sample_weight=w)),
        "sklearn.metrics.average_precision_score",
        BOTH,
    ),
    row(
        "precision_at_recall",
        "max P_n with R_n >= recall",
        counted(precision_at),
        "sklearn.metrics.precision_recall_curve",
        (case(BINARY, SIXTEENTHS, recall=0.77, capacity=80),),
    ),
    row(
        "recall_at_precision",
        "max R_n with P_n >= precision",
        counted(recall_at),
        "sklearn.metrics.precision_recall_curve",
        (case(BINARY, SIXTEENTHS, precision=0.77, bins=16),),
    ),
    row(
        "spearman",
        "Pearson's correlation of mean ranks",
        spearman,
        "ranks in NumPy",
        (case(TRUE, PRED, capacity=80), case(SIXTEENTHS[::-1].copy(), SIXTEENTHS, bins=16)),
    ),
    row(
        "calibration_error",
        "sum_b w_b |right_b - confidence_b| / sum_b w_b",
        calibration,
        "NumPy",
        (case(BINARY, SIXTEENTHS, bins=5), case(LABELS, P)),
    ),
)
