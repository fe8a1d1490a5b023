"""A user's handler, attached to a loop."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Control, Handler, callable_name
from axonax.loop._filters import Filter
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run


@dataclass(frozen=True, kw_only=True)
class On:
    """A function of the state at an event, the same in every run."""

    event: str
    function: Callable[[State], Any]
    when: Filter

    @property
    def name(self) -> str:
        """That of the function."""
        return callable_name(self.function)

    def memory(self) -> None:
        """Nothing."""

    def adds(self, job: Job) -> None:
        """A function may add any metric."""

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler."""
        call = functools.update_wrapper(functools.partial(_called, on=self), self.function, updated=())
        handler = Handler(event=self.event, function=call, when=self.when)
        return contextlib.nullcontext((handler,))

    def __str__(self) -> str:
        when = str(self.when)
        return f"{'on':<11}{self.event}: {self.name}{', ' if when else ''}{when}"


def _called(state: State, memory: None, *, on: On) -> Any:
    """What the function answers, beside a memory of nothing.

    Raises:
        TypeError: it is neither nothing, nor a state, nor a control.
    """
    answer = on.function(state)
    if answer is None:
        return None
    if not isinstance(answer, State | Control):
        where = f'handler "{on.name}" at {on.event}'
        wanted = "None, a State or control(HALT_EPOCH or HALT_LOOP, state)"
        raise TypeError(f"{where} must return {wanted}, got {type(answer).__name__}")
    return None, answer
