"""The display of `Loop.progress` where there is no terminal: a line an epoch, a table at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from axonax.loop._events import ENDINGS, Handler
from axonax.loop._filters import ALWAYS, Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._checkpoint import Checkpoint
from axonax.loop.show._numbers import metrics_of
from axonax.loop.show._sheet import Sheet
from axonax.loop.show._summary import epoch_line, summary


def at(event: str, function: Callable[[State], None], when: Filter = ALWAYS) -> Handler:
    """A handler that reads and remembers nothing."""
    return Handler(event=event, function=lambda state, memory: function(state), when=when, reads=True)


def plain_handlers(job: Job, run: Run, write: Callable[[str], object]) -> Sequence[Handler]:
    """The handlers that write lines."""

    def epoch(state: State) -> None:
        if state.history:
            write(epoch_line(state.history.rows, run.epochs))

    def end(state: State) -> None:
        write(str(end_sheet(job, state)))

    epochs = (at(event, epoch) for event in ("epoch_completed", "epoch_halted"))
    return (*epochs, *(at(event, end) for event in ENDINGS if event != "exception"))


def end_sheet(job: Job, state: State) -> Sheet:
    """What is said at the end of a run."""
    best = {
        each.best: state.memory[name]["best"]
        for name, each in job.attached
        if isinstance(each, Checkpoint) and each.best and not math.isnan(state.memory[name]["best"])
    }
    rows = state.history.rows
    return summary(
        state.status,
        epoch=state.epoch,
        iteration=state.iteration,
        rows=rows,
        metrics=dict(state.metrics) or (metrics_of(rows[-1]) if rows else {}),
        best=best,
        files=job.files,
    )
