"""Where batches come from: arrays in memory, any re-iterable, or a function of the epoch."""

from __future__ import annotations

import functools
import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.data._batch import check_weights
from axonax.loop.data._convert import converted
from axonax.tensor import trees

PyTree = Any
LOGGER = logging.getLogger("axonax.loop")


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
    device: bool | str = "auto"

    @functools.cached_property
    def resident(self) -> PyTree:
        """The batch of all rows on the device, sent once; ``None`` where they stay on the host.

        With ``device="auto"`` they are sent if they take at most a quarter of the memory that is free.
        """
        leaves = jax.tree.leaves(self.batch)
        size = sum(leaf.nbytes for leaf in leaves)
        if self.device is False or (self.device == "auto" and size > _free_bytes() / 4):
            LOGGER.info("arrays: %s stay on the host", _megabytes(size))
            return None
        LOGGER.info("arrays: %s sent to the device", _megabytes(size))
        return jax.tree.map(jnp.asarray, self.batch if len(self.batch) > 1 else self.batch[0])

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """The batches of the first epoch, in the order of ``jax.random.key(0)`` when shuffled."""
        return self.batches(1)

    def fingerprint(self, epoch: int, key: Any = None) -> int | None:
        """A checksum of the order of an epoch; ``None`` where the rows come as they stand."""
        return self.batches(epoch, key=key).fingerprint() if self.shuffle else None

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
            rng = np.random.default_rng([*self._seed, self._epoch])
            self._order = rng.permutation(np.arange(self._source.rows, dtype=np.int32))

    def __iter__(self) -> ArraysIterator:
        return self

    def __next__(self) -> Any:
        if self._step >= self._length:
            raise StopIteration
        self._step += 1
        return self.at(self._step - 1)

    def at(self, step: int) -> Any:
        """The batch of a step, counted from 0, without going there."""
        if self._order is None:
            start = step * self._source.batch_size
            stop = start + self._source.batch_size
            return self._structure.unflatten([leaf[start:stop] for leaf in self._leaves])
        chosen = self.rows(step)
        return self._structure.unflatten([leaf.take(chosen, axis=0) for leaf in self._leaves])

    def rows(self, step: int) -> np.ndarray:
        """The numbers of the rows of a step's batch, int32 ``(B,)``."""
        start = step * self._source.batch_size
        stop = min(start + self._source.batch_size, self._source.rows)
        return np.arange(start, stop, dtype=np.int32) if self._order is None else self._order[start:stop]

    def fingerprint(self) -> int | None:
        """A checksum of the order of this epoch; ``None`` where the rows come as they stand."""
        return None if self._order is None else zlib.crc32(self._order.tobytes())


def _free_bytes() -> float:
    """The memory that is free where JAX computes."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats["bytes_in_use"])
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_AVPHYS_PAGES" not in names:
        return 0.0
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def arrays(
    x: PyTree,
    y: PyTree = None,
    weights: PyTree = None,
    *,
    batch_size: int,
    shuffle: bool = False,
    drop_last: bool = False,
    device: bool | str = "auto",
) -> Arrays:
    """A data source of arrays in memory.

    Args:
        x: the inputs, an array or a pytree of arrays ``(n, ...)``; tensors and lists of numbers become
            arrays.
        y: the targets, likewise; without them a batch is a slice of ``x`` alone.
        weights: one weight a row ``(n, ...)``, finite, none below 0 and not all 0.
        batch_size: the rows of a batch; the last one of an epoch may be smaller.
        shuffle: draw a new order each epoch, from the ``key`` of the run.
        drop_last: leave out a smaller last batch.
        device: where a loop takes several steps at once, send all rows to the device first and gather the
            batches there; ``"auto"`` does if they take at most a quarter of its free memory.

    Returns:
        a source with ``len`` (batches an epoch) that yields ``x``, ``(x, y)`` or ``(x, y, weights)``.

    Raises:
        ValueError: no leaves, leaves of different length, weights without targets or out of range, or no
            batch at all.
        TypeError: ``batch_size`` is no integer, or a leaf is no array and cannot become one.

    >>> [len(x) for x in arrays(np.arange(5.0), batch_size=2)]
    [2, 2, 1]
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool):
        raise TypeError(f"arrays: batch_size must be an integer, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"arrays: batch_size must be at least 1, got {batch_size}")
    if device not in (True, False, "auto"):
        raise ValueError(f'arrays: device must be True, False or "auto", got {device!r}')
    if weights is not None and y is None:
        raise ValueError("arrays: weights need targets y")
    parts = (x,) if y is None else (x, y) if weights is None else (x, y, weights)
    named = dict(zip(("x", "y", "weights"), parts, strict=False))
    try:
        named = jax.tree.map(np.asarray, converted(named))
    except (TypeError, ValueError) as error:
        raise type(error)(f"arrays: {error}") from error.__cause__
    if weights is not None:
        check_weights(named["weights"], "arrays: weights")
    batch = tuple(named[name] for name in ("x", "y", "weights")[: len(parts)])
    sizes = {name: np.shape(leaf)[:1] for name, leaf in trees.flatten(named).items()}
    if len(set(sizes.values())) != 1 or () in sizes.values():
        listed = ", ".join(f"{name} {size[0] if size else 'a scalar'}" for name, size in sizes.items())
        raise ValueError(f"arrays: all arrays must have the same number of rows, got {listed or 'no arrays'}")
    rows = next(iter(sizes.values()))[0]
    source = Arrays(
        batch=batch, rows=rows, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, device=device
    )
    if len(source) == 0:
        raise ValueError(f"arrays: {rows} rows give no batch of {batch_size}")
    return source
