"""What is done when a loss is not finite: an error, an end, or a step back."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import HALT_LOOP, Control, Handler
from axonax.loop._filters import make_filter
from axonax.loop._state import State
from axonax.loop.engine._doctor import NonFiniteError
from axonax.loop.engine._job import Job, Run
from axonax.loop.engine._saving import LOGGER

POLICIES = ("raise", "halt", "rollback")
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class TerminateOnNaN:
    """Looks now and then whether a loss was not finite; the step that was is known exactly."""

    policy: str
    every: int

    @property
    def name(self) -> str:
        """``"terminate_on_nan"``."""
        return "terminate_on_nan"

    def memory(self) -> int:
        """How often in a row the run went back."""
        return 0

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run; the last finite state lives here, on the device."""
        kept: list[State] = []

        def look(state: State, tries: int) -> Any:
            step = state.nonfinite
            if step is None:
                if self.policy == "rollback":
                    kept[:] = [state.copy()]
                return 0
            iteration = state.iteration - state.epoch_iteration + step
            text = f"the loss was not finite at iteration {iteration} (step {step} of epoch {state.epoch})"
            if self.policy == "halt":
                LOGGER.warning("terminate_on_nan: %s, the run ends", text)
                return tries, Control(HALT_LOOP, state)
            if self.policy == "raise" or not kept or tries >= TRIES:
                again = f", {tries} times in a row" if tries else ""
                raise NonFiniteError(f"terminate_on_nan: {text}{again}")
            last = kept[0]
            LOGGER.warning("terminate_on_nan: %s, back to iteration %d", text, last.iteration)
            return tries + 1, state.replace(step_state=last.step_state, accumulators=last.accumulators)

        events = ("epoch_started", "epoch_completed") if self.policy == "rollback" else ("epoch_completed",)
        return contextlib.nullcontext(
            (
                Handler(event="iteration_completed", function=look, when=make_filter(every=self.every)),
                *(Handler(event=event, function=look) for event in events),
            )
        )

    def __str__(self) -> str:
        return f"terminate_on_nan {self.policy}, every {self.every}"
