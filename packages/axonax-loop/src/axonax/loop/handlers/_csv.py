"""Metrics in a CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from axonax.loop._events import Handler
from axonax.loop._filters import Filter
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._rows import Memory, row_handlers


@dataclass(frozen=True, kw_only=True)
class Csv:
    """A row an epoch, or with ``when`` at steps."""

    path: Path
    when: Filter | None

    @property
    def name(self) -> str:
        """``"csv"``."""
        return "csv"

    def memory(self) -> Memory:
        """How many rows were written."""
        return {"rows": 0}

    def open(self, job: Job, run: Run) -> AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        return row_handlers("csv", self.path, CsvFormat(), self.when, run)

    def __str__(self) -> str:
        return f"csv        {self.path}, {self.when or 'every epoch'}"


class CsvFormat:
    """A header, and a line a row. New columns go to the end, and the rows there are get empty cells."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def begin(self, first: str | None) -> int:
        """The header is one line."""
        self._columns = [] if first is None else next(csv.reader([first]))
        return 1

    def lines(self, row: Mapping[str, Any]) -> str:
        """The row's cells in the order of the columns; new ones are at the end from here on."""
        self._columns = self._with(row)
        return _line([_cell(row.get(name)) for name in self._columns])

    def reform(self, row: Mapping[str, Any]) -> Callable[[Iterator[str]], Iterator[str]] | None:
        """Add the columns that are new."""
        columns = self._with(row)
        added = len(columns) - len(self._columns)
        if not added:
            return None

        def with_columns(lines: Iterator[str]) -> Iterator[str]:
            next(lines, None)
            yield _line(columns)
            yield from (line.rstrip("\n") + "," * added + "\n" for line in lines)

        return with_columns

    def _with(self, row: Mapping[str, Any]) -> list[str]:
        return [*self._columns, *(name for name in row if name not in self._columns)]


def _line(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, int | float | str) or value is None:
        return value
    return json.dumps(jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), value))
