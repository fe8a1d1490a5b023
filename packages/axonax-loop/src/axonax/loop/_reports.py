"""What a person sees of a run: lines, a bar, files, curves, a trace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from axonax.loop._filters import Count, Seconds, make_filter
from axonax.loop._state import State
from axonax.loop.engine._job import Attachment
from axonax.loop.handlers._csv import Csv
from axonax.loop.handlers._history import StepHistory
from axonax.loop.handlers._jsonl import Jsonl
from axonax.loop.handlers._log import Log
from axonax.loop.handlers._logger import Logging
from axonax.loop.handlers._plot import Plot
from axonax.loop.handlers._predictions import WRITERS, Predictions
from axonax.loop.handlers._profile import Profile
from axonax.loop.handlers._progress import Progress
from axonax.loop.handlers._tensorboard import TensorBoard
from axonax.loop.show._curves import checked_path
from axonax.tensor.contracts import Logger

Anywhere = str | os.PathLike[str]


class Reports:
    """Methods of `Loop` that attach what shows or writes metrics; none of them makes the steps wait."""

    attached: tuple[tuple[str, Attachment], ...]

    def attach(self, attachment: Attachment) -> Self:
        """A loop with one more attachment."""
        raise NotImplementedError

    def log(
        self,
        message: Callable[[State], str] | None = None,
        *,
        every: Count | Seconds = ("epoch", 50),
        to: Callable[[str], Any] = print,
    ) -> Self:
        """Write a line every 50 iterations of an epoch and after each epoch's last one.

        Args:
            message: a function of the state; by default ``Epoch: 1, Batch: 50, loss: 0.4321000, ...``.
            every: as in `on`.
            to: where the line goes.

        Raises:
            TypeError: ``message`` or ``to`` is not callable.
        """
        for option, value in (("message", message), ("to", to)):
            if value is not None and not callable(value):
                raise TypeError(f"log: {option} must be a function, got {type(value).__name__}")
        return self.attach(Log(message=message, when=make_filter(every=every), to=to))

    def progress(self, console: Any = None) -> Self:
        """Show a bar an epoch with loss, metrics, steps/s and the time left, and a table at the end.

        A notebook shows the same in the cell. Where there is no terminal, in a log file or a pipe, it is a
        line an epoch.

        Args:
            console: a ``rich.console.Console``; by default one for standard error.
        """
        return self.attach(Progress(console=console))

    def csv(self, path: Anywhere, *, every: Count | Seconds | None = None) -> Self:
        """Write a row of metrics an epoch to a CSV file, each as soon as it is there.

        A column that comes later, as of a validation every second epoch, is added at the right. A run that is
        resumed goes on with the file as it was at the checkpoint: no row is there twice, none is missing.

        Args:
            path: the file; folders on the way are made.
            every: write a row every so many steps instead (as in `on`), of the epoch's metrics so far.

        Raises:
            ValueError: a second one for this path. When the run starts: the file is there already and the
                run is not resumed.
        """
        return self.attach(Csv(path=self._new("csv", path), when=_steps(every)))

    def jsonl(self, path: Anywhere, *, every: Count | Seconds | None = None) -> Self:
        """Write an object of metrics a line: as `csv`, with arrays as lists and NaN and infinity as null.

        Args:
            path: the file; folders on the way are made.
            every: as in `csv`.

        Raises:
            ValueError: as in `csv`.
        """
        return self.attach(Jsonl(path=self._new("jsonl", path), when=_steps(every)))

    def logger(self, logger: Logger | Callable[[], Logger], *, every: Count | Seconds | None = 50) -> Self:
        """Hand the metrics to a tracker: the epoch's so far every 50 steps, all at the end of an epoch.

        The numbers of a vector, of 64 at most, have names of their own: ``"recall/0"``.

        Args:
            logger: a value with ``log(values, *, step)`` and ``close()``, which stays open; or a function
                without arguments that makes one when a run starts, and whose logger is closed at its end.
            every: as in `on`; ``None`` for epochs alone.

        Raises:
            TypeError: it is neither.
        """
        if not callable(logger) and not (hasattr(logger, "log") and hasattr(logger, "close")):
            kind = type(logger).__name__
            raise TypeError(f"logger: needs log(values, *, step) and close(), or a function, got {kind}")
        return self.attach(Logging(logger=logger, when=_steps(every)))

    def tensorboard(self, path: Anywhere, *, every: Count | Seconds | None = 50) -> Self:
        """Write the metrics for TensorBoard, as `logger` does; needs ``axonax-loop[tensorboard]``.

        Args:
            path: the folder.
            every: as in `logger`.

        Raises:
            ImportError: when the run starts: tensorboardX is not installed.
        """
        folder = self._new("tensorboard", path)
        return self.attach(
            Logging(logger=lambda: TensorBoard(folder), when=_steps(every), title="tensorboard", path=folder)
        )

    def plot(
        self, path: Anywhere, *, metrics: Sequence[str] | None = None, every: Count | None = None
    ) -> Self:
        """Draw the curves after each epoch, training beside validation; needs ``axonax-loop[plot]``.

        A notebook shows the picture too, updated in place.

        Args:
            path: a PNG, SVG or PDF, replaced whole each time.
            metrics: a panel each; by default all that are numbers.
            every: after every so many epochs, and at the end.

        Raises:
            ValueError: a second one for this path, or another kind of file. When the run starts: nothing
                makes one of the metrics.
            ImportError: when the run starts: matplotlib is not installed.
        """
        chosen = None if metrics is None else tuple(metrics)
        return self.attach(
            Plot(path=self._new("plot", checked_path(path)), when=make_filter(every=every), metrics=chosen)
        )

    def history(self, *, every: Count | Seconds = 1) -> Self:
        """Keep metrics of steps: ``result.history.steps["loss"]``, a float32 column beside ``"iteration"``.

        They are the metrics of the epoch so far, as they were after that step, and not those of the one
        batch. A million rows take 4 MB a column.

        Args:
            every: as in `on`.

        Raises:
            ValueError: the loop keeps them already.
        """
        if any(isinstance(each, StepHistory) for _, each in self.attached):
            raise ValueError("history: the loop keeps values of steps already")
        return self.attach(StepHistory(when=make_filter(every=every)))

    def write_predictions(
        self, path: Anywhere, predictor: Any, data: Any, *, every: Count | None = None
    ) -> Self:
        """Write the predictions on some data after each epoch, with averaged parameters where there are any.

        Args:
            path: a ``.npz`` with an array for each output, or a ``.csv`` with a row an example; written
                anew each time, ``"epoch_{epoch}.npz"`` one an epoch.
            predictor: the loop that predicts, whose ``output`` is written.
            data: what it predicts on, as for its `run`.
            every: after every so many epochs.

        Raises:
            ValueError: a second one for this path, another kind of file, or data that can be read only once.
            TypeError: ``predictor`` is no loop with an output.
        """
        if getattr(predictor, "output", None) is None:
            kind = getattr(predictor, "kind", type(predictor).__name__)
            raise TypeError(f"write_predictions: needs a loop with an output, a predictor, got {kind}")
        if isinstance(data, Iterator):
            raise ValueError(
                f"write_predictions: a {type(data).__name__} can be read only once, but it is read after each"
                " epoch: pass a list, loop.arrays(...) or a function that returns an iterator"
            )
        target = self._new("write_predictions", path)
        if target.suffix not in WRITERS:
            ends = " or ".join(WRITERS)
            raise ValueError(f"write_predictions: the path must end in {ends}, got {path}")
        return self.attach(
            Predictions(path=target, predictor=predictor._job, data=data, when=make_filter(every=every))
        )

    def profile(
        self, path: Anywhere, *, start: int = 10, steps: int = 5, to: Callable[[str], Any] = print
    ) -> Self:
        """Trace a few steps with JAX's profiler, and say where the trace is.

        Args:
            path: the folder of the trace.
            start: the number of steps of the run before those that are traced; compilation is among them.
            steps: how many are traced.
            to: where the line goes that says it.

        Raises:
            ValueError: ``start`` or ``steps`` is no integer of at least 1.
        """
        for option, value in (("start", start), ("steps", steps)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"profile: {option} must be an integer of at least 1, got {value!r}")
        return self.attach(Profile(path=self._new("profile", path), start=start, steps=steps, to=to))

    def _new(self, who: str, path: Anywhere) -> Path:
        """The path, unless something attached writes there.

        Raises:
            ValueError: something does.
        """
        for name, attachment in self.attached:
            taken = getattr(attachment, "path", None)
            if taken is not None and Path(taken) == Path(path):
                raise ValueError(f"{who}: {path} is where {name} writes: use another path")
        return Path(path)


def _steps(every: Count | Seconds | None) -> Any:
    return None if every is None else make_filter(every=every)
