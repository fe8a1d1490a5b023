"""The curves of a run as a picture, drawn after each epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axonax.loop._events import Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers import _notebook
from axonax.loop.handlers._patience import check_metric
from axonax.loop.show._curves import curves, matplotlib_parts
from axonax.loop.show._whole import tried


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A PNG of the curves, and the same picture in a notebook, updated in place."""

    path: Path
    when: Filter
    metrics: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """``"plot"``."""
        return "plot"

    def memory(self) -> None:
        """Nothing."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        matplotlib_parts()
        for name in self.metrics or ():
            check_metric("plot", name, job)
        show = _notebook.display()
        handle: list[Any] = []

        def draw(state: State, memory: None) -> None:
            if not state.history:
                return
            picture = curves(state.history.rows, self.metrics)
            tried(self.name, self.path, picture.drawn(self.path))
            if handle:
                handle[0].update(picture)
            elif show is not None:
                handle.append(show(picture, display_id=True))

        events = ("epoch_completed", "epoch_halted")
        handlers = [Handler(event=each, function=draw, when=self.when, reads=True) for each in events]
        last = Handler(event="completed", function=draw, reads=True)
        return contextlib.nullcontext([*handlers, last] if str(self.when) else handlers)

    def __str__(self) -> str:
        return f"plot       {self.path}, {self.when if str(self.when) else 'every epoch'}"
