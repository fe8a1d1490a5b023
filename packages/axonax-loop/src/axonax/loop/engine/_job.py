"""What the engine gets of a loop: all that a run needs, as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import jax

from axonax.loop._events import Handler
from axonax.loop._state import State
from axonax.loop.data._batch import signature
from axonax.loop.steps._metrics import LossMeasure, Measure
from axonax.loop.steps._program import Program, make_program
from axonax.loop.steps._recipe import Recipe

PyTree = Any


class Attachment(Protocol):
    """Something attached to a loop that becomes handlers when a run starts."""

    def handlers(self, job: Job, run: Run) -> Sequence[Handler]:
        """The handlers of one run."""
        ...


@dataclass(frozen=True, kw_only=True)
class Run:
    """The arguments of one run."""

    data: Any
    state: PyTree
    key: jax.Array
    epochs: int
    steps_per_epoch: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What is done with batches and at which events; ``evaluation`` is the recipe that validates.

    The compiled functions are kept for the next run.
    """

    recipe: Recipe
    evaluation: Recipe | None
    metrics: tuple[Measure, ...]
    attached: tuple[Attachment, ...]
    output: Callable[[State], Any] | None
    compile: bool
    programs: dict[Any, Program] = field(default_factory=dict, init=False)

    @property
    def measures(self) -> tuple[Measure | LossMeasure, ...]:
        """What is accumulated: the loss where there is one, then the metrics."""
        return (LossMeasure(), *self.metrics) if self.recipe.tracks_loss else self.metrics

    def evaluator(self) -> Job:
        """The job that evaluates, with the same metrics and without handlers.

        Raises:
            ValueError: there is none.
        """
        if self.evaluation is None:
            raise ValueError("this loop has nothing to evaluate: validation needs a trainer")
        return replace(self, recipe=self.evaluation, attached=(), output=None)

    def compiled(self, batch: Any, *, donate: bool) -> Program:
        """The compiled functions for batches like this one."""
        first = signature(self.recipe.view(batch)) if self.compile else None
        if (first, donate) not in self.programs:
            self.programs[first, donate] = make_program(
                self.recipe, self.measures, first, compile=self.compile, donate=donate
            )
        return self.programs[first, donate]
