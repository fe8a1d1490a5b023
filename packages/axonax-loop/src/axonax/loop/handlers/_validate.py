"""Evaluation on other data while a trainer runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from axonax.loop._events import Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._engine import Engine
from axonax.loop.engine._job import Job, Run


@dataclass(frozen=True, kw_only=True)
class Validate:
    """Puts ``<prefix>_<name>`` into the metrics for the loss and every metric of the loop."""

    data: Any = field(repr=False)
    prefix: str
    event: str
    when: Filter

    @property
    def name(self) -> str:
        """The prefix."""
        return self.prefix

    def memory(self) -> None:
        """Nothing."""

    def adds(self, job: Job) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(f"{self.prefix}_{measure.name}" for measure in job.evaluator().measures)

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run, which compiles its step once."""
        evaluator = job.evaluator()

        def validate(state: State, memory: None) -> tuple[None, State]:
            once = Run(data=self.data, state=state.step_state, key=run.key, epochs=1, signals=run.signals)
            values = Engine(evaluator, once, donate=True).result().metrics
            return None, state.with_metrics(
                **{f"{self.prefix}_{name}": value for name, value in values.items()}
            )

        return contextlib.nullcontext((Handler(event=self.event, function=validate, when=self.when),))

    def __str__(self) -> str:
        when = str(self.when)
        return f"{'validate':<11}{self.event}: {self.prefix}_*{', ' if when else ''}{when}"
