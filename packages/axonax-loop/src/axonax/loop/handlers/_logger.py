"""Metrics for a logger: a tracker, a database, TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axonax.loop._events import Handler, callable_name
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.show._numbers import metrics_of, scalars
from axonax.tensor.contracts import Logger

Memory = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Logging:
    """Hands the metrics to a logger: those so far at steps, all at the end of an epoch.

    ``logger`` is one, which stays open, or a function that makes one for a run, which is closed at its end.
    """

    logger: Logger | Callable[[], Logger]
    when: Filter | None
    title: str = "logger"
    path: Path | None = None

    @property
    def name(self) -> str:
        """``"logger"`` or what it is."""
        return self.title

    def memory(self) -> Memory:
        """The iteration of the values of steps last handed over; none yet."""
        return {"iteration": -1}

    @contextmanager
    def open(self, job: Job, run: Run) -> Iterator[Sequence[Handler]]:
        """The handlers of one run."""
        if not callable(self.logger):
            yield self._handlers(self.logger)
            return
        logger = self.logger()
        try:
            yield self._handlers(logger)
        finally:
            logger.close()

    def _handlers(self, logger: Logger) -> Sequence[Handler]:
        def hand(state: State, values: Mapping[str, Any]) -> None:
            found = scalars(values)
            if found:
                logger.log(found, step=state.iteration)

        def step(state: State, memory: Memory) -> Memory:
            hand(state, state.metrics)
            return {"iteration": state.iteration}

        def epoch(state: State, memory: Memory) -> Memory:
            row = metrics_of(state.history[-1]) if state.history else {}
            said = memory["iteration"] == state.iteration
            # The values of the last step are those of the epoch: only what handlers added is new.
            hand(state, {name: row[name] for name in row if not said or name in state.metrics.extra})
            return memory

        at_steps = [] if self.when is None else [("iteration_completed", step, self.when)]
        at_epochs = [(event, epoch, Filter()) for event in ("epoch_completed", "epoch_halted")]
        return [
            Handler(event=event, function=function, when=when, reads=True)
            for event, function, when in (*at_steps, *at_epochs)
        ]

    def __str__(self) -> str:
        kind = callable_name(self.logger) if callable(self.logger) else type(self.logger).__name__
        what = str(self.path) if self.path is not None else kind
        return f"{self.title:<10} {what}, {'every epoch' if self.when is None else self.when}"
