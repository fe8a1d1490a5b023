"""The display of `Loop.progress` in a terminal, drawn with rich at most ten times a second."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from axonax.loop._events import ENDINGS, Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._newest import Newest
from axonax.loop.handlers._plain import at, end_sheet, plain_handlers
from axonax.loop.show._numbers import numbers, pace
from axonax.loop.show._summary import epoch_line

INTERVAL = 0.1


@contextlib.contextmanager
def opened(console: Console | None, *, job: Job, run: Run, total: int | None) -> Iterator[Sequence[Handler]]:
    """A display of one run: yields the handlers that keep it up to date, and closes it.

    Args:
        console: where to draw; ``None`` for standard error.
        job: what runs.
        run: its arguments.
        total: the steps of an epoch, where they are known.
    """
    console = Console(stderr=True) if console is None else console
    if not console.is_terminal or console.is_dumb_terminal:
        yield plain_handlers(job, run, lambda text: _said(console, text))
        return
    bars = Bars(console, job, total, run.epochs)
    try:
        yield (
            at("epoch_started", bars.begin),
            at("iteration_completed", bars.step, Filter(seconds=INTERVAL)),
            at("epoch_completed", bars.finish),
            at("epoch_halted", bars.finish),
            *(at(event, bars.end) for event in ENDINGS if event != "exception"),
        )
    finally:
        bars.close()


def _said(console: Console, text: str) -> None:
    # Not wrapped at the 80 columns that rich takes a file to have.
    console.print(text, highlight=False, markup=False, soft_wrap=True)


class Bars:
    """One bar for the epoch in progress, below a line for each epoch done.

    What it shows of the metrics was finished by the device before it is read.
    """

    def __init__(self, console: Console, job: Job, total: int | None, epochs: int) -> None:
        self._job, self._total, self._epochs = job, total, epochs
        self._task: TaskID | None = None
        self._newest = Newest()
        # The steps would wait for a refreshing thread; they refresh themselves.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            # The one column that gives way in a narrow terminal: it goes on in a second line.
            TextColumn("{task.fields[values]}", table_column=Column(no_wrap=False)),
            console=console,
            auto_refresh=False,
        )

    def begin(self, state: State) -> None:
        """Open the bar of an epoch."""
        self._open(state)
        self._progress.refresh()

    def step(self, state: State) -> None:
        """Move the bar, and show the newest values that the device has finished."""
        if self._task is None:
            self._open(state)
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=state.epoch_iteration,
            pace=pace(self._progress.tasks[0].speed or 0, 1),
            values=numbers(self._newest.look(state)),
        )
        self._progress.refresh()

    def finish(self, state: State) -> None:
        """Make a line of the bar: bars of all epochs would grow out of the terminal."""
        self._remove()
        if state.history:
            self._total = max(self._total or 0, state.epoch_iteration)
            _said(self._progress.console, epoch_line(state.history.rows, self._epochs))

    def end(self, state: State) -> None:
        """Take the bar away, and say how the run ended."""
        self._remove()
        self._progress.stop()
        _said(self._progress.console, str(end_sheet(self._job, state)))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def _open(self, state: State) -> None:
        self._remove()
        self._progress.start()
        self._newest = Newest()
        self._task = self._progress.add_task(
            f"Epoch {state.epoch}/{self._epochs}",
            total=self._total,
            completed=state.epoch_iteration,
            pace="",
            values="",
        )

    def _remove(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._progress.refresh()
            self._task = None
