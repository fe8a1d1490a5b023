"""What the engine gets of a loop: all that a run needs, as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jax

from axonax.loop._events import Control, Handler
from axonax.loop._state import State
from axonax.loop.data._batch import rows_of, signature
from axonax.loop.data._remainder import Padded
from axonax.loop.engine._signals import Signals
from axonax.loop.steps._metrics import LossMeasure, Measure
from axonax.loop.steps._padded import leaves_out
from axonax.loop.steps._population import Each
from axonax.loop.steps._program import Program, make_program
from axonax.loop.steps._recipe import Recipe

PyTree = Any


class Attachment(Protocol):
    """Something attached to a loop, with handlers at events and a memory between them.

    What it remembers is a value: numbers, text and arrays in tuples and dicts, which ``state.memory`` shows
    under its name. What is no value (a bar, a file) lives in ``open``, from the start of the run to its end.

    It may have a ``path``, where its files are, and three methods more: ``adds(job)``, the names of the
    metrics that it adds, ``None`` if they are not known; ``prepare(memory, step_state)``, its memory at the
    start, where that hangs on the state; ``restructure(step_state, job, epoch, started)``, the step state as
    it is in an epoch, if it changes its structure.
    """

    @property
    def name(self) -> str:
        """What its memory is found under; a second one of the name gets a number."""
        ...

    def memory(self) -> PyTree:
        """What it remembers at the start of a run; ``None`` for nothing."""
        ...

    def open(self, job: Job, run: Run) -> AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run: functions ``(state, memory)``.

        They return the memory, of the structure that it had, or ``(memory, answer)`` with a `State` or a
        `control` to go on with.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Owned:
    """A handler and the name of the attachment whose memory it gets."""

    owner: str
    handler: Handler


def answered(given: Any) -> tuple[PyTree, Any]:
    """The memory that a handler returned, and its answer or ``None``."""
    is_pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], State | Control)
    return given if is_pair else (given, None)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The arguments of one run; ``signals`` are those of the outermost run, of which this is a part."""

    data: Any
    state: PyTree
    key: jax.Array | None
    epochs: int
    steps_per_epoch: int | None = None
    resume: Path | bool = False
    fuse: bool = True
    strict: bool = False
    remainder: str = "keep"
    signals: Signals | None = None


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Where checkpoints go, and how many are kept."""

    path: Path
    keep: int = 3
    asynchronous: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What is done with batches and at which events; ``evaluation`` is the recipe that validates.

    The compiled functions are kept for the next run, and for loops that differ in what is attached alone.
    """

    recipe: Recipe
    evaluation: Recipe | None
    metrics: tuple[Measure, ...]
    attached: tuple[tuple[str, Attachment], ...]
    output: Callable[[State], Any] | None
    compile: bool
    saving: Saving | None = None
    programs: dict[Any, Program] = field(default_factory=dict)
    padded: dict[Program, bool] = field(default_factory=dict)

    @property
    def measures(self) -> tuple[Any, ...]:
        """What is accumulated: the loss where there is one, then the metrics."""
        found = (LossMeasure(), *self.metrics) if self.recipe.tracks_loss else self.metrics
        count = self.recipe.members
        return found if count is None else tuple(Each(measure=each, count=count) for each in found)

    @property
    def files(self) -> dict[str, Path]:
        """Where what is attached writes, by its names: those that have a ``path``."""
        paths = {name: getattr(attachment, "path", None) for name, attachment in self.attached}
        return {name: Path(path) for name, path in paths.items() if isinstance(path, str | Path)}

    @property
    def batch_rows(self) -> int:
        """The rows of a full batch; 1 before there was one."""
        known = (first for recipe, first, _ in self.programs if recipe is self.recipe and first is not None)
        return max((rows_of(first) for first in known), default=1)

    def with_attached(self, attached: Sequence[tuple[str, Attachment]]) -> Job:
        """The same job with other attachments."""
        return replace(self, attached=tuple(attached))

    def evaluator(self) -> Job:
        """The job that evaluates, with the same metrics and without handlers.

        Raises:
            ValueError: there is none.
        """
        if self.evaluation is None:
            raise ValueError("this loop has nothing to evaluate: validation needs a trainer")
        return replace(self, recipe=self.evaluation, attached=(), output=None, saving=None)

    def pads(self, batch: Padded, carry: PyTree, constant: PyTree, *, donate: bool) -> bool:
        """Whether the loss and the metrics leave out the added rows of batches like this one."""
        program = self.compiled(batch, donate=donate)
        if program not in self.padded:
            self.padded[program] = leaves_out(program, batch, carry, constant)
        return self.padded[program]

    def compiled(self, batch: Any, *, donate: bool) -> Program:
        """The compiled functions for batches like this one."""
        first = signature(self.recipe.view(batch)) if self.compile else None
        key = (self.recipe, first, donate)
        if key not in self.programs:
            self.programs[key] = make_program(
                self.recipe, self.measures, first, compile=self.compile, donate=donate
            )
        return self.programs[key]
