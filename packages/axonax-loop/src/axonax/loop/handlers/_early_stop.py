"""The end of a run whose metric stopped getting better."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._events import HALT_LOOP, Control, Handler
from axonax.loop._state import PopulationState, State, TrainState, copy_arrays
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._patience import Patience, check_metric, watched, watched_each

PyTree = Any
Memory = dict[str, Any]
ENDS = ("completed", "halted", "data_exhausted")


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """Halts the loop when a metric was not better for so many epochs."""

    metric: str
    patience: int
    mode: str
    min_delta: float
    restore_best: bool

    @property
    def name(self) -> str:
        """``"early_stop"``."""
        return "early_stop"

    def memory(self) -> Memory:
        """The best value and how many epochs had no better one."""
        return {"patience": Patience(), "kept": ()}

    def prepare(self, memory: Memory, step_state: PyTree) -> Memory:
        """For each member of a population; with room for the best state of the model, if it is put back."""
        if isinstance(step_state, PopulationState):
            count = step_state.active.shape[0]
            each: Any = Patience(best=np.full(count, np.nan), stale=np.zeros(count, int))  # type: ignore[arg-type]
            memory = {**memory, "patience": each}
        if not self.restore_best:
            return memory
        if not isinstance(step_state, TrainState | PopulationState):
            raise ValueError("early_stop: restore_best needs a trainer")
        return {**memory, "kept": copy_arrays(step_state.model_state)}

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        check_metric("early_stop", self.metric, job)

        def look(state: State, memory: Memory) -> Any:
            if isinstance(state.step_state, PopulationState):
                return self._look_at_each(state, state.step_state, memory)
            value = watched("early_stop", self.metric, state)
            patience = memory["patience"].observe(value, self.mode, self.min_delta)
            better = patience.stale == 0
            kept = copy_arrays(state.model_state) if self.restore_best and better else memory["kept"]
            after = {"patience": patience, "kept": kept}
            return (after, Control(HALT_LOOP, state)) if patience.stale >= self.patience else after

        def restore(state: State, memory: Memory) -> Any:
            stale = jnp.asarray(memory["patience"].stale) > 0
            return memory, state.replace(model_state=_chosen(stale, memory["kept"], state.model_state))

        handlers = [Handler(event="epoch_completed", function=look)]
        if self.restore_best:
            handlers += [Handler(event=event, function=restore) for event in ENDS]
        return contextlib.nullcontext(handlers)

    def _look_at_each(self, state: State, population: PopulationState, memory: Memory) -> Any:
        """A member whose metric is not better for so long is trained no more; none left ends the loop."""
        values, _ = watched_each("early_stop", self.metric, state, self.mode)
        active = np.asarray(population.active)
        patience = memory["patience"].observe_each(values, self.mode, self.min_delta, active)
        kept = memory["kept"]
        if self.restore_best:
            up = jnp.asarray(active & (patience.stale == 0))
            kept = _chosen(up, state.model_state, kept)
        active = active & (patience.stale < self.patience)
        after = {"patience": patience, "kept": kept}
        new = state.replace(step_state=population.replace(active=jnp.asarray(active)))
        return (after, new) if active.any() else (after, Control(HALT_LOOP, new))

    def __str__(self) -> str:
        by = f", by more than {self.min_delta:g}" if self.min_delta else ""
        best = ", the best state is put back" if self.restore_best else ""
        how = f"({self.mode}) not better for {self.patience} epochs"
        return f"{'early_stop':<11}{self.metric} {how}{by}{best}"


def _chosen(which: jax.Array, one: PyTree, other: PyTree) -> PyTree:
    """The leaves of ``one`` where ``which`` holds, for each member on the leading axis or for all."""

    def choose(left: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.where(which.reshape(which.shape + (1,) * (left.ndim - which.ndim)), left, right)

    return jax.tree.map(choose, one, other)
