"""Which handlers of one event are due, found with integer comparisons alone between firings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axonax.loop._filters import NEVER
from axonax.loop.engine._job import Owned


@dataclass
class Entry:
    """A handler, the count at which it is looked at next, and when its clock began."""

    owned: Owned
    due: float = 1
    began: float = 0.0

    @property
    def seconds(self) -> float | None:
        """What its clock waits for."""
        return self.owned.handler.when.seconds


class Schedule:
    """The handlers of one event.

    ``due`` is the count of that event at which steps must stop for a handler, ``next`` the one at which any
    is looked at. A clock stops no steps: `wakes` looks at it between them.
    """

    def __init__(self, handlers: Sequence[Owned], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        now = clock()
        self._entries = [Entry(each, began=now) for each in handlers]
        self._timed = [entry for entry in self._entries if entry.seconds is not None]
        self._counted = [entry for entry in self._entries if entry.seconds is None]
        self.due: float = NEVER
        self.next: float = NEVER
        self._alarm: float = NEVER
        self.restart(0)

    def restart(self, total: int, epoch: int = 0) -> None:
        """Look again at all filters, after ``total`` events, ``epoch`` of them in the epoch."""
        for entry in self._entries:
            entry.due = total + entry.owned.handler.when.next(total, epoch)
        self._settle()

    def wakes(self, total: int) -> bool:
        """Whether a handler is to be looked at after ``total`` events."""
        return total >= self.next or (bool(self._timed) and self._clock() >= self._alarm)

    def ready(self, total: int, epoch: int, *, within: bool = False) -> list[Entry]:
        """The handlers that the counts and clocks let fire now, in order; `fired` follows if they do.

        Args:
            total: the number of this event in the run, counted from 1.
            epoch: its number in the epoch.
            within: the step lies within a chunk: clocks and those that act are not looked at.
        """
        now = self._clock() if self._timed and not within else 0.0
        chosen = []
        for entry in self._entries:
            when = entry.owned.handler.when
            if entry.seconds is None:
                if entry.due > total or (within and not entry.owned.handler.reads):
                    continue
                chosen.append(entry)
                entry.due = total + when.next(total, epoch)
            elif not within and now - entry.began >= entry.seconds and when.next(total - 1, epoch - 1) == 1:
                chosen.append(entry)
        self._settle()
        return chosen

    @property
    def reads(self) -> bool:
        """Whether there are handlers that read at counts."""
        return any(entry.owned.handler.reads for entry in self._counted)

    def reading(self, upto: int, before: int) -> set[int]:
        """The counts below ``upto`` at which a handler that reads is due; ``before``: of past epochs."""
        counts = set()
        for entry in self._counted:
            due = entry.due if entry.owned.handler.reads else NEVER
            while due < upto:
                counts.add(int(due))
                due += entry.owned.handler.when.next(int(due), int(due) - before)
        return counts

    def fired(self, entry: Entry) -> None:
        """A handler fired: its clock begins anew. A predicate that refuses leaves it as it is."""
        if entry.seconds is not None:
            entry.began = self._clock()
            self._settle()

    def _settle(self) -> None:
        acting = (entry.due for entry in self._counted if not entry.owned.handler.reads)
        self.due = min(acting, default=NEVER)
        self.next = min((entry.due for entry in self._counted), default=NEVER)
        self._alarm = min((entry.began + (entry.seconds or 0.0) for entry in self._timed), default=NEVER)
