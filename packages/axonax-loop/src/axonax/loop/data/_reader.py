"""The batches of one run: epoch by epoch, a few at a time, with the place reached."""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from axonax.loop.data._arrays import Arrays, Source
from axonax.loop.data._batch import rows
from axonax.loop.data._convert import converter
from axonax.loop.data._prefetch import Ahead
from axonax.loop.data._wrapped import tells_place

PyTree = Any
_NO_STATE = object()
_BYTES = "base64"


class Feed:
    """The batches of one epoch from a place on.

    ``head`` is the first batch of the epoch, taken already or not, and ``None`` of none. An error of the data
    is raised when the batches read before it are taken. With ``parts`` given batches are made arrays where
    they are none; it says whether they hold inputs and targets. With ``drop_smaller`` those with fewer rows
    than the first are left out.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        number: int,
        skip: int,
        limit: int | None,
        state: Any = _NO_STATE,
        *,
        parts: bool | None = None,
        drop_smaller: bool = False,
    ) -> None:
        self.number = number
        self._batches = batches
        self._left = None if limit is None else max(limit - skip, 0)
        self._buffer: deque[Any] = deque()
        self._places: deque[Any] = deque()
        self._error: BaseException | None = None
        self._place: Callable[[], Any] | None = None if state is _NO_STATE else batches.get_state  # type: ignore[attr-defined]
        self.place: Any = None
        head = next(batches, None)
        self._convert = None if parts is None or head is None else converter(head, parts=parts)
        self._read = 0
        self.head = self._arrays(head)
        self._least = rows(self.head) if drop_smaller else 0
        self._read = 1
        if state is not _NO_STATE and state is not None:
            batches.set_state(_given(state))  # type: ignore[attr-defined]
            self.place = state
            self._read = skip
        elif self.head is not None and skip:
            self._pass_by(skip - 1)
        elif self.head is not None:
            self._keep(self.head)

    def ready(self, ahead: int = 1) -> bool:
        """Whether there is another batch; reads up to ``ahead`` of them."""
        while len(self._buffer) < ahead and self._error is None:
            if self._left is not None and len(self._buffer) >= self._left:
                break
            try:
                self._keep(self._next())
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

    def close(self) -> None:
        """End what reads ahead."""
        if isinstance(self._batches, Ahead):
            self._batches.close()

    def rest(self) -> Iterator[Any]:
        """What was read and not taken, then what was not read."""
        return itertools.chain(self._buffer, self._batches)

    def _next(self) -> Any:
        """The next batch that is not left out."""
        while True:
            batch = self._arrays(next(self._batches))
            self._read += 1
            if not self._least or rows(batch) >= self._least:
                return batch

    def _pass_by(self, count: int) -> None:
        """Leave out batches that were trained on before."""
        with contextlib.suppress(StopIteration):
            for _ in range(count):
                self._next()

    def _arrays(self, batch: Any) -> Any:
        if self._convert is None:
            return batch
        try:
            return self._convert(batch)
        except (TypeError, ValueError) as error:
            epoch = f" of epoch {self.number}" if self._read else ""
            raise type(error)(f"batch {self._read}{epoch}: {error}") from error.__cause__

    def _keep(self, batch: Any) -> None:
        self._buffer.append(batch)
        if self._place is not None:
            self._places.append(_plain(self._place()))


def _plain(place: Any) -> Any:
    """A place as numbers and text; that of a Grain ``DataLoader`` is bytes."""
    return {_BYTES: base64.b64encode(place).decode()} if isinstance(place, bytes) else place


def _given(place: Any) -> Any:
    """The place that `_plain` was given."""
    is_bytes = isinstance(place, dict) and place.keys() == {_BYTES}
    return base64.b64decode(place[_BYTES]) if is_bytes else place


def _kind(batch: Any) -> tuple[Any, ...]:
    """What batches that are stacked have in common."""
    leaves, structure = jax.tree.flatten(batch)
    return (structure, *((getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)) for leaf in leaves))


class ArraysFeed:
    """The batches of one epoch of `Arrays`, or the numbers of their rows."""

    place: Any = None

    def __init__(
        self,
        source: Arrays,
        number: int,
        key: Any,
        skip: int,
        limit: int | None,
        *,
        drop_smaller: bool = False,
    ) -> None:
        self.number = number
        self._batches = source.batches(number, key=key, step=skip)
        self._step = skip
        whole = max(source.rows // source.batch_size, 1) if drop_smaller else len(source)
        self._end = whole if limit is None else min(limit, whole)
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
    """The batches of one run, epoch by epoch; ``parts`` and ``drop_smaller`` as of `Feed`.

    Raises:
        ValueError: a one-shot iterator for more than one epoch.
        TypeError: the data is no source of batches.
    """

    def __init__(
        self,
        data: Any,
        key: Any,
        epochs: int,
        steps_per_epoch: int | None,
        *,
        parts: bool | None = None,
        drop_smaller: bool = False,
    ) -> None:
        self._data, self._key, self._limit = data, key, steps_per_epoch
        self._taken: dict[str, Any] = {"parts": parts, "drop_smaller": drop_smaller}
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

    def batch(self, number: int, step: int) -> Any:
        """A batch of an epoch once more, by its place from 0; ``None`` where the data is read only once."""
        if self._single is not None:
            return None
        feed = self._feed(number, step, 0, None)
        rows = feed.take(1)
        if isinstance(feed, Feed):
            feed.close()
        return rows[0][0] if rows else None

    def close(self) -> None:
        """End what reads ahead; an iterator of the user stays open."""
        if isinstance(self._last, Feed) and self._single is None:
            self._last.close()

    def fingerprint(self, number: int) -> Any:
        """A checksum of the order of an epoch, where the source gives one."""
        if isinstance(self._last, ArraysFeed) and self._last.number == number:
            return self._last.fingerprint()
        given = getattr(self._data, "fingerprint", None)
        return None if given is None else given(number, self._key)

    @property
    def even(self) -> bool:
        """Whether all batches are known to have the same number of rows."""
        data = self._data
        return isinstance(data, Arrays) and (data.drop_last or data.rows % data.batch_size == 0)

    @property
    def resident(self) -> PyTree:
        """All rows as one batch on the device, for data that lies there; else ``None``."""
        return self._data.resident if isinstance(self._data, Arrays) else None

    def _feed(self, number: int, step: int, before: int, place: Any) -> Feed | ArraysFeed:
        if isinstance(self._data, Arrays):
            drop = self._taken["drop_smaller"]
            return ArraysFeed(self._data, number, self._key, step, self._limit, drop_smaller=drop)
        if self._single is not None:
            if isinstance(self._last, Feed):
                return Feed(self._last.rest(), number, 0, self._limit, **self._taken)
            batches = itertools.islice(self._single, before, None)
            return Feed(batches, number, step, self._limit, **self._taken)
        if isinstance(self._data, Source):
            return Feed(self._sliced(number, step), number, step, self._limit, **self._taken)
        batches = iter(self._data(number) if callable(self._data) else self._data)
        state = place if tells_place(batches) else _NO_STATE
        return Feed(batches, number, step, self._limit, state, **self._taken)

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
