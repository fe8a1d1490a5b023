"""When a handler is due: small immutable filters that say how many events it is until they fire next."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NEVER = math.inf
Count = int | tuple[str, int]
Predicate = Callable[[Any, str], bool]


@dataclass(frozen=True)
class Seconds:
    """A distance in time: ``every=Seconds(30)`` fires when 30 seconds have passed since the last firing.

    Raises:
        ValueError: ``seconds`` is not above 0.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"Seconds: must be above 0, got {self.seconds}")


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number of events, counted over the run or, with ``in_epoch``, from the start of the epoch."""

    value: int
    in_epoch: bool = False

    def of(self, total: int, epoch: int) -> int:
        """The count that this number is compared with."""
        return epoch if self.in_epoch else total

    def __str__(self) -> str:
        return f'("epoch", {self.value})' if self.in_epoch else str(self.value)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The conditions of a handler; all must hold.

    ``every`` fires on each n-th event (the n-th is the first), ``after`` on counts above, ``before`` on
    counts below, ``once`` on that one count, ``first`` on the first n; ``predicate(state, event)`` decides
    on what the others let through.
    """

    every: Number | None = None
    seconds: float | None = None
    before: Number | None = None
    after: Number | None = None
    once: Number | None = None
    first: Number | None = None
    predicate: Predicate | None = None

    def next(self, total: int, epoch: int) -> float:
        """How many events it is until the counts let the handler fire; `NEVER` if they never do again.

        Args:
            total: how many of these events there were in the run.
            epoch: how many of them in this epoch; the answer holds while the epoch lasts.
        """
        low, high = 1, NEVER
        if self.after is not None:
            low = max(low, self.after.value + 1 - self.after.of(total, epoch))
        if self.once is not None:
            distance = self.once.value - self.once.of(total, epoch)
            low, high = max(low, distance), distance
        if self.before is not None:
            high = min(high, self.before.value - 1 - self.before.of(total, epoch))
        if self.first is not None:
            high = min(high, self.first.value - self.first.of(total, epoch))
        if self.every is not None:
            low += -(self.every.of(total, epoch) + low) % self.every.value
        return low if low <= high else NEVER

    def __str__(self) -> str:
        parts = [
            f"{name} {getattr(self, name)}"
            for name in ("every", "after", "before", "once", "first")
            if getattr(self, name) is not None
        ]
        if self.seconds is not None:
            parts.insert(0, f"every {self.seconds:g} s")
        if self.predicate is not None:
            parts.append("filter " + getattr(self.predicate, "__name__", type(self.predicate).__name__))
        return ", ".join(parts)


ALWAYS = Filter()


def make_filter(
    *,
    every: Count | Seconds | None = None,
    before: Count | None = None,
    after: Count | None = None,
    once: Count | None = None,
    first: Count | None = None,
    filter: Predicate | None = None,
) -> Filter:
    """The filter of these options of `Loop.on`.

    Raises:
        TypeError: an option is of a type that it cannot be.
        ValueError: a count is below 1 (``after``: below 0).
    """
    if filter is not None and not callable(filter):
        raise TypeError(f"filter: must be a function (state, event) -> bool, got {type(filter).__name__}")
    timed = isinstance(every, Seconds)
    return Filter(
        every=None if isinstance(every, Seconds) else _number("every", every),
        seconds=every.seconds if timed else None,  # type: ignore[union-attr]
        before=_number("before", before),
        after=_number("after", after, least=0),
        once=_number("once", once),
        first=_number("first", first),
        predicate=filter,
    )


def _number(name: str, count: Any, least: int = 1) -> Number | None:
    if count is None or count is False:
        return None
    in_epoch = isinstance(count, tuple) and len(count) == 2 and count[0] == "epoch"
    value = count[1] if in_epoch else count
    if not isinstance(value, int):
        also = ", Seconds(n)" if name == "every" else ""
        raise TypeError(f'{name}: must be an integer n, ("epoch", n){also}, got {count!r}')
    if value < least:
        raise ValueError(f"{name}: must be at least {least}, got {value}")
    return Number(value=int(value), in_epoch=in_epoch)
