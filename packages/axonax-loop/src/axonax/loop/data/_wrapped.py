"""A source whose batches pass through something, of the same kind as the source itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from axonax.loop.data._arrays import Source

Wrap = Callable[[Iterator[Any]], Iterator[Any]]


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """A re-iterable, each pass of which goes through ``wrap``."""

    source: Any = field(repr=False)
    wrap: Wrap

    def __len__(self) -> int:
        """The number of batches in an epoch, where the source knows it."""
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        return self.wrap(iter(self.source))


@dataclass(frozen=True, kw_only=True)
class WrappedSource(Wrapped):
    """The same of a source that knows epochs."""

    def batches(self, epoch: int, *, key: Any = None, step: int = 0) -> Iterator[Any]:
        """The batches of an epoch (counted from 1), from the ``step``-th on."""
        return self.wrap(iter(self.source.batches(epoch, key=key, step=step)))

    def fingerprint(self, epoch: int, key: Any = None) -> Any:
        """A checksum of the order of an epoch, where the source gives one."""
        given = getattr(self.source, "fingerprint", None)
        return None if given is None else given(epoch, key)


def wrapped(source: Any, wrap: Wrap, who: str) -> Any:
    """The source with ``wrap`` around each pass: a re-iterable, iterator or function of the epoch as before.

    Raises:
        TypeError: it is no source of batches.
    """
    if isinstance(source, Source):
        return WrappedSource(source=source, wrap=wrap)
    if callable(source):
        return lambda epoch: wrap(iter(source(epoch)))
    if isinstance(source, Iterator):
        return wrap(source)
    if isinstance(source, Iterable):
        return Wrapped(source=source, wrap=wrap)
    raise TypeError(
        f"{who}: needs an iterable of batches, loop.arrays(...) or a function of the epoch, "
        f"got {type(source).__name__}"
    )


class Mapped:
    """An iterator with a function applied to each batch."""

    def __init__(self, batches: Iterator[Any], function: Callable[[Any], Any]) -> None:
        self._batches, self._function = batches, function

    def __iter__(self) -> Mapped:
        return self

    def __next__(self) -> Any:
        return self._function(next(self._batches))


class PlacedMapped(Mapped):
    """The same of an iterator that tells its place."""

    def get_state(self) -> Any:
        """The place of the iterator within."""
        return self._batches.get_state()  # type: ignore[attr-defined]

    def set_state(self, state: Any) -> None:
        """Go to a place that `get_state` gave."""
        self._batches.set_state(state)  # type: ignore[attr-defined]


def mapped(batches: Iterator[Any], function: Callable[[Any], Any]) -> Iterator[Any]:
    """The batches with a function applied to each, and their place where they tell it."""
    return (PlacedMapped if tells_place(batches) else Mapped)(batches, function)


def tells_place(batches: Any) -> bool:
    """Whether an iterator has a place that can be read and set, as those of Grain."""
    return hasattr(batches, "get_state") and hasattr(batches, "set_state")
