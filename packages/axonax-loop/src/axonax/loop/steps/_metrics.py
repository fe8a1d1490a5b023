"""The metrics of a loop: resolved when they are added, accumulated inside the compiled step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from axonax.loop.data._batch import masked
from axonax.loop.steps import _signature
from axonax.loop.steps._calling import targets_first
from axonax.loop.steps._mean import Mean, add_mean, compute_mean, empty_mean, mean_metric
from axonax.tensor import names, plugins
from axonax.tensor.contracts import Metric

PyTree = Any
FIELDS = ("y_true", "y_pred")
COUNTED = "counted_rows"  # the output that is false for rows that were added to a smaller batch
RESERVED = ("loss", "epoch", "iteration", "seconds")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric under its name, and what of a step's outputs it looks at."""

    name: str
    metric: Metric
    fields: tuple[str, ...] = FIELDS
    transform: Callable[[Mapping[str, Any]], Sequence[Any]] | None = None
    named: bool = False
    of_loss: bool = False

    def values(self, outputs: Mapping[str, Any]) -> Sequence[Any]:
        """What the metric gets of a step's outputs.

        Raises:
            ValueError: the step has no output of a wanted name.
        """
        if self.transform is not None:
            return self.transform(outputs)
        return [
            names.lookup(outputs, field, f'output of the step for metric "{self.name}",')
            for field in self.fields
        ]

    def init(self, outputs: Mapping[str, Any]) -> PyTree:
        """The accumulator of no batches."""
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(outputs)):
            # A transform may compute: shapes alone cannot be added or sliced.
            return self.metric.init(*jax.eval_shape(lambda given: tuple(self.values(given)), dict(outputs)))
        return self.metric.init(*self.values(outputs))

    def update(self, state: PyTree, outputs: Mapping[str, Any]) -> PyTree:
        """The accumulator with one more batch."""
        weights, where = outputs.get("weights"), outputs.get(COUNTED)
        if where is not None and not _takes_where(self.metric.update):
            weights, where = masked(weights, where), None
        given = {"weights": weights, "where": where}
        extra = {name: value for name, value in given.items() if value is not None}
        return self.metric.update(state, *self.values(outputs), **extra)

    def compute(self, state: PyTree) -> PyTree:
        """The value of all batches."""
        return self.metric.compute(state)

    def check_labels(self, state: PyTree, outputs: Mapping[str, Any], targets: PyTree) -> None:
        """Let a metric by name see concrete targets once, so that it can refuse labels out of range."""
        if self.named:
            concrete = jax.tree.map(np.asarray, targets)
            jax.eval_shape(lambda rest: self.update(state, {**rest, "y_true": concrete}), dict(outputs))


@dataclass(frozen=True, kw_only=True)
class LossMeasure:
    """The exact mean of the loss itself."""

    name: str = "loss"
    of_loss: bool = True

    def init(self, outputs: Mapping[str, Any]) -> PyTree:
        """The accumulator of no batches."""
        return empty_mean()

    def update(self, state: PyTree, outputs: Mapping[str, Any]) -> PyTree:
        """The accumulator with one more batch."""
        return add_mean(state, Mean(outputs["loss"], outputs["loss_total"], outputs["loss_weight"]))

    def compute(self, state: PyTree) -> PyTree:
        """The mean of all batches."""
        return compute_mean(state)

    def check_labels(self, state: PyTree, outputs: Mapping[str, Any], targets: PyTree) -> None:
        """Nothing: the loss has seen the targets before."""


def part_measures(names: Sequence[str]) -> tuple[Measure, ...]:
    """The exact means of the parts of a loss, under the names that a step gives them in ``loss_parts``."""
    return tuple(
        Measure(name=name, metric=_part_metric(name), transform=_part_of(name), of_loss=True)
        for name in names
    )


def _part_of(name: str) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    return lambda outputs: (outputs["loss_parts"][name],)


def _part_metric(name: str) -> Metric:
    def update(state: Any, mean: Mean, *, weights: Any = None, where: Any = None) -> Any:
        return add_mean(state, mean)

    return Metric(init=lambda mean: empty_mean(), update=update, merge=None, compute=compute_mean, name=name)


def _takes_where(update: Callable[..., Any]) -> bool:
    return bool(_signature.accepted(update, "where")) or _signature.takes_any(update)


def resolve_metric(
    metric: Any,
    name: str | None,
    fields: Sequence[str],
    transform: Callable[[Mapping[str, Any]], Sequence[Any]] | None,
    options: Mapping[str, Any],
) -> Measure:
    """The measure of a name with options, a `Metric`, or a plain function.

    Raises:
        ValueError: an unknown name or option (the text lists near matches), or no name to store it under.
        TypeError: none of the three.
    """
    if options and not isinstance(metric, str):
        raise ValueError(f"metric: options ({', '.join(options)}) go with a metric given by name")
    named = isinstance(metric, str)
    if isinstance(metric, str):
        name = name or metric
        metric = _by_name(metric, options)
    elif isinstance(metric, Metric):
        name = name or metric.name
    elif callable(metric):
        name = name or _function_name(metric)
    else:
        raise TypeError(
            f"metric: must be a name, a Metric or a function (y_true, y_pred), got {type(metric).__name__}"
        )
    if not name:
        raise ValueError("metric: a Metric or function without a name of its own needs name=")
    if not isinstance(metric, Metric):
        usual = transform is None and tuple(fields) == FIELDS
        metric = mean_metric(targets_first(metric) if usual else metric, name)
    return Measure(name=name, metric=metric, fields=tuple(fields), transform=transform, named=named)


def _by_name(name: str, options: Mapping[str, Any]) -> Metric:
    factory = plugins.resolve("metric", name)
    _signature.check_options(f'metric "{name}"', factory, options)
    metric: Metric = factory(**options)
    return metric


def _function_name(function: Any) -> str | None:
    name = getattr(function, "__name__", None)
    return None if name == "<lambda>" else name
