"""A user's handler, attached to a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axonax.loop._events import Handler
from axonax.loop.engine._job import Job, Run


@dataclass(frozen=True)
class On:
    """One handler, the same in every run."""

    handler: Handler

    def handlers(self, job: Job, run: Run) -> Sequence[Handler]:
        """The handler."""
        return (self.handler,)

    def __str__(self) -> str:
        when = str(self.handler.when)
        return f"{'on':<11}{self.handler.event}: {self.handler.name}{', ' if when else ''}{when}"
