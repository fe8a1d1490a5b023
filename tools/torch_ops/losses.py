"""Losses with torch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def binary(y_true: Tensor, y_pred: Tensor, from_logits: bool, positive_weight: Any) -> Tensor:
    """``losses.binary_cross_entropy``."""
    if from_logits:
        weight = torch.as_tensor(positive_weight, dtype=y_pred.dtype)
        values = F.binary_cross_entropy_with_logits(y_pred, y_true, pos_weight=weight, reduction="none")
    else:
        # torch has no second derivative with respect to the labels, and its first by another route.
        values = F.binary_cross_entropy(y_pred, y_true.detach(), reduction="none")
    return values.mean(-1) if values.ndim > 1 else values


def categorical(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool,
    class_weights: Any,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
) -> Tensor:
    """``losses.categorical_cross_entropy``."""
    y_true = y_true if y_true.is_floating_point() else y_true.long()
    options = {"weight": class_weights, "reduction": reduction}
    if not y_true.is_floating_point():
        options["ignore_index"] = -100 if ignore_index is None else ignore_index
    if from_logits:
        return F.cross_entropy(y_pred, y_true, label_smoothing=label_smoothing, **options)
    if y_true.is_floating_point():
        return -(y_true * y_pred.log()).sum(-1)
    return F.nll_loss(y_pred.log(), y_true, **options)


def normal_kl(y_true: Any, y_pred: tuple[Tensor, Tensor]) -> Tensor:
    """``losses.gaussian_kl``."""
    prior = y_true or (torch.zeros_like(y_pred[0]), torch.zeros_like(y_pred[1]))
    posterior, prior = (
        torch.distributions.Normal(mean, (logarithm / 2).exp()) for mean, logarithm in (y_pred, prior)
    )
    return torch.distributions.kl_divergence(posterior, prior).sum(-1)


def ctc(
    y_true: Any, y_pred: Tensor, blank: int, from_logits: bool, input_lengths: Any, zero_infinity: bool
) -> Tensor:
    """``losses.connectionist_temporal_classification``; the gradient of torch is that of logits."""
    lengths, labels = y_true
    log_p = F.log_softmax(y_pred, -1) if from_logits else y_pred
    steps = torch.full(lengths.shape, y_pred.shape[1]) if input_lengths is None else input_lengths
    labels = torch.where(torch.arange(labels.shape[1]) < lengths[:, None], labels, 1)
    log_p, steps, lengths = log_p.movedim(0, 1), steps.long(), lengths.long()
    return F.ctc_loss(log_p, labels.long(), steps, lengths, blank, "none", zero_infinity)
