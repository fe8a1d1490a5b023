"""Which handlers of one event are due, found with integer comparisons alone between firings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axonax.loop._filters import NEVER
from axonax.loop.engine._job import Owned


@dataclass
class _Entry:
    owned: Owned
    due: float = 1
    fired_at: float = 0.0
    polled_at: float = 0.0
    polled_count: int = 0


class Schedule:
    """The handlers of one event; ``due`` is the count of that event at which to look again."""

    def __init__(self, handlers: Sequence[Owned], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        now = clock()
        self._entries = [_Entry(each, fired_at=now, polled_at=now) for each in handlers]
        self.due: float = NEVER
        self.restart(0)

    def restart(self, total: int) -> None:
        """Look again at all filters: an epoch starts after ``total`` events."""
        for entry in self._entries:
            entry.due = total + entry.owned.handler.when.next(total, 0)
        self._settle()

    def ready(self, total: int, epoch: int) -> list[Owned]:
        """The handlers that the counts and clocks let fire now.

        Args:
            total: the number of this event in the run, counted from 1.
            epoch: its number in the epoch.
        """
        chosen = []
        for entry in self._entries:
            if entry.due > total:
                continue
            wait = 0.0 if entry.owned.handler.when.seconds is None else self._wait(entry, total)
            if wait == 0.0:
                chosen.append(entry.owned)
            entry.due = total + max(entry.owned.handler.when.next(total, epoch), wait)
        self._settle()
        return chosen

    def _settle(self) -> None:
        self.due = min((entry.due for entry in self._entries), default=NEVER)

    def _wait(self, entry: _Entry, total: int) -> float:
        """How many events to let pass before the clock is looked at again; 0 when it has run out."""
        now = self._clock()
        left = (entry.owned.handler.when.seconds or 0.0) - (now - entry.fired_at)
        passed = max(total - entry.polled_count, 1)
        pace = max((now - entry.polled_at) / passed, 1e-9)
        entry.polled_at, entry.polled_count = now, total
        if left <= 0:
            entry.fired_at = now
            return 0.0
        # Half the estimated distance and at most twice the last: a run that slows down is not slept through.
        return max(1.0, min(2.0 * passed, left / pace / 2) // 1)
