"""Parameters that are trained from an epoch on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Handler
from axonax.loop._filters import make_filter
from axonax.loop._state import State, TrainState
from axonax.loop.engine._job import Job, Run
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class UnfreezeAt:
    """Trains what the patterns select, from the start of an epoch on."""

    epoch: int
    patterns: tuple[trees.Pattern, ...]

    @property
    def name(self) -> str:
        """``"unfreeze_at"``."""
        return "unfreeze_at"

    def memory(self) -> None:
        """Nothing: the epoch tells."""

    def restructure(self, step_state: PyTree, job: Job, epoch: int, started: bool) -> PyTree:
        """The step state as it is in an epoch, for a run that goes on there."""
        late = epoch > self.epoch or (epoch == self.epoch and started)
        return self._unfrozen(step_state, job) if late else step_state

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""

        def unfreeze(state: State, memory: None) -> Any:
            return None, state.replace(step_state=self._unfrozen(state.step_state, job))

        when = make_filter(once=self.epoch)
        return contextlib.nullcontext((Handler(event="epoch_started", function=unfreeze, when=when),))

    def _unfrozen(self, step_state: PyTree, job: Job) -> TrainState:
        refit = job.recipe.refit
        if refit is None or not isinstance(getattr(step_state, "model_state", None), ModelState):
            raise ValueError("unfreeze_at: needs a trainer of a model whose state is a ModelState")
        state: TrainState = refit(step_state, step_state.model_state.unfreeze(*self.patterns))
        return state

    def __str__(self) -> str:
        return f"unfreeze_at epoch {self.epoch}: {', '.join(map(str, self.patterns))}"
