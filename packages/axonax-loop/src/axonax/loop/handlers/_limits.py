"""The end of a run after so many steps, or so much time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import HALT_LOOP, Control, Handler
from axonax.loop._filters import Filter, make_filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run


@dataclass(frozen=True, kw_only=True)
class MaxSteps:
    """Halts the loop after so many steps, those before a resume included."""

    steps: int

    @property
    def name(self) -> str:
        """``"max_steps"``."""
        return "max_steps"

    def memory(self) -> None:
        """Nothing: the position counts."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""

        def halt(state: State, memory: None) -> Any:
            return None, Control(HALT_LOOP, state)

        when = make_filter(after=self.steps - 1)
        return contextlib.nullcontext((Handler(event="iteration_completed", function=halt, when=when),))

    def __str__(self) -> str:
        return f"{'max_steps':<11}{self.steps}"


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """Halts the loop after so many seconds, those before a resume included."""

    seconds: float

    @property
    def name(self) -> str:
        """``"time_limit"``."""
        return "time_limit"

    def memory(self) -> float:
        """The seconds spent so far."""
        return 0.0

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run; time is looked at between chunks of steps."""
        since = [time.monotonic()]

        def look(state: State, spent: float) -> Any:
            now = time.monotonic()
            spent, since[0] = spent + now - since[0], now
            return (spent, Control(HALT_LOOP, state)) if spent >= self.seconds else spent

        often = Filter(seconds=min(1.0, self.seconds / 10))
        return contextlib.nullcontext(
            (
                Handler(event="iteration_completed", function=look, when=often),
                Handler(event="epoch_completed", function=look),
            )
        )

    def __str__(self) -> str:
        return f"{'time_limit':<11}{self.seconds:g} s"
