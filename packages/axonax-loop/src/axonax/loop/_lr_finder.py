"""The learning rate to begin with, found by one short run with rising rates."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from axonax.loop._events import HALT_LOOP, Control, Handler
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._plateau import RATE, check_rate
from axonax.tensor.updates import with_hyperparams

PyTree = Any
SMOOTH = 0.9  # of the running mean of the losses
DIVERGED = 4.0  # times the best loss


@dataclass(frozen=True, kw_only=True)
class RateSweep:
    """The losses of steps with rising learning rates.

    ``rates`` and ``losses`` are float64 ``(n,)``, the losses smoothed; ``suggestion`` is the rate where the
    loss falls fastest.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float

    def __repr__(self) -> str:
        low, high = self.rates[0], self.rates[-1]
        rates = f"{len(self.rates)} rates from {low:.1e} to {high:.1e}"
        return f"RateSweep({rates}, suggestion {self.suggestion:.1e})"


@dataclass(kw_only=True)
class Sweep:
    """Sets the rate before each step and notes the loss after it; halts where it diverges."""

    rates: np.ndarray
    losses: list[float]

    @property
    def name(self) -> str:
        """``"lr_finder"``."""
        return "lr_finder"

    def memory(self) -> None:
        """Nothing: a sweep is not resumed."""

    def prepare(self, memory: None, step_state: PyTree) -> None:
        """Raise unless there is a rate to set."""
        check_rate("lr_finder", step_state)

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of the run."""
        before, mean = [0.0, 0.0], [0.0]

        def rise(state: State, memory: None) -> Any:
            rate = float(self.rates[state.iteration])
            return None, state.replace(opt_state=with_hyperparams(state.opt_state, **{RATE: rate}))

        def note(state: State, memory: None) -> Any:
            total, low, weight, lost = (float(each) for each in state.accumulators["loss"])
            now = [total + low, weight + lost]
            loss = (now[0] - before[0]) / (now[1] - before[1])
            before[:] = now if state.iteration else [0.0, 0.0]
            mean[0] = SMOOTH * mean[0] + (1 - SMOOTH) * loss
            smoothed = mean[0] / (1 - SMOOTH ** (len(self.losses) + 1))
            self.losses.append(smoothed)
            diverged = not math.isfinite(loss) or smoothed > DIVERGED * min(self.losses)
            ended = diverged or state.iteration == len(self.rates)
            return (None, Control(HALT_LOOP, state)) if ended else None

        def again(state: State, memory: None) -> None:
            before[:] = [0.0, 0.0]

        return contextlib.nullcontext(
            (
                Handler(event="epoch_started", function=again),
                Handler(event="iteration_started", function=rise),
                Handler(event="iteration_completed", function=note),
            )
        )


def suggested(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate at which the loss falls fastest on the logarithmic scale."""
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(losses) < 3:
        return float(rates[0])
    return float(rates[np.argmin(np.gradient(losses, np.log(rates)))])
