"""Several losses, each over one output of a model, weighted and summed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from axonax.loop.data._batch import Batch, rows
from axonax.loop.steps._loss import LossFunction, resolve_loss
from axonax.loop.steps._mean import Mean, batch_mean
from axonax.loop.steps._model import Net
from axonax.tensor import names

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class Part:
    """The loss of one output and its weight in the sum."""

    key: Any
    loss: LossFunction
    weight: float

    def __str__(self) -> str:
        factor = "" if self.weight == 1 else f"{self.weight:g} * "
        return f"{self.key}: {factor}{self.loss}"


@dataclass(frozen=True, kw_only=True)
class OutputLosses:
    """The losses of the outputs of a model, by name in a dict or by place in a tuple."""

    parts: tuple[Part, ...]
    length: int | None = None

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))

    @property
    def names(self) -> tuple[str, ...]:
        """What the losses of the outputs are reported as."""
        return tuple(f"loss_{part.key}" for part in self.parts)

    def views(self, batch: Batch, prediction: PyTree) -> list[tuple[LossFunction, Batch, PyTree]]:
        """Each loss with what it sees of a batch and of the predictions.

        Raises:
            ValueError: the model does not give an output of a loss, or the batch has no target for it.
        """
        return [
            (
                part.loss,
                Batch(
                    inputs=batch.inputs,
                    targets=self._of(batch.targets, part.key, "target of the batch"),
                    weights=self._weights(batch.weights, part.key),
                    where=batch.where,
                ),
                self._of(prediction, part.key, "output of the model"),
            )
            for part in self.parts
        ]

    def means(self, batch: Batch, prediction: PyTree, logits: PyTree = None) -> tuple[Mean, dict[str, Mean]]:
        """The weighted sum of the losses over a batch, and each by its name without its weight."""
        found = [loss.mean(own, predicted) for loss, own, predicted in self.views(batch, prediction)]
        value: Any = sum(part.weight * each.value for part, each in zip(self.parts, found, strict=True))
        weight: Any = rows(batch.targets)
        own = None if isinstance(batch.weights, Mapping | tuple | list) else batch.weights
        counting = batch._replace(weights=own).counting
        if counting is not None:
            weight = batch_mean(jnp.zeros(weight), _by_row(counting), weight, "the losses").weight
        return Mean(value, value * weight, weight), dict(zip(self.names, found, strict=True))

    def _of(self, tree: PyTree, key: Any, what: str) -> PyTree:
        if self.length is None:
            if not isinstance(tree, Mapping):
                raise ValueError(
                    f'a loss is for "{key}", so the {what.partition(" of ")[0]}s must be a dict, '
                    f"got {type(tree).__name__}"
                )
            return names.lookup(tree, key, what)
        if not isinstance(tree, tuple | list) or len(tree) != self.length:
            got = f"{len(tree)}" if isinstance(tree, tuple | list) else type(tree).__name__
            raise ValueError(f"{self.length} losses need as many {what.partition(' of ')[0]}s, got {got}")
        return tree[key]

    def _weights(self, weights: Any, key: Any) -> Any:
        return self._of(weights, key, "weight of the batch") if isinstance(weights, Mapping) else weights


def several(loss: Any) -> bool:
    """Whether a loss is given as losses over outputs."""
    return isinstance(loss, Mapping | tuple | list)


def resolve_losses(
    losses: Any, who: str, options: Mapping[str, Any] | None, net: Net
) -> OutputLosses | LossFunction:
    """The losses of a dict or tuple over outputs, or the one of a name or a function.

    Raises:
        ValueError: an unknown name or option, a weight that is not finite, or no loss at all.
        TypeError: a loss is neither a name nor a function, or options are no dict.
    """
    if not several(losses):
        return resolve_loss(losses, who, options, net)
    by_name = isinstance(losses, Mapping)
    given: dict[Any, Any] = dict(losses) if by_name else dict(enumerate(losses))
    chosen: dict[Any, Any] = dict(options or {})
    for key, own in chosen.items():
        if key not in given:
            known = dict.fromkeys(map(str, given))
            raise ValueError(f'{who}: loss_options of "{key}": {names.suggestion(str(key), known)}')
        if not isinstance(own, Mapping):
            raise TypeError(
                f'{who}: loss_options go by output here, as {{"{key}": {{...}}}}, got {type(own).__name__}'
            )
    parts = tuple(
        _part(key, each, who, chosen.get(key), net) for key, each in given.items() if each is not None
    )
    if not parts:
        raise ValueError(f"{who}: of several losses at least one must not be None")
    return OutputLosses(parts=parts, length=None if by_name else len(given))


def optional_losses(
    loss: Any, who: str, options: Mapping[str, Any] | None, net: Net
) -> OutputLosses | LossFunction | None:
    """As `resolve_losses`; ``None`` where there is neither a loss nor options."""
    return None if loss is None and not options else resolve_losses(loss, who, options, net)


def _part(key: Any, given: Any, who: str, options: Mapping[str, Any] | None, net: Net) -> Part:
    loss, weight = given if isinstance(given, tuple | list) and len(given) == 2 else (given, 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not math.isfinite(weight):
        raise ValueError(f"{who}: the weight of the loss of {key!r} must be a finite number, got {weight!r}")
    where = f"{who}: output {key!r}"
    return Part(
        key=key, loss=resolve_loss(loss, where, options, replace(net, unclosed=None)), weight=float(weight)
    )


def _by_row(weights: Any) -> Any:
    """One weight a row: the mean of its weights where it has several."""
    weights = jnp.asarray(weights)
    return weights.reshape(weights.shape[0], -1).mean(-1)
