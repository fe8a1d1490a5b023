"""What a checkpoint holds of a run, and how a run goes on from one."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop.checkpoint._store import Loaded, Store, holds_checkpoints
from axonax.loop.checkpoint._store import load as load_from
from axonax.loop.checkpoint._values import (
    decode,
    decode_row,
    encode,
    encode_row,
    misfits,
    named,
    restored,
)
from axonax.loop.engine._job import Job, Run
from axonax.loop.engine._machine import Machine
from axonax.loop.engine._position import Position
from axonax.loop.steps._program import WATCH

PyTree = Any
LOGGER = logging.getLogger("axonax.loop")
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a run is at one moment, but for what the machine holds."""

    position: Position
    memory: Mapping[str, PyTree]
    history: tuple[Mapping[str, Any], ...]


@contextmanager
def opened(job: Job, run: Run) -> Iterator[tuple[Store | None, Loaded | None]]:
    """Where this run saves, and what it goes on from.

    Raises:
        ValueError: the directory of the loop holds checkpoints and the run does not say ``resume=``, or
            ``resume=True`` without a directory to resume from.
    """
    saving, source = job.saving, run.resume
    if source is True and saving is None:
        raise ValueError("run: resume=True needs a loop with .checkpoint(path): pass resume=path")
    if saving is None:
        yield None, None if isinstance(source, bool) else _read(source)
        return
    path = source if isinstance(source, Path) else saving.path if source else None
    if path is None and holds_checkpoints(saving.path):
        raise ValueError(
            f"run: {saving.path} holds checkpoints: pass resume=True to go on from them, or another path"
        )
    with Store(saving.path, keep=saving.keep, asynchronous=saving.asynchronous) as store:
        if path is None:
            yield store, None
        elif path.resolve() == saving.path.resolve():
            yield store, _said(store.load(), saving.path)
        else:
            yield store, _read(path)


def _read(path: Path) -> Loaded | None:
    return _said(load_from(path), path)


def _said(loaded: Loaded | None, path: Path) -> Loaded | None:
    if loaded is None:
        LOGGER.warning("resume: %s holds no checkpoint, the run starts from the beginning", path)
    else:
        LOGGER.info("resume: going on from %s", loaded.path)
    return loaded


def save(store: Store, job: Job, machine: Machine, snapshot: Snapshot, *, order: Any, best: bool) -> None:
    """Write a checkpoint, in the background; one that is not finite is not written, and that is said."""
    position = snapshot.position
    if not _finite(machine):
        LOGGER.warning(
            "checkpoint: not saved at iteration %d: the state of the model is not finite, "
            "the last checkpoint stays",
            position.iteration,
        )
        return
    arrays = {**named("state", machine.step_state), **named("metrics", machine.accumulators)}
    memory = {name: encode(each, f"memory/{name}", arrays) for name, each in snapshot.memory.items()}
    document = {
        "format": FORMAT,
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "numpy")},
        "position": position.to_json(),
        "order": order,
        "attached": {name: str(attachment) for name, attachment in job.attached},
        "memory": memory,
        "history": [encode_row(row) for row in snapshot.history],
    }
    store.save(position.iteration, arrays, document, best=best)


def _finite(machine: Machine) -> bool:
    """Whether the state may be kept: it is looked at only if a loss of the epoch was not finite."""
    watch = machine.accumulators.get(WATCH)
    if watch is None or int(jax.device_get(watch)[1]) == 0:
        return True
    floats = [
        leaf
        for leaf in jax.tree.leaves(machine.step_state)
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return all(bool(jnp.isfinite(leaf).all()) for leaf in floats)


def load(loaded: Loaded, job: Job, machine: Machine, fresh: Mapping[str, PyTree]) -> Snapshot:
    """Put a checkpoint's arrays into the machine, and give the rest.

    Memory is matched by the name of its attachment; what has no match is said.

    Raises:
        ValueError: it is of another format, model or optimizer; the text lists the leaves that differ.
    """
    document, arrays = loaded.document, loaded.arrays
    if document.get("format") != FORMAT:
        raise ValueError(
            f"{loaded.path}: format {document.get('format')!r} is not {FORMAT}, which this reads"
        )
    lines = misfits("state", machine.step_state, arrays)
    if lines:
        listed = "\n  ".join(lines)
        raise ValueError(f"{loaded.path} does not fit this loop:\n  {listed}")
    machine.restore(restored("state", machine.step_state, arrays), _accumulators(loaded, machine))
    position = Position.from_json(document["position"])
    return Snapshot(
        position=position,
        memory=_memory(loaded, fresh),
        history=tuple(decode_row(row) for row in document["history"]),
    )


def _accumulators(loaded: Loaded, machine: Machine) -> dict[str, PyTree]:
    """The metrics of the epoch in progress; one that was not there begins now, and that is said."""
    found = {}
    for name, fresh in machine.accumulators.items():
        prefix = f"metrics/{name}"
        fits = not misfits(prefix, fresh, loaded.arrays)
        if not fits:
            LOGGER.warning('resume: metric "%s" is not in %s, it begins in mid-epoch', name, loaded.path)
        found[name] = restored(prefix, fresh, loaded.arrays) if fits else fresh
    return found


def _memory(loaded: Loaded, fresh: Mapping[str, PyTree]) -> dict[str, PyTree]:
    saved, memory = loaded.document["memory"], dict(fresh)
    for name in saved.keys() - fresh.keys():
        LOGGER.warning('resume: nothing attached is called "%s" any more, its memory is dropped', name)
    for name, each in fresh.items():
        if name not in saved:
            LOGGER.warning('resume: "%s" is not in %s, it starts fresh', name, loaded.path)
            continue
        try:
            memory[name] = decode(saved[name], each, loaded.arrays)
        except ValueError as error:
            LOGGER.warning('resume: the memory of "%s" starts fresh: it %s', name, error)
    return memory
