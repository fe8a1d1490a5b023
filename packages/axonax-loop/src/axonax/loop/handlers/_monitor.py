"""An action of the user when a metric stopped getting better."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Control, Handler, callable_name
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._patience import Patience, check_metric, watched


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Calls ``action(state)`` each time that a metric was not better for so many epochs."""

    metric: str
    action: Callable[[State], Any]
    patience: int
    mode: str
    min_delta: float

    @property
    def name(self) -> str:
        """``"monitor"``."""
        return "monitor"

    def memory(self) -> Patience:
        """The best value and how many epochs had no better one."""
        return Patience()

    def adds(self, job: Job) -> None:
        """The action may add any metric."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""
        before = [each for each in job.attached if each[1] is not self]
        check_metric("monitor", self.metric, job.with_attached(before))

        def look(state: State, memory: Patience) -> Any:
            patience = memory.observe(watched("monitor", self.metric, state), self.mode, self.min_delta)
            if patience.stale < self.patience:
                return patience
            answer = self.action(state)
            after = patience._replace(stale=0)
            if answer is not None and not isinstance(answer, State | Control):
                raise TypeError(
                    f"monitor: the action must return None, a State or a control, got {type(answer).__name__}"
                )
            return after if answer is None else (after, answer)

        return contextlib.nullcontext((Handler(event="epoch_completed", function=look),))

    def __str__(self) -> str:
        what = f"{self.metric} ({self.mode}) not better for {self.patience} epochs"
        return f"{'monitor':<11}{what}: {callable_name(self.action)}"
