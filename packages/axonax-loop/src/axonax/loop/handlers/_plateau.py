"""A learning rate that goes down when a metric stopped getting better."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Handler
from axonax.loop._state import State, TrainState
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._patience import Patience, check_metric, watched
from axonax.tensor.updates import hyperparams, with_hyperparams

PyTree = Any
RATE = "learning_rate"
Memory = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiplies the learning rate by a factor when a metric was not better for so many epochs."""

    metric: str
    factor: float
    patience: int
    mode: str
    min_delta: float
    min_lr: float
    cooldown: int

    @property
    def name(self) -> str:
        """``"reduce_lr_on_plateau"``."""
        return "reduce_lr_on_plateau"

    def memory(self) -> Memory:
        """The best value, how many epochs had no better one, and how many are still not counted."""
        return {"patience": Patience(), "cooling": 0}

    def prepare(self, memory: Memory, step_state: PyTree) -> Memory:
        """Raise unless the optimizer has a learning rate to set.

        Raises:
            ValueError: it has none.
        """
        check_rate("reduce_lr_on_plateau", step_state)
        return memory

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""
        check_metric(self.name, self.metric, job)

        def look(state: State, memory: Memory) -> Any:
            value = watched(self.name, self.metric, state)
            patience = memory["patience"].observe(value, self.mode, self.min_delta)
            if memory["cooling"]:
                return {"patience": patience._replace(stale=0), "cooling": memory["cooling"] - 1}
            if patience.stale < self.patience:
                return {"patience": patience, "cooling": 0}
            rates = scaled(hyperparams(state.opt_state), self.factor, self.min_lr)
            after = {"patience": patience._replace(stale=0), "cooling": self.cooldown}
            return after, state.replace(opt_state=with_hyperparams(state.opt_state, **rates))

        return contextlib.nullcontext((Handler(event="epoch_completed", function=look),))

    def __str__(self) -> str:
        how = f"{self.metric} ({self.mode}) not better for {self.patience} epochs: x {self.factor:g}"
        return f"reduce_lr_on_plateau {how}"


def check_rate(who: str, step_state: PyTree) -> None:
    """Raise unless a step state has a learning rate that can be set.

    Raises:
        ValueError: it has none.
    """
    known = hyperparams(step_state.opt_state) if isinstance(step_state, TrainState) else {}
    if not scaled(known, 1.0, 0.0):
        raise ValueError(
            f"{who}: the optimizer must have a learning rate that can be set: one of axonax.optim, or of "
            "optax.inject_hyperparams"
        )


def scaled(known: Mapping[str, Any], factor: float, least: float) -> dict[str, Any]:
    """The learning rates among hyperparameters times a factor, those of groups under their labels."""
    rates: dict[str, Any] = {}
    for name, value in known.items():
        if isinstance(value, Mapping):
            inner = scaled(value, factor, least)
            rates |= {name: inner} if inner else {}
        elif name == RATE:
            rates[name] = max(float(value) * factor, least)
    return rates
