"""Rows of ``axonax.functional.metrics``: real numbers, and aggregators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as sk

from ops.row import MetricRow, case
from ops.rows_metrics import LABELS, SCORES, K

_RANDOM = np.random.default_rng(45)
TRUE = _RANDOM.normal(size=24) * 2 + 30
PRED = TRUE + _RANDOM.normal(size=24)
TRUES = _RANDOM.normal(size=(24, 2)) + 3
PREDS = 0.7 * TRUES + _RANDOM.normal(size=(24, 2))
P = np.exp(SCORES) / np.exp(SCORES).sum(-1, keepdims=True)
ONE, BOTH = (case(TRUE, PRED),), (case(TRUE, PRED), case(TRUES, PREDS))


def rooted(y_true: Any, y_pred: Any, weights: Any) -> float:
    return np.sqrt(sk.mean_squared_error(y_true, y_pred, sample_weight=weights))


def simple(score: Callable[..., Any]) -> Callable[..., Any]:
    return lambda y_true, y_pred, weights: score(y_true, y_pred, sample_weight=weights)


def by_output(score: Callable[..., Any]) -> Callable[..., Any]:
    def oracle(y_true: Any, y_pred: Any, weights: Any, average: str = "macro") -> Any:
        how = "uniform_average" if average == "macro" else "raw_values"
        return score(y_true, y_pred, sample_weight=weights, multioutput=how)

    return oracle


def pearson(y_true: Any, y_pred: Any, weights: Any) -> float:
    cov = np.cov(y_true.astype(np.float64), y_pred, aweights=weights)
    return cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])


def cosine(y_true: Any, y_pred: Any, weights: Any) -> float:
    t, p = y_true.astype(np.float64), y_pred
    each = (t * p).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(p, axis=-1)
    return np.average(each, weights=weights)


def perplexity(y_true: Any, y_pred: Any, weights: Any, from_logits: bool = False) -> float:
    p = np.exp(y_pred) / np.exp(y_pred).sum(-1, keepdims=True) if from_logits else y_pred
    return np.exp(
        sk.log_loss(y_true, p / p.sum(-1, keepdims=True), sample_weight=weights, labels=np.arange(K))
    )


def entropy(y_true: Any, y_pred: Any, weights: Any) -> float:
    return np.average(-(y_pred * np.log(y_pred)).sum(-1), weights=weights)


def deviation(y_true: Any, y_pred: Any, weights: Any) -> float:
    return np.sqrt(np.average((y_pred - np.average(y_pred, weights=weights)) ** 2, weights=weights))


def counting(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Of the values whose weight is not 0."""

    def oracle(y_true: Any, y_pred: Any, weights: Any) -> Any:
        return function(y_pred if weights is None else y_pred[weights > 0])

    return oracle


def exponential(y_true: Any, y_pred: Any, weights: Any, momentum: float) -> float:
    weights = np.ones(len(y_pred)) if weights is None else weights.astype(np.float64)
    total = share = 0.0
    for value, weight in zip(y_pred, weights, strict=True):
        old = momentum**weight
        total, share = old * total + (1 - old) * value, old * share + 1 - old
    return total / share


def row(name: str, formula: str, oracle: Any, oracle_name: str, cases: Any, **rest: Any) -> MetricRow:
    given = {"peers": "Keras, torchmetrics", "no_torch": "torch has no metrics", **rest}
    return MetricRow(
        name=f"metrics.{name}", formula=formula, oracle=oracle, oracle_name=oracle_name, cases=cases, **given
    )


ROWS: tuple[MetricRow, ...] = (
    row("mean_absolute_error", "mean |p - t|", simple(sk.mean_absolute_error), "scikit-learn", BOTH),
    row("mean_squared_error", "mean (p - t)^2", simple(sk.mean_squared_error), "scikit-learn", ONE),
    row("root_mean_squared_error", "sqrt mean (p - t)^2", rooted, "scikit-learn", ONE),
    row(
        "mean_absolute_percentage_error",
        "mean |p - t| / max(|t|, eps)",
        simple(sk.mean_absolute_percentage_error),
        "scikit-learn",
        ONE,
    ),
    row("r2_score", "1 - sum (t - p)^2 / sum (t - mean t)^2", by_output(sk.r2_score), "scikit-learn", BOTH),
    row(
        "explained_variance",
        "1 - var(t - p) / var(t)",
        by_output(sk.explained_variance_score),
        "scikit-learn",
        (case(TRUES, PREDS, average="none"),),
    ),
    row("pearson", "cov(t, p) / sqrt(var(t) var(p))", pearson, "numpy.cov", ONE),
    row("cosine_similarity", "mean t . p / (|t| |p|)", cosine, "NumPy", (case(TRUES, PREDS),)),
    row(
        "perplexity",
        "exp(-mean log p_true)",
        perplexity,
        "sklearn.metrics.log_loss",
        (case(LABELS, SCORES, from_logits=True),),
        empty=1.0,
    ),
    row("entropy", "mean -sum p log p", entropy, "NumPy", (case(LABELS, P),), peers="torchmetrics"),
    row("mean", "sum w x / sum w", lambda t, p, w: np.average(p, weights=w), "NumPy", ONE),
    row("sum", "sum w x", lambda t, p, w: (p * (1 if w is None else w)).sum(), "NumPy", ONE),
    row("minimum", "min x", counting(np.min), "NumPy", ONE, empty=np.inf, peers="torchmetrics"),
    row("maximum", "max x", counting(np.max), "NumPy", ONE, empty=-np.inf, peers="torchmetrics"),
    row("standard_deviation", "sqrt(sum w (x - mean)^2 / sum w)", deviation, "NumPy", ONE, peers="NumPy"),
    row(
        "running_mean",
        "mean of the last window values",
        lambda t, p, w, window: p[-window:].mean(),
        "NumPy",
        (case(TRUE, PRED, window=10),),
        ordered=True,
        weighted=False,
        peers="torchmetrics",
    ),
    row(
        "exponential_mean",
        "m_i = momentum m_(i-1) + (1 - momentum) x_i, without the share of m_0 = 0",
        exponential,
        "a loop in float64",
        (case(TRUE, PRED, momentum=0.9),),
        ordered=True,
        peers="Optax (ema, debiased)",
    ),
)
