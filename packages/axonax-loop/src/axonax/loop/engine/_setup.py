"""What a run begins with: its reader, its machine, the memory and the structure of its attachments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax

from axonax.loop.data._reader import Reader
from axonax.loop.engine._job import Job, Run
from axonax.loop.engine._machine import Machine
from axonax.loop.engine._position import Position

PyTree = Any


def reader_of(job: Job, run: Run, key: jax.Array) -> Reader:
    """The batches of a run, as arrays where steps are compiled or have inputs and targets."""
    has_parts = job.recipe.has_parts
    return Reader(
        run.data,
        jax.random.fold_in(key, 2),
        run.epochs,
        run.steps_per_epoch,
        parts=has_parts if job.compile or has_parts else None,
        drop_smaller=run.remainder == "drop",
    )


def machine_of(
    job: Job,
    run: Run,
    key: jax.Array,
    batch: Any,
    reader: Reader,
    *,
    donate: bool,
    resident: Callable[[], PyTree] | None,
) -> Machine:
    """The machine for batches like this one; errors say that it was the first."""
    try:
        return Machine(job, run, key, batch, donate=donate, resident=resident, even=reader.even)
    except (TypeError, ValueError) as error:
        # Subclasses (of JAX, of models) may not be made of one text.
        if type(error) in (TypeError, ValueError):
            raise type(error)(f"batch 0: {error}") from error
        error.add_note("at batch 0")
        raise


def prepared(job: Job, memory: Mapping[str, PyTree], step_state: PyTree) -> Mapping[str, PyTree]:
    """The memory of the attachments, of those that hang on the step state too."""
    found = {
        name: attachment.prepare(memory[name], step_state)
        for name, attachment in job.attached
        if hasattr(attachment, "prepare")
    }
    return MappingProxyType({**memory, **found})


def restructure(job: Job, machine: Machine, position: Position) -> None:
    """Give the step state the structure that it has where a run goes on."""
    old = new = machine.step_state
    started = position.phase != "epoch_started"
    for _, attachment in job.attached:
        if hasattr(attachment, "restructure"):
            new = attachment.restructure(new, job, position.epoch, started)
    if new is not old:
        machine.take(new, old)
