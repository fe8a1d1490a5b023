"""When a run is saved, and which checkpoint is the best."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Control, Handler, Save
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.tensor import names

MODES = ("min", "max")
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

        def save(state: State, memory: Memory) -> tuple[Memory, Control]:
            value = memory["best"] if self.best is None else self._value(state)
            better = self.best is not None and self._better(value, memory["best"])
            kept = {"iteration": state.iteration, "best": value if better else memory["best"]}
            return kept, Control(Save(best=better), state)

        def end(state: State, memory: Memory) -> Any:
            if memory["iteration"] == state.iteration:
                return memory
            return {**memory, "iteration": state.iteration}, Control(Save(), state)

        ends = (Handler(event=event, function=end) for event in ENDS)
        return contextlib.nullcontext((Handler(event=self.event, function=save, when=self.when), *ends))

    def _value(self, state: State) -> float:
        return float(names.lookup(state.metrics, self.best or "", "metric for the best checkpoint"))

    def _better(self, value: float, best: float) -> bool:
        if math.isnan(value):
            return False
        return math.isnan(best) or (value > best if self.mode == "max" else value < best)

    def __str__(self) -> str:
        when = str(self.when)
        best = f", best {self.best} ({self.mode})" if self.best else ""
        return f"{'checkpoint':<11}{self.event}: {self.path}{best}{', ' if when else ''}{when}"
