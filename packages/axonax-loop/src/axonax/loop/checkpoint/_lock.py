"""A folder for one process at a time; a process that is killed frees it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class Lock:
    """A lock on a file, held by this process until it is freed or the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            ValueError: another run has it; the text names the process.
        """
        number = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(number, 200).decode(errors="replace") or "unknown"
            os.close(number)
            raise ValueError(
                f"checkpoint: {self._path.parent} is in use by another run (process {holder})"
            ) from None
        self._file = number
        try:
            os.ftruncate(number, 0)
            os.pwrite(number, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
        except OSError:  # a full disk: the lock holds all the same
            return

    def free(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
