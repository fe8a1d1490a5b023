"""Predictions on given data, written after epochs."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from axonax.loop._events import Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._engine import Engine
from axonax.loop.engine._job import Job, Run
from axonax.loop.show._whole import tried
from axonax.tensor import trees

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A file of predictions, written whole; ``{epoch}`` in its name makes it one an epoch."""

    path: Path
    predictor: Job = field(repr=False)
    data: Any = field(repr=False)
    when: Filter

    @property
    def name(self) -> str:
        """``"predictions"``."""
        return "predictions"

    def memory(self) -> None:
        """Nothing."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run, which compiles the prediction once."""

        def write(state: State, memory: None) -> None:
            once = Run(data=self.data, state=state.step_state, key=run.key, epochs=1, signals=run.signals)
            output = Engine(self.predictor, once, donate=True).result().output
            path = Path(str(self.path).replace("{epoch}", str(state.epoch)))
            tried(self.name, path, WRITERS[path.suffix](columns_of(output)))

        return contextlib.nullcontext((Handler(event="epoch_completed", function=write, when=self.when),))

    def __str__(self) -> str:
        when = str(self.when)
        return f"predictions {self.path}, {when if when else 'every epoch'}"


def columns_of(output: PyTree) -> dict[str, np.ndarray]:
    """The arrays of an output by path; one alone is ``"prediction"``.

    >>> list(columns_of({"digit": np.ones(2), "box": np.ones((2, 4))})), list(columns_of(np.ones(2)))
    (['box', 'digit'], ['prediction'])
    """
    return {path or "prediction": np.asarray(leaf) for path, leaf in trees.flatten(output).items()}


def as_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An array for each output."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def as_csv(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A row an example; an output with several numbers an example has a column for each.

    Raises:
        ValueError: an output has more than two dimensions.

    >>> print(as_csv({"digit": np.array([[0.25, 0.75]])}).decode())
    digit_0,digit_1
    0.25,0.75
    <BLANKLINE>
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [column for name, array in arrays.items() for column in _columns(name, array)]
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(values for _, values in columns), strict=True))
    return buffer.getvalue().encode()


def _columns(name: str, array: np.ndarray) -> Iterator[tuple[str, list[Any]]]:
    if array.ndim > 2:
        raise ValueError(
            f"write_predictions: a CSV file takes outputs of one or two dimensions, {name} has shape"
            f" {array.shape}: write a .npz"
        )
    if array.ndim == 1:
        yield name, array.tolist()
    else:
        yield from ((f"{name}_{index}", column.tolist()) for index, column in enumerate(array.T))


WRITERS: Mapping[str, Callable[[Mapping[str, np.ndarray]], bytes]] = {".npz": as_npz, ".csv": as_csv}
