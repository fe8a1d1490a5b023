"""What handlers see of a run, and what a run returns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """The step state of a trainer: all that one training step reads and changes.

    ``iteration`` counts steps; ``key`` is the key that each step folds with it for dropout and the like.
    """

    model_state: PyTree
    opt_state: PyTree
    iteration: jax.Array
    key: jax.Array

    def replace(self, **changes: PyTree) -> TrainState:
        """A copy with the named parts replaced."""
        return replace(self, **changes)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class EvalState:
    """The step state of an evaluator: the state of the model, which no step changes."""

    model_state: PyTree


class Metrics(Mapping[str, Any]):
    """Metric values by name; the accumulated ones are computed and read when the first is asked for.

    ``extra`` are values that handlers added (a validation's): reading them does not wait for the steps.
    """

    def __init__(
        self, names: tuple[str, ...], compute: Callable[[], Mapping[str, Any]], extra: Mapping[str, Any]
    ) -> None:
        self._names = names
        self._compute = functools.cache(compute)
        self._read = functools.cache(lambda: _all_to_host(self._compute()))
        self.extra = extra

    def __getitem__(self, name: str) -> Any:
        if name in self.extra:
            return to_host(self.extra[name])
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._names
        yield from (name for name in self.extra if name not in self._names)

    def __len__(self) -> int:
        return len({*self._names, *self.extra})

    def __repr__(self) -> str:
        return repr(dict(self))

    def with_values(self, values: Mapping[str, Any]) -> Metrics:
        """These metrics and further ones."""
        return Metrics(self._names, self._compute, {**self.extra, **values})

    def start(self) -> Mapping[str, Any]:
        """The accumulated values as arrays that the device may still be computing."""
        return self._compute()


def _all_to_host(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_host(value) for name, value in jax.device_get(dict(values)).items()}


def to_host(value: Any) -> Any:
    """A Python number for a scalar, a NumPy array for an array, in any nesting."""
    return jax.tree.map(
        lambda leaf: leaf.item() if np.ndim(leaf) == 0 else leaf, jax.tree.map(np.asarray, value)
    )


@dataclass(frozen=True, kw_only=True)
class State:
    """A run as it is at one event.

    Handlers borrow it: the step that follows takes the arrays away. `copy` keeps them. ``epoch`` counts
    from 1 and names the epoch in progress or just done; ``iteration`` and ``epoch_iteration`` count
    finished steps over the run and in the epoch. ``memory`` is what the attachments remember, by name.
    Reading a value of ``metrics`` waits for the device; nothing else does.
    """

    epoch: int
    epochs: int
    iteration: int
    epoch_iteration: int
    step_state: PyTree
    metrics: Metrics
    event_counts: Mapping[str, int]
    memory: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    history: tuple[Mapping[str, Any], ...] = ()
    status: str = "running"

    @property
    def model_state(self) -> PyTree:
        """The state of the model, in a trainer or evaluator; ``None`` in a loop over a plain step."""
        if isinstance(self.step_state, TrainState | EvalState):
            return self.step_state.model_state
        return None

    @property
    def opt_state(self) -> PyTree:
        """The state of the optimizer, in a trainer; ``None`` in other loops."""
        return self.step_state.opt_state if isinstance(self.step_state, TrainState) else None

    def replace(self, **changes: Any) -> State:
        """A copy with parts replaced; ``model_state`` and ``opt_state`` are parts of ``step_state``.

        Raises:
            TypeError: there is no such part.
        """
        parts = {name: changes.pop(name) for name in ("model_state", "opt_state") if name in changes}
        if parts:
            if not isinstance(self.step_state, TrainState):
                raise TypeError(
                    f"State.replace: only the state of a trainer has {' and '.join(parts)} to replace"
                )
            changes["step_state"] = changes.get("step_state", self.step_state).replace(**parts)
        return replace(self, **changes)

    def with_metrics(self, **values: Any) -> State:
        """A copy with further metrics, which reach the history too; they last until the epoch ends."""
        return self.replace(metrics=self.metrics.with_values(values))

    def copy(self) -> State:
        """The same state with arrays of its own, which no later step takes away; reads the metrics."""
        values = dict(self.metrics)
        metrics = Metrics(tuple(values), lambda: values, {})
        return self.replace(step_state=copy_arrays(self.step_state), metrics=metrics)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run returns.

    ``history`` has one dict an epoch (epoch, iteration, seconds, loss, metrics, ``validation_*``);
    ``metrics`` are those of the last epoch; ``status`` is ``"completed"``, ``"halted"``,
    ``"interrupted"`` or ``"data_exhausted"``; ``output`` is what the loop's ``output`` function made of the
    last state.
    """

    model_state: PyTree
    step_state: PyTree
    metrics: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    epoch: int
    iteration: int
    status: str
    output: Any = None

    @property
    def opt_state(self) -> PyTree:
        """The state of the optimizer after a trainer; ``None`` after other loops."""
        return self.step_state.opt_state if isinstance(self.step_state, TrainState) else None


def copy_arrays(tree: PyTree) -> PyTree:
    """The tree with every array (and number) as a JAX array that nothing else refers to."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
