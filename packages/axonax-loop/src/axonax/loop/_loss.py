"""The training loss: from a name or a function to one exact mean, with its checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._batch import Batch, rows
from axonax.loop._mean import Mean, batch_mean
from axonax.tensor import plugins

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class LossFunction:
    """A loss ``(y_true, y_pred)`` that returns one value an example or a scalar."""

    function: Callable[[PyTree, PyTree], Any]
    name: str
    named: bool

    def mean(self, batch: Batch, prediction: PyTree) -> Mean:
        """The weighted mean over a batch.

        Raises:
            ValueError: targets, predictions and values do not fit each other.
        """
        check_fit(batch.targets, prediction)
        values = jnp.asarray(self.function(batch.targets, prediction))
        self._check_values(values, batch, prediction)
        return batch_mean(values, batch.weights, rows(batch.targets), f'loss "{self.name}"')

    def check_labels(self, targets: PyTree, prediction: PyTree) -> None:
        """Let a named loss see concrete targets once, so that it can refuse labels out of range.

        Args:
            targets: the targets of the first batch.
            prediction: the shapes of the predictions.
        """
        integers = [
            leaf for leaf in jax.tree.leaves(targets) if jnp.issubdtype(jax.typeof(leaf).dtype, jnp.integer)
        ]
        if not self.named or not integers:
            return
        concrete = jax.tree.map(np.asarray, targets)
        jax.eval_shape(lambda y_pred: self.function(concrete, y_pred), prediction)

    def _check_values(self, values: jax.Array, batch: Batch, prediction: PyTree) -> None:
        count = rows(batch.targets)
        shapes = [leaf.shape for leaf in jax.tree.leaves(prediction)]
        fits = values.ndim == 0 or values.shape[0] == count
        if values.ndim > 1 and len(shapes) == 1:
            fits = fits and values.shape == shapes[0][: values.ndim]
        if not fits:
            targets = [np.shape(leaf) for leaf in jax.tree.leaves(batch.targets)]
            raise ValueError(
                f'loss "{self.name}" must give one value an example ({count} rows) or a scalar, got shape '
                f"{values.shape} from targets {_listed(targets)} and predictions {_listed(shapes)}"
            )


def resolve_loss(loss: Any, who: str) -> LossFunction:
    """The loss of a name or function.

    Raises:
        ValueError: an unknown name; the text lists near matches or what to install.
        TypeError: neither a name nor a function.
    """
    if isinstance(loss, str):
        function = plugins.resolve("loss", loss)

        def unreduced(y_true: PyTree, y_pred: PyTree) -> Any:
            return function(y_true, y_pred, reduction="none")

        return LossFunction(function=unreduced, name=loss, named=True)
    if not callable(loss):
        raise TypeError(
            f"{who}: the loss must be a name or a function (y_true, y_pred), got {type(loss).__name__}"
        )
    return LossFunction(function=loss, name=getattr(loss, "__name__", type(loss).__name__), named=False)


def check_fit(targets: PyTree, prediction: PyTree) -> None:
    """Raise unless targets and predictions have the same number of rows.

    Raises:
        ValueError: they have not; the text gives both shapes.
    """
    first = next(iter(jax.tree.leaves(targets)), None)
    for leaf in jax.tree.leaves(prediction):
        if first is not None and leaf.ndim and leaf.shape[0] != np.shape(first)[0]:
            raise ValueError(
                f"targets of shape {np.shape(first)} do not fit predictions of shape {leaf.shape}"
            )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
