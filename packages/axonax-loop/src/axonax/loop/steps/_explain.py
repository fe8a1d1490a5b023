"""What is wrong with a batch whose loss is not finite, in the words of the losses and metrics that saw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.data._batch import Batch, read
from axonax.loop.steps._loss import LossFunction
from axonax.loop.steps._losses import OutputLosses
from axonax.loop.steps._metrics import Measure
from axonax.tensor import trees

PyTree = Any


def explain(
    batch: Any, prediction: PyTree, loss: LossFunction | OutputLosses | None, metrics: Sequence[Any] = ()
) -> str | None:
    """What a batch has that makes a loss or a metric not finite; ``None`` where nothing is found.

    Args:
        batch: the concrete batch.
        prediction: the shapes of what the model predicts for it.
        loss: what was not finite.
        metrics: those of the loop; the ones by name look at the labels too.
    """
    parts = read(batch)
    found = _not_finite(parts)
    if found is not None:
        return found
    looks: list[Callable[[], None]] = []
    if loss is not None:
        looks += [
            lambda each=each, own=own, predicted=predicted: each.check_labels(own.targets, predicted)  # type: ignore[misc]
            for each, own, predicted in loss.views(parts, prediction)
        ]
    looks += [
        lambda each=each: _show(each, parts, prediction)  # type: ignore[misc]
        for each in metrics
        if isinstance(each, Measure) and each.named
    ]
    for look in looks:
        try:
            look()
        except (TypeError, ValueError) as error:
            return str(error)
    return None


def _show(measure: Measure, batch: Batch, prediction: PyTree) -> None:
    """Let a metric look at the labels of a batch."""
    outputs = {"y_true": batch.targets, "y_pred": prediction, "weights": batch.weights}
    shapes = jax.eval_shape(measure.init, outputs)
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    measure.check_labels(state, outputs, batch.targets)


def _not_finite(batch: Batch) -> str | None:
    """Which array of a batch holds what is not finite, and where first."""
    for name, leaf in trees.flatten(batch).items():
        values = np.asarray(leaf)
        if not jnp.issubdtype(values.dtype, jnp.inexact):
            continue
        wide = values.astype(np.complex64) if values.dtype.kind == "c" else values.astype(np.float64)
        bad = ~np.isfinite(wide)
        if bad.any():
            place = tuple(int(index) for index in np.argwhere(bad)[0])
            where = f" at {list(place)}" if place else ""
            return f"{name} of the batch holds {values[place]!s}{where}, {int(bad.sum())} such numbers in all"
    return None
