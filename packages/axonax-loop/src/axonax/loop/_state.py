"""What handlers see of a run, and what a run returns."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop import _step_values
from axonax.loop.show._curves import Picture, curves
from axonax.loop.show._numbers import table_lines
from axonax.loop.show._outline import outline
from axonax.loop.show._sheet import Sheet
from axonax.loop.show._summary import summary
from axonax.tensor import names

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class TrainState:
    """The step state of a trainer: all that one training step reads and changes.

    ``iteration`` counts steps; ``key`` is the key that each step folds with it for dropout and the like;
    ``extras`` are the states of the step's transforms by name.
    """

    model_state: PyTree
    opt_state: PyTree
    iteration: jax.Array
    key: jax.Array
    extras: PyTree = ()

    def __repr__(self) -> str:
        return outline("TrainState", vars(self))

    def replace(self, **changes: PyTree) -> TrainState:
        """A copy with the named parts replaced."""
        return replace(self, **changes)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class EvalState:
    """The step state of an evaluator: the state of the model, which no step changes."""

    model_state: PyTree

    def __repr__(self) -> str:
        return outline("EvalState", vars(self))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class PopulationState:
    """The step state of a population: every leaf of ``members`` has them on its leading axis.

    ``active`` says of each whether it is still trained, ``(n,)`` bool.
    """

    members: TrainState
    active: jax.Array

    @property
    def model_state(self) -> PyTree:
        """The states of the models."""
        return self.members.model_state

    @property
    def opt_state(self) -> PyTree:
        """The states of the optimizers."""
        return self.members.opt_state

    def replace(self, **changes: PyTree) -> PopulationState:
        """A copy with ``active``, ``members`` or parts of the members replaced."""
        own = {name: changes.pop(name) for name in ("members", "active") if name in changes}
        state = replace(self, **own)
        return replace(state, members=state.members.replace(**changes)) if changes else state


_TRAINED = TrainState | PopulationState


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
        """These metrics and further ones; what was read of these is not read again."""
        more = Metrics(self._names, self._compute, {**self.extra, **values})
        more._read = self._read
        return more

    @property
    def was_read(self) -> bool:
        """Whether an accumulated value was read."""
        return self._read.cache_info().currsize > 0

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


class History(Sequence[Mapping[str, Any]]):
    """A row an epoch: epoch, iteration, seconds, loss, metrics and what handlers added.

    >>> history = History(({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "validation_loss": 0.3}))
    >>> history[-1]["loss"], history["loss"], history["validation_loss"]
    (0.25, array([0.5 , 0.25]), array([nan, 0.3]))
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]] = (), columns: Any = None) -> None:
        self.rows = tuple(rows)
        self._columns = columns

    def __getitem__(self, which: Any) -> Any:
        """A row by number, a part by slice, a column by name."""
        return self.column(which) if isinstance(which, str) else self.rows[which]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order in which they came."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def column(self, name: str) -> np.ndarray:
        """The values of all epochs under a name; NaN where an epoch has none.

        Raises:
            ValueError: no epoch has it; the text lists near matches.
        """
        names.lookup(dict.fromkeys(self.names), name, "column of the history")
        return np.asarray([row.get(name, np.nan) for row in self.rows])

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """What `Loop.history` kept, float32 columns by name, beside ``"iteration"``.

        Raises:
            ValueError: the loop keeps no values of steps.
        """
        return _step_values.read(self._columns)

    def plot(
        self, path: str | os.PathLike[str] | None = None, *, metrics: Sequence[str] | None = None
    ) -> Picture:
        """The curves over the epochs, a panel a metric, training beside validation.

        Args:
            path: a PNG, SVG or PDF to write as well.
            metrics: those to draw, as ``["loss"]``; by default all that are numbers.

        Returns:
            the picture, which a notebook shows.

        Raises:
            ValueError: the history is empty, or has none of the metrics.
            ImportError: matplotlib is not installed.
        """
        picture = curves(self.rows, metrics)
        if path is not None:
            picture.save(path)
        return picture

    def __eq__(self, other: object) -> bool:
        return self.rows == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return "\n".join(table_lines(self.names, self.rows)) or "History(empty)"


@dataclass(frozen=True, kw_only=True, repr=False)
class State:
    """A run as it is at one event.

    Handlers borrow it: the step that follows takes the arrays away. `copy` keeps them. ``epoch`` counts
    from 1 and names the epoch in progress or just done; ``iteration`` and ``epoch_iteration`` count
    finished steps over the run and in the epoch. ``memory`` is what the attachments remember, by name,
    ``accumulators`` what the metrics of the epoch are computed from: to go back to a `copy`, put both back.
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
    history: History = field(default_factory=History)
    accumulators: PyTree = None
    status: str = "running"

    def __repr__(self) -> str:
        place = f"epoch {self.epoch}/{self.epochs}, iteration {self.iteration}"
        parts = vars(self.step_state) if isinstance(self.step_state, TrainState | EvalState) else None
        return outline(f"State: {self.status}, {place}", parts or {"step_state": self.step_state})

    @property
    def model_state(self) -> PyTree:
        """The state of the model, in a trainer or evaluator; ``None`` in a loop over a plain step."""
        if isinstance(self.step_state, TrainState | EvalState | PopulationState):
            return self.step_state.model_state
        return None

    @property
    def opt_state(self) -> PyTree:
        """The state of the optimizer, in a trainer; ``None`` in other loops."""
        return self.step_state.opt_state if isinstance(self.step_state, _TRAINED) else None

    def replace(self, **changes: Any) -> State:
        """A copy with parts replaced; ``model_state`` and ``opt_state`` are parts of ``step_state``.

        Raises:
            TypeError: there is no such part.
        """
        parts = {name: changes.pop(name) for name in ("model_state", "opt_state") if name in changes}
        if parts:
            if not isinstance(self.step_state, _TRAINED):
                raise TypeError(
                    f"State.replace: only the state of a trainer has {' and '.join(parts)} to replace"
                )
            changes["step_state"] = changes.get("step_state", self.step_state).replace(**parts)
        return replace(self, **changes)

    def with_metrics(self, **values: Any) -> State:
        """A copy with further metrics, which reach the history too; they last until the epoch ends."""
        return self.replace(metrics=self.metrics.with_values(values))

    @property
    def nonfinite(self) -> int | None:
        """The first step of the epoch, from 1, whose loss was not finite; reading it waits for the device."""
        watch = (self.accumulators or {}).get("nonfinite")
        return None if watch is None else int(jax.device_get(watch)[1]) or None

    def copy(self) -> State:
        """The same state with arrays of its own, which no later step takes away; reads the metrics."""
        values = dict(self.metrics)
        metrics = Metrics(tuple(values), lambda: values, {})
        kept = {"step_state": self.step_state, "accumulators": self.accumulators}
        return self.replace(**copy_arrays(kept), metrics=metrics)


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """What a run returns; its ``repr`` is a short table.

    ``history`` has one row an epoch (epoch, iteration, seconds, loss, metrics, ``validation_*``);
    ``metrics`` are those of the last epoch; ``status`` is ``"completed"``, ``"halted"``,
    ``"interrupted"`` or ``"data_exhausted"``, and ``"exception"`` in the ``result`` of an error that ended a
    run; ``memory`` is what the attachments remember, by name; ``checkpoints`` the folder of checkpoints;
    ``files`` where files are, by what wrote them; ``output`` what the loop's ``output`` function made of the
    last state.
    """

    model_state: PyTree
    step_state: PyTree
    metrics: Mapping[str, float]
    history: History
    epoch: int
    iteration: int
    status: str
    memory: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    checkpoints: Path | None = None
    files: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    output: Any = None

    def plot(
        self, path: str | os.PathLike[str] | None = None, *, metrics: Sequence[str] | None = None
    ) -> Picture:
        """The curves over the epochs: `History.plot`."""
        return self.history.plot(path, metrics=metrics)

    def __repr__(self) -> str:
        return repr(self._sheet)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self._sheet._repr_html_()

    @property
    def _sheet(self) -> Sheet:
        return summary(
            self.status,
            epoch=self.epoch,
            iteration=self.iteration,
            rows=self.history.rows,
            metrics=self.metrics,
            best={},
            files=self.files,
        )

    @property
    def opt_state(self) -> PyTree:
        """The state of the optimizer after a trainer; ``None`` after other loops."""
        return self.step_state.opt_state if isinstance(self.step_state, _TRAINED) else None


def copy_arrays(tree: PyTree) -> PyTree:
    """The tree with every array (and number) as a JAX array that nothing else refers to."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
