"""What a run looks like while it goes on, attached to a loop."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Handler
from axonax.loop.data._reader import length
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers import _notebook


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A bar an epoch in a terminal or a notebook, elsewhere a line an epoch; a table at the end."""

    console: Any = None

    @property
    def name(self) -> str:
        """``"progress"``."""
        return "progress"

    def memory(self) -> None:
        """Nothing."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run, with a display of their own."""
        total = run.steps_per_epoch or length(run.data)
        notebook = None if self.console is not None else _notebook.display()
        if notebook is not None:
            return _notebook.opened(notebook, job=job, run=run, total=total)
        # rich is a third of the time that `import jax` takes: loaded when a bar is shown.
        from axonax.loop.handlers import _bar  # noqa: PLC0415

        return _bar.opened(self.console, job=job, run=run, total=total)

    def __str__(self) -> str:
        return "progress"
