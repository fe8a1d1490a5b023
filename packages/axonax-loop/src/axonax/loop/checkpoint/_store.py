"""A folder of checkpoints: each whole or not there, the newest and the best kept, one run at a time."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.checkpoint import _folder
from axonax.loop.checkpoint._folder import DamagedError
from axonax.loop.checkpoint._lock import Lock
from axonax.tensor import files, trees

LOGGER = logging.getLogger("axonax.loop")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What stands in a checkpoint: arrays by name, and a document of numbers and text."""

    step: int
    arrays: Mapping[str, Any]
    document: Mapping[str, Any]
    path: Path


def holds_checkpoints(path: Path) -> bool:
    """Whether there is any checkpoint in a folder, damaged ones too."""
    return bool(_folder.entries(path))


class Store:
    """The checkpoints in a folder. Entered, it is this run's alone, and what a killed run left is removed.

    Args:
        path: the folder; made when the store is entered.
        keep: how many of the newest are kept, beside the best one.
        asynchronous: write in the background, one at a time; ``False`` returns when the files are there.

    Raises:
        ValueError: the path is a file, or another run is using it (when the store is entered).
    """

    def __init__(self, path: Path, *, keep: int = 3, asynchronous: bool = True) -> None:
        self.path, self._keep, self._asynchronous = Path(path), keep, asynchronous
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"checkpoint: {self.path} must be a folder, it is a file")
        self._lock = Lock(self.path / ".lock")
        self._thread: threading.Thread | None = None
        self._failed: Callable[[], None] | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Store:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        with contextlib.suppress(OSError):
            _folder.clean(self.path)
            _folder.prune(self.path, self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
            if self._failed is not None:
                self._attempt(self._failed)
        finally:
            self._lock.free()

    def save(
        self, step: int, arrays: Mapping[str, Any], document: Mapping[str, Any], *, best: bool = False
    ) -> None:
        """Write a checkpoint; a second one of the same step takes the place of the first.

        A full or read-only disk is a warning: the checkpoints that there are stay, and the next save tries
        again.

        Args:
            step: what it is found by.
            arrays: JAX or NumPy arrays, keys and numbers; copied before this returns.
            document: JSON; floats come back to the bit, NaN and infinity too.
            best: it is the best so far, kept until there is a better one.
        """
        kept = {name: _copied(leaf) for name, leaf in arrays.items()}
        self.wait()

        def write() -> None:
            found = {name: _on_host(leaf) for name, leaf in kept.items()}
            with _folder.draft(self.path, step, best) as folder:
                files.save(folder / _folder.ARRAYS, trees.unflatten(found))
                _folder.write_json(folder / _folder.DOCUMENT, document)
            self._prune(step)

        if self._asynchronous:
            self._thread = threading.Thread(target=self._attempt, args=(write,), name="checkpoint")
            self._thread.start()
        else:
            self._attempt(write)
            self.wait()

    def wait(self) -> bool:
        """Whether all that was asked for is on the disk, when it is; errors but for the disk's are raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._failed is None

    def steps(self) -> list[int]:
        """The steps of the checkpoints, the oldest first; damaged ones are among them."""
        return [entry.step for entry in _folder.entries(self.path)]

    def load(self, *, best: bool = False) -> Loaded | None:
        """The newest checkpoint that is whole, or the newest ``best`` one; ``None`` if there is none at all.

        Each that is damaged is said, with the reason, before the one before it is tried.

        Raises:
            ValueError: all are damaged; the text lists them.
        """
        wrong = []
        for entry in reversed(_folder.entries(self.path)):
            try:
                if best and not _folder.manifest(entry.path).best:
                    continue
                return _loaded(entry)
            except (DamagedError, OSError) as error:
                wrong.append(f"{entry.path}: {error}")
                LOGGER.warning("checkpoint: %s is damaged, trying the one before: %s", entry.path, error)
        if wrong:
            listed = "\n  ".join(wrong)
            raise ValueError(f"checkpoint: none in {self.path} can be read:\n  {listed}")
        return None

    def _prune(self, step: int) -> None:
        """Remove what is not kept; what cannot be removed now goes with the next save."""
        try:
            _folder.prune(self.path, self._keep, step)
        except OSError as error:
            LOGGER.warning("checkpoint: older ones stay in %s: %s", self.path, error)

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write, and remember what could not be written for another try."""
        try:
            write()
            self._failed = None
        except OSError as error:
            self._failed = write
            LOGGER.warning("checkpoint: not saved to %s, the run goes on: %s", self.path, error)
        except BaseException as error:
            self._error = error


def load(path: Path) -> Loaded | None:
    """What `Store.load` gives of a folder, or one checkpoint by its own path; takes no lock.

    Raises:
        ValueError: all are damaged, or the path is a file.
    """
    entry = _folder.entry(path)
    if entry is None:
        return Store(path).load()
    try:
        return _loaded(entry)
    except (DamagedError, OSError) as error:
        raise ValueError(f"checkpoint: {path} is damaged: {error}") from error


def _loaded(entry: _folder.Entry) -> Loaded:
    _folder.verify(entry.path)
    try:
        arrays = trees.flatten(files.load(entry.path / _folder.ARRAYS))
    except ValueError as error:
        raise DamagedError(str(error)) from error
    document = _folder.read_json(entry.path / _folder.DOCUMENT)
    return Loaded(step=entry.step, arrays=arrays, document=document, path=entry.path)


def _copied(leaf: Any) -> Any:
    """A copy that no later step takes away or writes to."""
    return jnp.array(leaf, copy=True) if isinstance(leaf, jax.Array) else np.array(leaf, copy=True)


def _on_host(leaf: Any) -> Any:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else np.asarray(leaf)
