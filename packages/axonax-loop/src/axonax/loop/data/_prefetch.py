"""Batches read ahead in a background thread, and sent to the device from there."""

from __future__ import annotations

import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from axonax.loop.data._convert import converter
from axonax.loop.data._wrapped import tells_place, wrapped


def prefetch(source: Any, *, size: int = 2, to_device: bool = True) -> Any:
    """The batches of a source, read ahead in a background thread while the steps run.

    It helps where reading a batch takes time outside Python (files, decoding, NumPy). The order, the errors
    at their places and the place of the source are those of the batches handed out, not of those read.

    Args:
        source: what `Loop.run` takes as data.
        size: how many batches are read ahead.
        to_device: put arrays on the device in the thread; ``False`` leaves batches as they are read.

    Returns:
        a source of the kind of ``source``. Its thread ends with the epoch, or when the iterator is dropped.

    Raises:
        ValueError: ``size`` is below 1.
        TypeError: ``size`` is no integer, or ``source`` is no source of batches.

    >>> ahead = prefetch([1, 2, 3], size=2, to_device=False)
    >>> list(ahead), list(ahead)
    ([1, 2, 3], [1, 2, 3])
    """
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"prefetch: size must be an integer, got {size!r}")
    if size < 1:
        raise ValueError(f"prefetch: size must be at least 1, got {size}")
    return wrapped(source, functools.partial(_ahead, size=size, to_device=to_device), "prefetch")


def _ahead(batches: Iterator[Any], *, size: int, to_device: bool) -> Iterator[Any]:
    return (PlacedAhead if tells_place(batches) else Ahead)(batches, size, to_device)


class _Read(NamedTuple):
    """A batch and the place after it; or the error, or the end, that came in place of a batch."""

    batch: Any = None
    place: Any = None
    error: BaseException | None = None


class Ahead:
    """An iterator whose batches a thread reads ahead; the thread starts with the first batch asked for."""

    def __init__(self, batches: Iterator[Any], size: int, to_device: bool) -> None:
        self._batches, self._size, self._to_device = batches, size, to_device
        self._line: _Line | None = None
        self._place: Any = None

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Any:
        if self._line is None:
            self._line = _Line(self._size)
            get_state = getattr(self._batches, "get_state", None)
            # The thread holds the line alone, so that an iterator which is dropped ends it.
            weakref.finalize(self, self._line.close)
            send = _sender() if self._to_device else None
            self._line.start(self._batches, get_state, send)
        read = self._line.take()
        if read.error is not None:
            raise read.error
        self._place = read.place
        return read.batch

    def close(self) -> None:
        """End the thread; batches that were read ahead are dropped."""
        if self._line is not None:
            self._line.close()


class PlacedAhead(Ahead):
    """The same of an iterator that tells its place: the place is that after the last batch handed out."""

    def get_state(self) -> Any:
        """The place of the source."""
        return self._batches.get_state() if self._line is None else self._place  # type: ignore[attr-defined]

    def set_state(self, state: Any) -> None:
        """Go to a place that `get_state` gave."""
        if self._line is not None:
            self._line.close()
            self._line.join()
            self._line = None
        self._batches.set_state(state)  # type: ignore[attr-defined]


class _Line:
    """Between the thread that reads and the one that takes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: deque[_Read] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._ended: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(
        self,
        batches: Iterator[Any],
        get_state: Callable[[], Any] | None,
        send: Callable[[Any], Any] | None,
    ) -> None:
        """Begin to read."""
        arguments = (batches, get_state, send)
        self._thread = threading.Thread(target=self._run, args=arguments, name="prefetch", daemon=True)
        self._thread.start()

    def take(self) -> _Read:
        """The next in line; waits for it. An end stays the end."""
        if self._ended is not None:
            return _Read(error=StopIteration())
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            read = self._waiting.popleft() if self._waiting else _Read(error=StopIteration())
            self._changed.notify()
        self._ended = read.error
        return read

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._thread.join()

    def _run(
        self,
        batches: Iterator[Any],
        get_state: Callable[[], Any] | None,
        send: Callable[[Any], Any] | None,
    ) -> None:
        read = _Read()
        while read.error is None:
            try:
                batch = next(batches)
                place = None if get_state is None else get_state()
                read = _Read(batch=batch if send is None else send(batch), place=place)
            except BaseException as error:
                read = _Read(error=error)
            if not self._put(read):
                return

    def _put(self, read: _Read) -> bool:
        """Append to the line once there is room; whether anyone still waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._size or self._closed)
            if not self._closed:
                self._waiting.append(read)
                self._changed.notify()
            return not self._closed


def _sender() -> Callable[[Any], Any]:
    """What puts batches on the device; tensors and lists become arrays first."""
    convert: list[Any] = []

    def send(batch: Any) -> Any:
        if not convert:
            convert.append(converter(batch, parts=isinstance(batch, list)))
        if convert[0] is not None:
            batch = convert[0](batch)
        return jax.device_put(batch)

    return send
