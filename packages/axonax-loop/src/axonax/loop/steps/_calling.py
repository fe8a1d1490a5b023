"""In which order a function of targets and predictions takes them, by the names of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axonax.loop.steps import _signature

_PREDICTIONS = frozenset(
    {"hat", "input", "inputs", "logit", "logits", "output", "outputs", "pred", "predicted", "prediction"}
    | {"predictions", "preds", "prob", "probabilities", "probs", "score", "scores", "yhat"}
)
_TARGETS = frozenset(["label", "labels", "target", "targets", "true", "truth"])


def takes_predictions_first(function: Callable[..., Any]) -> bool:
    """Whether the names of the first two parameters say ``(predictions, targets)``.

    Those of Optax and PyTorch do. Names that say neither are taken for ``(y_true, y_pred)``.

    >>> takes_predictions_first(lambda logits, labels: 0.0), takes_predictions_first(lambda a, b: 0.0)
    (True, False)
    """
    first, second = [*_positional(function), "", ""][:2]
    if _is(first, _PREDICTIONS):
        return not _is(second, _PREDICTIONS)
    return _is(second, _TARGETS) and not _is(first, _TARGETS)


def targets_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one of ``(y_true, y_pred)``."""
    if not takes_predictions_first(function):
        return function
    return lambda y_true, y_pred: function(y_pred, y_true)


def _positional(function: Callable[..., Any]) -> list[str]:
    known = _signature.parameters(function) or {}
    kinds = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
    return [name for name, each in known.items() if each.kind.name in kinds]


def _is(name: str, words: frozenset[str]) -> bool:
    """Whether a name has one of some words, and none of the other kind: ``true_logits`` says nothing."""
    found = {word for word in name.lower().split("_") if word}
    others = (_PREDICTIONS | _TARGETS) - words
    return bool(found & words) and not found & others
