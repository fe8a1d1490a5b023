"""Lines of text about a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from axonax.loop._events import Handler, callable_name
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run


@dataclass(frozen=True, kw_only=True)
class Log:
    """A line when the filter fires, and one for the last step of an epoch where it did not."""

    message: Callable[[State], str] | None
    when: Filter
    to: Callable[[str], Any]

    @property
    def name(self) -> str:
        """``"log"``."""
        return "log"

    def memory(self) -> int:
        """The iteration last written; none yet."""
        return -1

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        # A message of the user may look at the step state.
        write, reads = self.message or line, self.message is None

        def step(state: State, written: int) -> int:
            self.to(write(state))
            return state.iteration

        def end(state: State, written: int) -> int:
            return written if written == state.iteration else step(state, written)

        handlers = (
            Handler(event="iteration_completed", function=step, when=self.when, reads=reads),
            Handler(event="epoch_completed", function=end, reads=reads),
        )
        return contextlib.nullcontext(handlers)

    def __str__(self) -> str:
        text = f", {callable_name(self.message)}" if self.message else ""
        return f"{'log':<11}{self.when}{text}"


def line(state: State) -> str:
    """The line of one state.

    >>> from axonax.loop._state import Metrics
    >>> metrics = Metrics((), dict, {"loss": 0.4321, "hits": 3})
    >>> line(State(epoch=1, epochs=1, iteration=50, epoch_iteration=50, step_state=(), metrics=metrics,
    ...            event_counts={}))
    'Epoch: 1, Batch: 50, loss: 0.4321000, hits: 3'
    """
    return f"Epoch: {state.epoch}, Batch: {state.epoch_iteration}" + "".join(
        f", {name}: {value}" for name, value in format_metrics(state.metrics).items()
    )


def format_metrics(metrics: Mapping[str, Any], digits: int = 7) -> dict[str, str]:
    """Metric values as text: integers plain, floats with ``digits`` decimals, arrays in brackets."""
    return {name: _format(value, digits) for name, value in metrics.items()}


def _format(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=digits, separator=", ", threshold=10)
    return str(value)
