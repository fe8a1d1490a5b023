"""Where batches come from: arrays in memory, any re-iterable, or a function of the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from axonax.tensor import trees

PyTree = Any


@runtime_checkable
class Source(Protocol):
    """A data source that knows epochs: the same number and key give the same batches."""

    def batches(self, epoch: int, *, key: Any = None, step: int = 0) -> Iterator[Any]:
        """The batches of an epoch (counted from 1), from the ``step``-th on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Batches of arrays in memory; made by `arrays`."""

    batch: tuple[PyTree, ...] = field(repr=False)
    rows: int
    batch_size: int
    shuffle: bool
    drop_last: bool

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """The batches of the first epoch, in the order of ``jax.random.key(0)`` when shuffled."""
        return self.batches(1)

    def batches(self, epoch: int, *, key: Any = None, step: int = 0) -> ArraysIterator:
        """The batches of an epoch (counted from 1), from the ``step``-th on.

        Args:
            epoch: the number of the epoch; each has its own order when shuffled.
            key: what orders are drawn from; ``None`` is ``jax.random.key(0)``.
            step: how many batches to leave out, as if they had been read.
        """
        return ArraysIterator(self, key, {"epoch": epoch, "step": step})


class ArraysIterator:
    """One epoch of `Arrays`, with its position: ``{"epoch": 1, "step": 0}`` at the start."""

    def __init__(self, source: Arrays, key: Any, position: dict[str, int]) -> None:
        self._source = source
        whole = source.batch if len(source.batch) > 1 else source.batch[0]
        self._leaves, structure = jax.tree.flatten(whole)
        self._structure: Any = structure
        self._length = len(source)
        key = jax.random.key(0) if key is None else key
        self._seed = np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist() if source.shuffle else []
        self.set_state(position)

    def get_state(self) -> dict[str, int]:
        """The position: the epoch, and the number of batches read of it."""
        return {"epoch": self._epoch, "step": self._step}

    def set_state(self, position: dict[str, int]) -> None:
        """Go to a position that `get_state` gave."""
        self._epoch, self._step = position["epoch"], position["step"]
        self._order = None
        if self._source.shuffle:
            self._order = np.random.default_rng([*self._seed, self._epoch]).permutation(self._source.rows)

    def __iter__(self) -> ArraysIterator:
        return self

    def __next__(self) -> Any:
        if self._step >= self._length:
            raise StopIteration
        start = self._step * self._source.batch_size
        stop = start + self._source.batch_size
        self._step += 1
        if self._order is None:
            return self._structure.unflatten([leaf[start:stop] for leaf in self._leaves])
        chosen = self._order[start:stop]
        return self._structure.unflatten([leaf.take(chosen, axis=0) for leaf in self._leaves])


def arrays(
    x: PyTree,
    y: PyTree = None,
    weights: PyTree = None,
    *,
    batch_size: int,
    shuffle: bool = False,
    drop_last: bool = False,
) -> Arrays:
    """A data source of arrays in memory.

    Args:
        x: the inputs, an array or a pytree of arrays ``(n, ...)``.
        y: the targets, likewise; without them a batch is a slice of ``x`` alone.
        weights: one weight a row ``(n, ...)``.
        batch_size: the rows of a batch; the last one of an epoch may be smaller.
        shuffle: draw a new order each epoch, from the ``key`` of the run.
        drop_last: leave out a smaller last batch.

    Returns:
        a source with ``len`` (batches an epoch) that yields ``x``, ``(x, y)`` or ``(x, y, weights)``.

    Raises:
        ValueError: no leaves, leaves of different length, weights without targets, or no batch at all.
        TypeError: ``batch_size`` is no integer.

    >>> [len(x) for x in arrays(np.arange(5.0), batch_size=2)]
    [2, 2, 1]
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool):
        raise TypeError(f"arrays: batch_size must be an integer, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"arrays: batch_size must be at least 1, got {batch_size}")
    if weights is not None and y is None:
        raise ValueError("arrays: weights need targets y")
    parts = (x,) if y is None else (x, y) if weights is None else (x, y, weights)
    batch = jax.tree.map(np.asarray, parts)
    sizes = {
        name: np.shape(leaf)[:1]
        for name, leaf in trees.flatten(dict(zip("xyw", batch, strict=False))).items()
    }
    if len(set(sizes.values())) != 1 or () in sizes.values():
        listed = ", ".join(f"{name} {size[0] if size else 'a scalar'}" for name, size in sizes.items())
        raise ValueError(f"arrays: all arrays must have the same number of rows, got {listed or 'no arrays'}")
    rows = next(iter(sizes.values()))[0]
    source = Arrays(batch=batch, rows=rows, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    if len(source) == 0:
        raise ValueError(f"arrays: {rows} rows give no batch of {batch_size}")
    return source
