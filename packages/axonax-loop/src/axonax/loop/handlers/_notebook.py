"""The display of `Loop.progress` in a notebook: one output, updated in place, without a package more."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import ENDINGS, Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._newest import Newest
from axonax.loop.handlers._plain import at, end_sheet
from axonax.loop.show._numbers import duration, numbers, pace
from axonax.loop.show._sheet import Sheet
from axonax.loop.show._summary import epoch_line

INTERVAL = 0.25
LINES = 20  # epochs shown, the newest
_STYLE = 'style="font-family: monospace; white-space: pre"'


def display() -> Any:
    """IPython's ``display``, where this runs in the kernel of a notebook; else ``None``."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return sys.modules["IPython.display"].display


@dataclass(frozen=True, kw_only=True)
class View:
    """What stands in the cell: lines, a bar with a text, a table."""

    lines: tuple[str, ...] = ()
    done: int = 0
    total: int | None = None
    text: str = ""
    sheet: Sheet | None = None

    def __repr__(self) -> str:
        parts = (*self.lines, self.text, "" if self.sheet is None else repr(self.sheet))
        return "\n".join(filter(None, parts))

    def _repr_html_(self) -> str:
        """What a notebook shows: all text escaped."""
        above = "".join(f"<div {_STYLE}>{html.escape(line)}</div>\n" for line in self.lines)
        known = "" if self.total is None else f' value="{self.done}" max="{self.total}"'
        bar = f"<div {_STYLE}><progress{known}></progress> {html.escape(self.text)}</div>\n"
        table = "" if self.sheet is None else self.sheet._repr_html_()
        return above + (bar if self.text else "") + table


class Cell:
    """The output of one run."""

    def __init__(self, show: Any, job: Job, total: int | None, epochs: int) -> None:
        self._job, self._total, self._epochs = job, total, epochs
        self._lines: tuple[str, ...] = ()
        self._handle = show(View(text="starting"), display_id=True)
        self._restart(0)

    def begin(self, state: State) -> None:
        """An epoch starts."""
        self._restart(state.epoch_iteration)
        self._draw(state)

    def step(self, state: State) -> None:
        """Move the bar, and show the newest values that the device has finished."""
        self._newest.look(state)
        self._draw(state)

    def finish(self, state: State) -> None:
        """An epoch is done."""
        if state.history:
            self._total = max(self._total or 0, state.epoch_iteration)
            self._lines = (*self._lines, epoch_line(state.history.rows, self._epochs))[-LINES:]
            self._handle.update(View(lines=self._lines))

    def end(self, state: State) -> None:
        """The run has ended."""
        self._handle.update(View(lines=self._lines, sheet=end_sheet(self._job, state)))

    def _restart(self, done: int) -> None:
        self._newest, self._began, self._before = Newest(), time.perf_counter(), done

    def _draw(self, state: State) -> None:
        done, seconds = state.epoch_iteration, time.perf_counter() - self._began
        steps = done - self._before
        left = (self._total - done) * seconds / steps if self._total is not None and steps else 0
        parts = (
            f"Epoch {state.epoch}/{self._epochs}",
            f"{done}/{'?' if self._total is None else self._total}",
            pace(steps, seconds),
            f"{duration(left)} left" if left > 0 else "",
            numbers(self._newest.values),
        )
        text = "  ".join(filter(None, parts))
        self._handle.update(View(lines=self._lines, done=done, total=self._total, text=text))


@contextlib.contextmanager
def opened(show: Any, *, job: Job, run: Run, total: int | None) -> Iterator[Sequence[Handler]]:
    """A display of one run: the handlers that keep it up to date."""
    cell = Cell(show, job, total, run.epochs)
    yield (
        at("epoch_started", cell.begin),
        at("iteration_completed", cell.step, Filter(seconds=INTERVAL)),
        at("epoch_completed", cell.finish),
        at("epoch_halted", cell.finish),
        *(at(event, cell.end) for event in ENDINGS if event != "exception"),
    )
