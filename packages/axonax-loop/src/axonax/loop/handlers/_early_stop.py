"""The end of a run whose metric stopped getting better."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import HALT_LOOP, Control, Handler
from axonax.loop._state import State, TrainState, copy_arrays
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._patience import Patience, check_metric, watched

PyTree = Any
Memory = dict[str, Any]
ENDS = ("completed", "halted", "data_exhausted")


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """Halts the loop when a metric was not better for so many epochs."""

    metric: str
    patience: int
    mode: str
    min_delta: float
    restore_best: bool

    @property
    def name(self) -> str:
        """``"early_stop"``."""
        return "early_stop"

    def memory(self) -> Memory:
        """The best value and how many epochs had no better one."""
        return {"patience": Patience(), "kept": ()}

    def prepare(self, memory: Memory, step_state: PyTree) -> Memory:
        """With room for the best state of the model, where it is to be put back."""
        if not self.restore_best:
            return memory
        if not isinstance(step_state, TrainState):
            raise ValueError("early_stop: restore_best needs a trainer")
        return {**memory, "kept": copy_arrays(step_state.model_state)}

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        check_metric("early_stop", self.metric, job)

        def look(state: State, memory: Memory) -> Any:
            value = watched("early_stop", self.metric, state)
            patience = memory["patience"].observe(value, self.mode, self.min_delta)
            better = patience.stale == 0
            kept = copy_arrays(state.model_state) if self.restore_best and better else memory["kept"]
            after = {"patience": patience, "kept": kept}
            return (after, Control(HALT_LOOP, state)) if patience.stale >= self.patience else after

        def restore(state: State, memory: Memory) -> Any:
            if memory["patience"].stale == 0:
                return memory
            return memory, state.replace(model_state=memory["kept"])

        handlers = [Handler(event="epoch_completed", function=look)]
        if self.restore_best:
            handlers += [Handler(event=event, function=restore) for event in ENDS]
        return contextlib.nullcontext(handlers)

    def __str__(self) -> str:
        by = f", by more than {self.min_delta:g}" if self.min_delta else ""
        best = ", the best state is put back" if self.restore_best else ""
        how = f"({self.mode}) not better for {self.patience} epochs"
        return f"{'early_stop':<11}{self.metric} {how}{by}{best}"
