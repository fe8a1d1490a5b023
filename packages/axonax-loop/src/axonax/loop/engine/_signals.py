"""Ctrl-C and SIGTERM that end a run between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopped(BaseException):
    """A run within a handler (a validation) was left because a signal came."""


class Signals:
    """While entered, the first Ctrl-C or SIGTERM only sets ``requested``; a second Ctrl-C raises as usual.

    A signal that raised inside a donated step would lose the state: the old arrays are gone and the new
    ones are not assigned yet. Other handlers of the signals, and other threads, are left alone; SIGTERM too
    where nothing could be saved.
    """

    def __init__(self, *, terminates: bool = False) -> None:
        self.requested = False
        self.terminated = False
        self._terminates = terminates
        self._before: dict[int, Any] = {}
        self._depth = 0

    def __enter__(self) -> Signals:
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            self._install(signal.SIGINT, signal.default_int_handler, self._interrupt)
            if self._terminates:
                self._install(signal.SIGTERM, signal.SIG_DFL, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            for number, before in self._before.items():
                signal.signal(number, before)
            self._before = {}

    def _install(self, number: int, usual: Any, handler: Any) -> None:
        if signal.getsignal(number) is usual:
            self._before[number] = signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.requested = self.terminated = True
