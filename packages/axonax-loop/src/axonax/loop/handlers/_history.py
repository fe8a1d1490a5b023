"""The metrics of steps, kept with the history."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from axonax.loop import _step_values
from axonax.loop._events import Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.show._numbers import scalars


@dataclass(frozen=True, kw_only=True)
class StepHistory:
    """A row of float32 at steps: the metrics of the epoch so far, as they were after that step."""

    when: Filter

    @property
    def name(self) -> str:
        """``"history"``."""
        return _step_values.NAME

    def memory(self) -> _step_values.Columns:
        """The columns, without rows."""
        return _step_values.empty()

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""

        def step(state: State, columns: _step_values.Columns) -> _step_values.Columns:
            return _step_values.append(columns, state.iteration, scalars(state.metrics))

        handler = Handler(event="iteration_completed", function=step, when=self.when, reads=True)
        return contextlib.nullcontext((handler,))

    def __str__(self) -> str:
        return f"history    {self.when}"
