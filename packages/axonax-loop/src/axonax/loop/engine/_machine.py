"""What the steps of a run work on: the step state and the accumulators, with the program that moves them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop._state import Metrics, copy_arrays
from axonax.loop.data._batch import check_arrays
from axonax.loop.data._reader import Feed, sent
from axonax.loop.engine._job import Job, Run
from axonax.loop.steps import _program

PyTree = Any


class Machine:
    """The arrays of one run. Steps take them away and give new ones; events only lend them."""

    def __init__(self, job: Job, run: Run, key: jax.Array, batch: Any, *, donate: bool) -> None:
        """Check the first batch, make the first state and what is compiled for batches like it."""
        recipe = job.recipe
        view = recipe.view(batch)
        if job.compile:
            check_arrays(view)
        step_state = recipe.start(key, batch, run.state)
        recipe.check(batch, step_state)
        self._job = job
        self._flushes = recipe.flushes(step_state)
        last = (False,) if self._flushes else ()
        carry, self._constant = recipe.split(step_state)
        self._program = job.compiled(batch, donate=donate)
        if job.compile:
            carry = copy_arrays(carry)
        self._fresh = _program.fresh_accumulators(self._program, view, batch, carry, self._constant)
        self._carry = (carry, self._fresh)
        if job.compile:
            self._carry = _program.settle(self._program, self._carry, batch, self._constant, *last)
            self._fresh = self._carry[1]
        self._seen: tuple[Any, Metrics] | None = None
        self.restart()

    def restart(self) -> None:
        """Accumulate from nothing: an epoch starts."""
        self._carry = (self._carry[0], copy_arrays(self._fresh))

    def advance(self, feed: Feed, room: int) -> int:
        """Take at most ``room`` steps, and say how many."""
        rows = feed.take(min(room, self._program.longest), tells_last=self._flushes)
        if self._job.compile:
            rows = sent(rows)
        self._carry = self._program.advance(self._carry, rows, self._constant)
        return len(rows)

    @property
    def lost(self) -> bool:
        """Whether a step that failed took the arrays away."""
        return any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in jax.tree.leaves(self._carry))

    @property
    def step_state(self) -> PyTree:
        """The step state, lent; ``None`` if it is lost."""
        return None if self.lost else self._job.recipe.join(self._carry[0], self._constant)

    @property
    def accumulators(self) -> _program.Accumulators:
        """What the metrics are computed from."""
        return self._carry[1]

    def metrics(self, extra: Mapping[str, Any]) -> Metrics:
        """The metrics so far, computed when they are first read, and those that handlers added."""
        accumulators = self._carry[1]
        if self._seen is None or self._seen[0] is not accumulators:
            names = self._program.names if accumulators and not self.lost else ()
            compute = functools.partial(self._program.compute, accumulators)
            self._seen = (accumulators, Metrics(names, compute, {}))
        return self._seen[1].with_values(extra)

    def take(self, new: PyTree, old: PyTree) -> None:
        """Go on with a step state that a handler made; arrays that it may still hold are copied."""
        if self._job.compile:
            own = {id(leaf) for leaf in jax.tree.leaves(old)}
            new = jax.tree.map(lambda leaf: leaf if id(leaf) in own else jnp.array(leaf, copy=True), new)
            if _program.same_structure(new, old):
                new = jax.tree.map(_program.in_dtype, new, old)
        carry, self._constant = self._job.recipe.split(new)
        self._carry = (carry, self._carry[1])

    def accumulate(self, accumulators: _program.Accumulators) -> None:
        """Go on with accumulators that a handler put back."""
        self._carry = (self._carry[0], copy_arrays(accumulators))

    @property
    def nonfinite(self) -> int | None:
        """The first step of the epoch whose loss was not finite; waits for the device."""
        watch = self._carry[1].get(_program.WATCH)
        return None if watch is None else int(watch[1]) or None

    def restore(self, step_state: PyTree, accumulators: _program.Accumulators) -> None:
        """Go on with what was saved."""
        carry, self._constant = self._job.recipe.split(step_state)
        self._carry = (carry, accumulators)
