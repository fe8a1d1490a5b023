"""The display of `Loop.progress`, drawn with rich at most ten times a second."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from axonax.loop._events import ENDINGS, Handler
from axonax.loop._filters import ALWAYS, Filter
from axonax.loop._state import State, to_host
from axonax.loop.handlers._log import format_metrics, line

INTERVAL = 0.1
NOT_SHOWN = ("epoch", "iteration", "seconds")


@contextlib.contextmanager
def opened(console: Console | None, *, total: int | None, epochs: int) -> Iterator[Sequence[Handler]]:
    """A display of one run: yields the handlers that keep it up to date, and closes it.

    Args:
        console: where to draw; ``None`` for standard error.
        total: the steps of an epoch, where they are known.
        epochs: how many epochs there will be.
    """
    console = Console(stderr=True) if console is None else console
    if not (console.is_terminal or console.is_jupyter):
        yield ()
    elif console.is_dumb_terminal:
        yield (_at("epoch_completed", lambda state: console.print(line(state))),)
    else:
        bars = Bars(console, total, epochs)
        try:
            yield (
                _at("epoch_started", bars.begin),
                _at("iteration_completed", bars.step, Filter(seconds=INTERVAL)),
                *(_at(event, bars.end) for event in ENDINGS),
            )
        finally:
            bars.close()


def _at(event: str, function: Callable[[State], None], when: Filter = ALWAYS) -> Handler:
    """A handler that reads and remembers nothing."""
    return Handler(event=event, function=lambda state, memory: function(state), when=when, reads=True)


class Bars:
    """One bar for the epoch in progress, below a line for each epoch done.

    What it shows of the metrics was finished by the device before it is read.
    """

    def __init__(self, console: Console, total: int | None, epochs: int) -> None:
        self._total, self._epochs = total, epochs
        self._task: TaskID | None = None
        self._pending: Mapping[str, Any] = {}
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
        """Finish the last epoch's bar and open the next."""
        self._finish(state)
        self._progress.start()
        self._pending = {}
        self._task = self._progress.add_task(
            f"Epoch {state.epoch}/{self._epochs}", total=self._total, pace="", values=""
        )

    def step(self, state: State) -> None:
        """Move the bar, and show the newest values that the device has finished."""
        if self._task is None:
            return
        changes: dict[str, Any] = {}
        if _finished(self._pending):
            # The compiled function that computed them sorts the names.
            shown = {name: self._pending[name] for name in state.metrics if name in self._pending}
            changes["values"] = _text({name: to_host(value) for name, value in shown.items()})
            self._pending = {}
        if not self._pending:
            self._pending = state.metrics.start()
        speed = self._progress.tasks[0].speed
        pace = f"{speed:.0f} steps/s" if speed else ""
        self._progress.update(self._task, completed=state.epoch_iteration, pace=pace, **changes)
        self._progress.refresh()

    def end(self, state: State) -> None:
        """Finish the last bar."""
        self._finish(state)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def _finish(self, state: State) -> None:
        if self._task is None:
            return
        # Bars of all epochs would grow out of the terminal: what is done becomes text above.
        self._progress.remove_task(self._task)
        self._progress.refresh()
        self._task = None
        if state.history:
            row = state.history[-1]
            steps = row["iteration"] - (state.history[-2]["iteration"] if len(state.history) > 1 else 0)
            values = _text({name: value for name, value in row.items() if name not in NOT_SHOWN})
            pace = f"{steps} steps, {steps / row['seconds']:.0f} steps/s"
            self._progress.console.print(
                f"Epoch {row['epoch']}/{self._epochs}: {pace}, {values}", highlight=False
            )


def _finished(values: Mapping[str, Any]) -> bool:
    leaves: list[Any] = jax.tree.leaves(values)
    return bool(leaves) and all(leaf.is_ready() for leaf in leaves if hasattr(leaf, "is_ready"))


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in format_metrics(values, digits=4).items())
