"""A bar an epoch, attached to a loop."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Handler
from axonax.loop.data._reader import length
from axonax.loop.engine._job import Job, Run


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A bar an epoch on a terminal or in a notebook, a line an epoch on a dumb terminal, else nothing."""

    console: Any = None

    @property
    def name(self) -> str:
        """``"progress"``."""
        return "progress"

    def memory(self) -> None:
        """Nothing."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run, with a display of their own."""
        # rich is a third of the time that `import jax` takes: loaded when a bar is shown.
        from axonax.loop.handlers import _bar  # noqa: PLC0415

        total = run.steps_per_epoch or length(run.data)
        return _bar.opened(self.console, total=total, epochs=run.epochs)

    def __str__(self) -> str:
        return "progress"
