"""When a run is saved, and which checkpoint is the best."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Control, Handler, Save
from axonax.loop._filters import Filter
from axonax.loop._state import PopulationState, State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._patience import better, check_metric, watched, watched_each

ENDS = ("completed", "halted", "data_exhausted")
Memory = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Asks for a save at an event, and for a last one at the end of a run."""

    best: str | None
    mode: str
    event: str
    when: Filter
    path: str

    @property
    def name(self) -> str:
        """``"checkpoint"``."""
        return "checkpoint"

    def memory(self) -> Memory:
        """The iteration last saved and the best value so far; NaN for none."""
        return {"iteration": -1, "best": math.nan}

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        if self.best is not None:
            check_metric("checkpoint", self.best, job)

        def save(state: State, memory: Memory) -> tuple[Memory, Control]:
            best, is_best = memory["best"], False
            if self.best is not None:
                if isinstance(state.step_state, PopulationState):
                    value = watched_each("checkpoint", self.best, state, self.mode)[1]
                else:
                    value = watched("checkpoint", self.best, state)
                is_best = better(value, best, self.mode)
                best = value if is_best else best
            return {"iteration": state.iteration, "best": best}, Control(Save(best=is_best), state)

        def end(state: State, memory: Memory) -> Any:
            if memory["iteration"] == state.iteration:
                return memory
            return {**memory, "iteration": state.iteration}, Control(Save(), state)

        ends = (Handler(event=event, function=end) for event in ENDS)
        return contextlib.nullcontext((Handler(event=self.event, function=save, when=self.when), *ends))

    def __str__(self) -> str:
        when = str(self.when)
        best = f", best {self.best} ({self.mode})" if self.best else ""
        return f"{'checkpoint':<11}{self.event}: {self.path}{best}{', ' if when else ''}{when}"
