"""A JAX trace of a few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from axonax.loop._events import Handler
from axonax.loop._filters import make_filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run

ENDS = ("completed", "halted", "data_exhausted")
# Without types in JAX.
PROFILER: Any = jax.profiler
READY: Any = jax.block_until_ready


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Traces so many steps after the one of a number, and says where the trace is."""

    path: Path
    start: int
    steps: int
    to: Callable[[str], Any]

    @property
    def name(self) -> str:
        """``"profile"``."""
        return "profile"

    def memory(self) -> None:
        """Nothing."""

    @contextmanager
    def open(self, job: Job, run: Run) -> Iterator[Sequence[Handler]]:
        """The handlers of one run."""
        tracing = False
        last = self.start + self.steps

        def begin(state: State, memory: None) -> None:
            nonlocal tracing
            READY(state.step_state)
            PROFILER.start_trace(str(self.path))
            tracing = True

        def end(state: State, memory: None) -> None:
            nonlocal tracing
            if tracing:
                READY(state.step_state)
                PROFILER.stop_trace()
                tracing = False
                steps = f"steps {self.start + 1} to {state.iteration}"
                self.to(f"profile: {steps} are in {self.path}: tensorboard --logdir {self.path}")

        def missed(state: State, memory: None) -> None:
            if state.iteration < self.start:
                self.to(f"profile: no trace, the run ended after {state.iteration} of {self.start} steps")
            end(state, memory)

        begins = Handler(event="iteration_completed", function=begin, when=make_filter(once=self.start))
        try:
            yield (
                begins,
                Handler(event="iteration_completed", function=end, when=make_filter(once=last)),
                *(Handler(event=event, function=missed) for event in ENDS),
            )
        finally:
            if tracing:
                PROFILER.stop_trace()

    def __str__(self) -> str:
        return f"profile    {self.path}, steps {self.start + 1} to {self.start + self.steps}"
