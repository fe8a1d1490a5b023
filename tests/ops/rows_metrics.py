"""Rows of ``axonax.functional.metrics``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score

from ops.row import MetricRow, case

_RANDOM = np.random.default_rng(43)
N, K = 24, 4
LABELS = _RANDOM.integers(0, K, N).astype(np.int32)
SCORES = _RANDOM.normal(size=(N, K)) + 1.5 * np.eye(K)[LABELS]
BINARY = _RANDOM.integers(0, 2, N).astype(np.int32)
PROBABILITY = np.clip(0.5 + 0.3 * (BINARY - 0.5) + 0.3 * _RANDOM.normal(size=N), 0, 1)


def accuracy(
    y_true: Any,
    y_pred: Any,
    weights: Any,
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    ignore_index: int | None = None,
) -> float:
    if y_pred.ndim > 1:
        chosen = y_pred.argmax(-1)
        y_true = y_true.argmax(-1) if y_true.ndim == y_pred.ndim else y_true
    else:
        chosen = (1 / (1 + np.exp(-y_pred)) if from_logits else y_pred) > threshold
    kept = np.ones(len(y_true)) if ignore_index is None else (y_true != ignore_index).astype(float)
    weights = kept if weights is None else weights * kept
    return accuracy_score(y_true, chosen.astype(y_true.dtype), sample_weight=weights)


ROWS: tuple[MetricRow, ...] = (
    MetricRow(
        name="metrics.accuracy",
        formula="sum_i w_i [predicted_i = y_true_i] / sum_i w_i",
        oracle=accuracy,
        oracle_name="sklearn.metrics.accuracy_score",
        peers="Keras, torchmetrics, scikit-learn",
        cases=(
            case(LABELS, SCORES),
            case(np.eye(K)[LABELS], SCORES),
            case(BINARY, PROBABILITY, threshold=0.4),
            case(BINARY, 8 * PROBABILITY - 4, from_logits=True),
            case(LABELS, SCORES, ignore_index=2),
        ),
        no_torch="torch has no metrics",
    ),
)
