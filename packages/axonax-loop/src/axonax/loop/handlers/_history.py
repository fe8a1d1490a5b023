"""The metrics of steps, kept with the history."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from axonax.loop import _columns
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
        return _columns.NAME

    def memory(self) -> _columns.Columns:
        """The columns, without rows."""
        return _columns.empty()

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""

        def step(state: State, columns: _columns.Columns) -> _columns.Columns:
            return _columns.append(columns, state.iteration, scalars(state.metrics))

        handler = Handler(event="iteration_completed", function=step, when=self.when, reads=True)
        return contextlib.nullcontext((handler,))

    def __str__(self) -> str:
        return f"history    {self.when}"
