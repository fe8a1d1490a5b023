"""The events of a run, and what a handler may return."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from axonax.loop._filters import ALWAYS, Filter
from axonax.loop._state import State

EVENTS = (
    "started",
    "epoch_started",
    "iteration_started",
    "iteration_completed",
    "epoch_completed",
    "epoch_halted",
    "completed",
    "halted",
    "exception",
    "interrupted",
    "data_exhausted",
)

ENDINGS = ("completed", "halted", "exception", "interrupted", "data_exhausted")


class Halt(enum.Enum):
    """What a handler can end: the epoch (the next one follows) or the whole loop."""

    EPOCH = "epoch"
    LOOP = "loop"


@dataclass(frozen=True)
class Save:
    """A checkpoint that is asked for; ``best`` makes it the best one of the run."""

    best: bool = False


HALT_EPOCH = Halt.EPOCH
HALT_LOOP = Halt.LOOP
SAVE = Save()


@dataclass(frozen=True)
class Control:
    """What `control` makes: what is asked for, and the state to go on with."""

    ask: Halt | Save
    state: State


def control(ask: Halt | Save, state: State) -> Control:
    """What a handler returns to end the epoch or the loop, or to have a checkpoint saved.

    Handlers of the same event that were added later still run; the save follows the last of them.

    Args:
        ask: ``HALT_EPOCH``, ``HALT_LOOP`` or ``SAVE``.
        state: the state that the handler was given, or a changed one.

    Raises:
        TypeError: ``ask`` or ``state`` is of another type.
    """
    if not isinstance(ask, Halt | Save):
        raise TypeError(f"control: the first argument must be HALT_EPOCH, HALT_LOOP or SAVE, got {ask!r}")
    if not isinstance(state, State):
        raise TypeError(f"control: the second argument must be a State, got {type(state).__name__}")
    return Control(ask, state)


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A function ``(state, memory)`` that runs at an event when its filter lets it.

    One that only ``reads`` metrics, counts, memory and history (not the step state) never makes the steps
    wait: it is served after the others of the event, for a step within a chunk after the chunk. It returns
    its memory alone.
    """

    event: str
    function: Callable[[State, Any], Any]
    when: Filter = ALWAYS
    reads: bool = False

    @property
    def name(self) -> str:
        """What errors call the handler."""
        return callable_name(self.function)


def callable_name(function: Callable[..., Any]) -> str:
    """The name of a function, or of the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))
