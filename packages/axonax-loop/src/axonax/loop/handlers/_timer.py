"""How fast a run is, and what memory it takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from axonax.loop._events import Handler
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run

NAMES = ("steps_per_second", "examples_per_second")
PEAK = "peak_bytes"


@dataclass(frozen=True, kw_only=True)
class Timer:
    """Adds steps/s, examples/s and the device's peak memory to the metrics of each epoch."""

    @property
    def name(self) -> str:
        """``"timer"``."""
        return "timer"

    def memory(self) -> None:
        """Nothing."""

    def adds(self, job: Job) -> tuple[str, ...]:
        """The names of its values."""
        return (*NAMES, PEAK)

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        since = [time.perf_counter(), 0]

        def begin(state: State, memory: None) -> None:
            since[:] = [time.perf_counter(), state.iteration]

        def end(state: State, memory: None) -> Any:
            seconds, steps = time.perf_counter() - since[0], state.iteration - since[1]
            pace = steps / seconds
            values: dict[str, Any] = dict(zip(NAMES, (pace, pace * job.batch_rows), strict=True))
            peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
            return None, state.with_metrics(**values, **({PEAK: peak} if peak is not None else {}))

        return contextlib.nullcontext(
            (Handler(event="epoch_started", function=begin), Handler(event="epoch_completed", function=end))
        )

    def __str__(self) -> str:
        return "timer      steps/s, examples/s, peak memory"
