"""The batches of one run: epoch by epoch, a few at a time, with the place reached."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from axonax.loop.data._arrays import Arrays, Source

PyTree = Any
_NO_STATE = object()


class Feed:
    """The batches of one epoch from a place on.

    ``head`` is the first batch of the epoch, taken already or not, and ``None`` of none. An error of the data
    is raised when the batches read before it are taken.
    """

    def __init__(
        self, batches: Iterator[Any], number: int, skip: int, limit: int | None, state: Any = _NO_STATE
    ) -> None:
        self.number = number
        self._batches = batches
        self._left = None if limit is None else max(limit - skip, 0)
        self._buffer: deque[Any] = deque()
        self._places: deque[Any] = deque()
        self._error: BaseException | None = None
        self._place: Callable[[], Any] | None = None if state is _NO_STATE else batches.get_state  # type: ignore[attr-defined]
        self.place: Any = None
        self.head = next(batches, None)
        if state is not _NO_STATE and state is not None:
            batches.set_state(state)  # type: ignore[attr-defined]
            self.place = state
        elif self.head is not None and skip:
            next(itertools.islice(batches, skip - 1, skip - 1), None)
        elif self.head is not None:
            self._keep(self.head)

    def ready(self, ahead: int = 1) -> bool:
        """Whether there is another batch; reads up to ``ahead`` of them."""
        while len(self._buffer) < ahead and self._error is None:
            if self._left is not None and len(self._buffer) >= self._left:
                break
            try:
                self._keep(next(self._batches))
            except StopIteration:
                break
            except (Exception, KeyboardInterrupt) as error:
                self._error = error
        if not self._buffer and self._error is not None:
            raise self._error
        return bool(self._buffer)

    def take(self, most: int, *, tells_last: bool = False) -> list[tuple[Any, ...]]:
        """The next batches, at most so many, all alike; with ``tells_last`` whether each ends the epoch."""
        self.ready(most + tells_last)
        count = min(most, len(self._buffer))
        if count > 1:
            first = _kind(self._buffer[0])
            later = (_kind(self._buffer[number]) == first for number in range(1, count))
            count = 1 + sum(1 for _ in itertools.takewhile(bool, later))
        taken = [self._buffer.popleft() for _ in range(count)]
        if self._place is not None:
            for _ in taken:
                self.place = self._places.popleft()
        if self._left is not None:
            self._left -= count
        if not tells_last:
            return [(batch,) for batch in taken]
        done = not self._buffer and self._error is None
        return [(batch, done and number == count) for number, batch in enumerate(taken, 1)]

    def rest(self) -> Iterator[Any]:
        """What was read and not taken, then what was not read."""
        return itertools.chain(self._buffer, self._batches)

    def _keep(self, batch: Any) -> None:
        self._buffer.append(batch)
        if self._place is not None:
            self._places.append(self._place())


def _kind(batch: Any) -> tuple[Any, ...]:
    """What batches that are stacked have in common."""
    leaves, structure = jax.tree.flatten(batch)
    return (structure, *((getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)) for leaf in leaves))


class ArraysFeed:
    """The batches of one epoch of `Arrays`, or the numbers of their rows."""

    place: Any = None

    def __init__(self, source: Arrays, number: int, key: Any, skip: int, limit: int | None) -> None:
        self.number = number
        self._batches = source.batches(number, key=key, step=skip)
        self._step = skip
        self._end = len(source) if limit is None else min(limit, len(source))
        self.head = self._batches.at(0)
        self.fingerprint = self._batches.fingerprint

    def ready(self, ahead: int = 1) -> bool:
        """Whether there is another batch."""
        return self._step < self._end

    def take(self, most: int, *, tells_last: bool = False) -> list[tuple[Any, ...]]:
        """As of `Feed`."""
        return self._taken(self._batches.at, most, tells_last)

    def take_rows(self, most: int, *, tells_last: bool = False) -> list[tuple[Any, ...]]:
        """As `take`, with the numbers of the rows for each batch."""
        return self._taken(self._batches.rows, most, tells_last)

    def _taken(self, of: Callable[[int], Any], most: int, tells_last: bool) -> list[tuple[Any, ...]]:
        stop = min(self._step + most, self._end)
        # A smaller last batch comes alone.
        ragged = stop > self._step + 1 and len(self._batches.rows(stop - 1)) < len(self._batches.rows(0))
        steps = range(self._step, stop - ragged)
        self._step = steps.stop
        if tells_last:
            return [(of(step), step + 1 == self._end) for step in steps]
        return [(of(step),) for step in steps]


class Reader:
    """The batches of one run, epoch by epoch.

    Raises:
        ValueError: a one-shot iterator for more than one epoch.
        TypeError: the data is no source of batches.
    """

    def __init__(self, data: Any, key: Any, epochs: int, steps_per_epoch: int | None) -> None:
        self._data, self._key, self._limit = data, key, steps_per_epoch
        self._single: Iterator[Any] | None = None
        self._last: Feed | ArraysFeed | None = None
        if isinstance(data, Source) or callable(data):
            return
        if not isinstance(data, Iterable):
            raise TypeError(
                "data must be an iterable of batches, loop.arrays(...) or a function of the epoch, "
                f"got {type(data).__name__}"
            )
        if isinstance(data, Iterator):
            if epochs > 1 and steps_per_epoch is None:
                raise ValueError(
                    f"data: a {type(data).__name__} can be read only once, but epochs={epochs}: pass a list, "
                    "a function of the epoch that returns an iterator, or steps_per_epoch="
                )
            self._single = data

    def epoch(self, number: int, step: int = 0, *, before: int = 0, place: Any = None) -> Feed | ArraysFeed:
        """The batches of an epoch, counted from 1, from the ``step``-th on.

        Args:
            number: the epoch.
            step: how many of its batches were trained on before.
            before: how many batches earlier epochs had, where none of them was read here.
            place: what the source said of its place there, if it says anything.
        """
        self._last = self._feed(number, step, before, place)
        return self._last

    def fingerprint(self, number: int) -> Any:
        """A checksum of the order of an epoch, where the source gives one."""
        if isinstance(self._last, ArraysFeed) and self._last.number == number:
            return self._last.fingerprint()
        given = getattr(self._data, "fingerprint", None)
        return None if given is None else given(number, self._key)

    @property
    def resident(self) -> PyTree:
        """All rows as one batch on the device, for data that lies there; else ``None``."""
        return self._data.resident if isinstance(self._data, Arrays) else None

    def _feed(self, number: int, step: int, before: int, place: Any) -> Feed | ArraysFeed:
        if isinstance(self._data, Arrays):
            return ArraysFeed(self._data, number, self._key, step, self._limit)
        if self._single is not None:
            if isinstance(self._last, Feed):
                return Feed(self._last.rest(), number, 0, self._limit)
            batches = itertools.islice(self._single, before, None)
            return Feed(batches, number, step, self._limit)
        if isinstance(self._data, Source):
            return Feed(self._sliced(number, step), number, step, self._limit)
        batches = iter(self._data(number) if callable(self._data) else self._data)
        placed = hasattr(batches, "get_state") and hasattr(batches, "set_state")
        return Feed(batches, number, step, self._limit, place if placed else _NO_STATE)

    def _sliced(self, number: int, step: int) -> Iterator[Any]:
        """A source's epoch: the first batch, for its shape, then those from the ``step``-th on."""
        source: Source = self._data
        if step == 0:
            return iter(source.batches(number, key=self._key))
        head = itertools.islice(source.batches(number, key=self._key), 1)
        skipped = itertools.repeat(None, step - 1)
        return itertools.chain(head, skipped, source.batches(number, key=self._key, step=step))


def sent(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows as they are; under a transfer guard put on the device by name, which it allows.

    A compiled step sends what it is given by itself, several times faster.
    """
    level = jax.config.jax_transfer_guard_host_to_device  # type: ignore[attr-defined]
    return rows if level in (None, "allow") else [jax.device_put(row) for row in rows]


def length(data: Any) -> int | None:
    """The number of batches in an epoch, where the data knows it."""
    try:
        return len(data)
    except TypeError:
        return None
