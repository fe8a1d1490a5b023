"""The predictions of a pass, fetched from the device as it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._events import Handler
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Run
from axonax.loop.steps._predict import check_output

PyTree = Any
NAME = "predictions"


@dataclass(frozen=True, kw_only=True, eq=False)
class Collected:
    """Rows on the host, and the last batch of them on its way there.

    ``arrays`` have room for more rows than ``count``; what is added later is written behind them.
    """

    structure: Any = None
    arrays: tuple[np.ndarray, ...] = ()
    count: int = 0
    coming: tuple[Sequence[Any], Any] | None = None

    def then(self, output: PyTree, counted: Any) -> Collected:
        """With the rows of one more batch that count."""
        check_output(output, len(counted))
        leaves, structure = jax.tree.flatten(output)
        # The next step takes the arrays away.
        kept = [jnp.copy(leaf) if isinstance(leaf, jax.Array) else np.array(leaf) for leaf in leaves]
        for leaf in kept:
            if isinstance(leaf, jax.Array):
                leaf.copy_to_host_async()
        return replace(self.arrived(), structure=structure, coming=(kept, np.asarray(counted)))

    def arrived(self) -> Collected:
        """With the last batch on the host too."""
        if self.coming is None:
            return self
        leaves, counted = self.coming
        rows = int(counted.sum())
        arrays = self.arrays or tuple(np.empty((0, *leaf.shape[1:]), leaf.dtype) for leaf in leaves)
        stop = self.count + rows
        arrays = tuple(_with_room(array, self.count, stop) for array in arrays)
        for array, leaf in zip(arrays, leaves, strict=True):
            array[self.count : stop] = np.asarray(leaf)[counted]
        return replace(self, arrays=arrays, count=stop, coming=None)

    @property
    def tree(self) -> PyTree:
        """All rows, in order, in the structure of the model's output; ``None`` of no batch."""
        done = self.arrived()
        if done.structure is None:
            return None
        return done.structure.unflatten([array[: done.count] for array in done.arrays])

    def __repr__(self) -> str:
        coming = 0 if self.coming is None else int(self.coming[1].sum())
        return f"Collected({self.count + coming} rows)"


def _with_room(array: np.ndarray, count: int, needed: int) -> np.ndarray:
    if len(array) >= needed:
        return array
    larger = np.empty((max(needed, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[:count] = array[:count]
    return larger


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Takes what each step of a predictor leaves."""

    @property
    def name(self) -> str:
        """``"predictions"``."""
        return NAME

    def memory(self) -> Collected:
        """No rows yet."""
        return Collected()

    def open(self, job: Job, run: Run) -> contextlib.AbstractContextManager[Sequence[Handler]]:
        """The handler of one run."""

        def collect(state: State, collected: Collected) -> Collected:
            return collected.then(state.step_state.output, state.step_state.counted)

        return contextlib.nullcontext((Handler(event="iteration_completed", function=collect),))

    def __str__(self) -> str:
        return "output     predictions of all rows"
