"""A file of lines that a run appends to, and goes on with where it was resumed."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from axonax.loop._events import ENDINGS, Handler
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Run
from axonax.loop.show._whole import written_whole

LOGGER = logging.getLogger("axonax.loop")
Memory = dict[str, int]


class Format(Protocol):
    """How rows become lines; made anew for each run."""

    def begin(self, first: str | None) -> int:
        """How many lines come before the rows; ``first`` is the first line of a file that goes on."""
        ...

    def lines(self, row: Mapping[str, Any]) -> str:
        """The lines that a row adds."""
        ...

    def reform(self, row: Mapping[str, Any]) -> Callable[[Iterator[str]], Iterator[str]] | None:
        """How the lines there are must change before the row is added; ``None`` where they stay."""
        ...


class RowFile:
    """The file of one run. What a full disk does not take is kept, and written with the next row."""

    def __init__(self, who: str, path: Path, form: Format) -> None:
        self._who, self._path, self._form = who, path, form
        self._file: IO[bytes] | None = None
        self._rows, self._end = 0, 0
        self._waiting: list[Mapping[str, Any]] = []

    def go_on(self, rows: int) -> None:
        """Open the file, once, and cut it back to the rows that the run had written.

        Raises:
            ValueError: it has fewer.
        """
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        with self._path.open("rb") as file:
            first = file.readline() if rows else b""
            head = self._form.begin(first.decode().rstrip("\n") if first else None)
            self._end, found = _after(file, rows + head if rows else 0)
        if rows and found == 0:
            LOGGER.warning("%s: %s is gone or empty, it begins anew", self._who, self._path)
        elif rows and found < rows + head:
            raise ValueError(
                f"{self._who}: {self._path} has {max(found - head, 0)} rows, the run that goes on had written"
                f" {rows}: put the file back, or remove it to begin a new one"
            )
        os.truncate(self._path, self._end)
        self._file = self._path.open("ab", buffering=0)
        self._rows = max(found - head, 0)

    def write(self, row: Mapping[str, Any], memory: Memory) -> Memory:
        """Add a row, and see that it is in the file."""
        self.go_on(memory["rows"])
        self._waiting.append(row)
        try:
            while self._waiting:
                self._add(self._waiting[0])
                self._rows += 1
                del self._waiting[0]
        except OSError as error:
            LOGGER.warning("%s: a row waits for the next one, it could not be written: %s", self._who, error)
            with contextlib.suppress(OSError):
                os.truncate(self._path, self._end)
        return {"rows": self._rows}

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _add(self, row: Mapping[str, Any]) -> None:
        assert self._file is not None
        reform = self._form.reform(row)
        if reform is not None:
            self._rewrite(reform)
        lines = self._form.lines(row).encode()
        if self._file.write(lines) != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(lines)

    def _rewrite(self, reform: Callable[[Iterator[str]], Iterator[str]]) -> None:
        """Put changed lines in the place of the file, all at once."""
        with self._path.open("rb") as file:
            new = "".join(reform(line.decode() for line in file)).encode()
        written_whole(self._path, new)
        if self._file is not None:
            self._file.close()
        self._file, self._end = self._path.open("ab", buffering=0), len(new)


def _after(file: IO[bytes], lines: int) -> tuple[int, int]:
    """Where so many whole lines end, and how many there are of them."""
    file.seek(0)
    found, end = 0, 0
    while found < lines and (line := file.readline()).endswith(b"\n"):
        found, end = found + 1, end + len(line)
    return end, found


@contextmanager
def row_handlers(
    who: str, path: Path, form: Format, when: Filter | None, run: Run
) -> Iterator[Sequence[Handler]]:
    """The handlers that write a row an epoch, or with a filter a row at steps.

    Raises:
        ValueError: another run has written the file.
    """
    if not run.resume and path.exists() and (path.is_dir() or path.stat().st_size):
        raise ValueError(
            f"{who}: {path} is there already: go on with the run that wrote it (resume=), or use another path"
        )
    file = RowFile(who, path, form)

    def epoch(state: State, memory: Memory) -> Memory:
        return file.write(state.history[-1], memory) if state.history else memory

    def step(state: State, memory: Memory) -> Memory:
        return file.write({"epoch": state.epoch, "iteration": state.iteration, **state.metrics}, memory)

    def begin(state: State, memory: Memory) -> Memory:
        file.go_on(memory["rows"])
        return memory

    write = epoch if when is None else step
    events = ("epoch_completed", "epoch_halted") if when is None else ("iteration_completed",)
    filtered = Filter() if when is None else when
    try:
        yield (
            *(Handler(event=event, function=begin, reads=True) for event in ("started", *ENDINGS)),
            *(Handler(event=event, function=write, when=filtered, reads=True) for event in events),
        )
    finally:
        file.close()
