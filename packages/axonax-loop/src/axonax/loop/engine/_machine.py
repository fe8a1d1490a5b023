"""What the steps of a run work on: the step state and the accumulators, with the program that moves them."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._state import Metrics, copy_arrays
from axonax.loop.data._batch import check_arrays, check_like, check_weights, count, signature
from axonax.loop.data._reader import ArraysFeed, Feed, sent
from axonax.loop.data._remainder import Padded, padding
from axonax.loop.engine._doctor import origin
from axonax.loop.engine._job import Job, Run
from axonax.loop.steps import _fused, _program

PyTree = Any
Pad = Callable[[PyTree], Padded]
Wanted = Callable[[int], Iterable[int]]


@dataclass(frozen=True, kw_only=True)
class Advance:
    """How many steps were taken, and the metrics after those of them that were wanted, by number from 0."""

    steps: int
    values: Mapping[int, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)


class Machine:
    """The arrays of one run. Steps take them away and give new ones; events only lend them."""

    def __init__(
        self,
        job: Job,
        run: Run,
        key: jax.Array,
        batch: Any,
        *,
        donate: bool,
        resident: Callable[[], PyTree] | None,
        even: bool = False,
    ) -> None:
        """Check the first batch, make the first state and what is compiled for batches like it.

        ``resident`` gives the data that lies on the device; ``None`` where steps are taken one by one.
        ``even`` is data whose batches are known to have the same number of rows.
        """
        recipe = job.recipe
        view = recipe.view(batch)
        if job.compile:
            check_arrays(view)
        if recipe.has_parts and view.weights is not None:
            check_weights(view.weights, "weights")
        step_state = recipe.start(key, batch, run.state)
        recipe.check(batch, step_state)
        self._job = job
        self._flushes = recipe.flushes(step_state)
        last = (False,) if self._flushes else ()
        carry, self._constant = recipe.split(step_state)
        if job.compile:
            carry = copy_arrays(carry)
        batch = self._padded(batch, carry, donate=donate, masks=run.remainder == "mask", even=even)
        view = recipe.view(batch)
        self._program = job.compiled(batch, donate=donate)
        self._fresh = _program.fresh_accumulators(self._program, view, batch, carry, self._constant)
        self._carry = (carry, self._fresh)
        self._plan: _fused.Plan | None = None
        self._data: PyTree = None
        if job.compile:
            settled = _program.settle(self._program, self._carry, batch, self._constant, *last)
            self._carry = settled.carry
            self._fresh = self._carry[1]
            if resident is not None:
                self._plan = _fused.plan(settled.jaxpr, batch, resident=resident)
        if self._plan is not None and self._plan.resident:
            self._data = resident() if resident is not None else None
        self._seen: tuple[Any, Metrics] | None = None
        self._flying: deque[Any] = deque()
        self._usual = _fused.Usual()
        self.newest: tuple[Any, ...] = ()
        self.restart()

    def _padded(self, batch: Any, carry: PyTree, *, donate: bool, masks: bool, even: bool) -> Any:
        """The first batch as steps get it: one that later, smaller ones are filled up to, or as it is."""
        job = self._job
        self._pad: Pad | None = None
        self._pad_rows: Pad | None = None
        if even or not (masks or (job.recipe.pads and job.compile)):
            return batch
        view = job.recipe.view
        like, number = signature(view(batch)), count(view(batch))
        pad = padding(batch, number, lambda other: check_like(like, view(other)))
        first = pad(batch)
        if not masks and not job.pads(first, carry, self._constant, donate=donate):
            return batch
        self._pad, self._pad_rows = pad, padding(np.arange(number), number, lambda rows: None)
        return first

    def restart(self) -> None:
        """Accumulate from nothing: an epoch starts."""
        self._carry = (self._carry[0], copy_arrays(self._fresh))

    def advance(self, feed: Feed | ArraysFeed, room: int, wanted: Wanted | None) -> Advance:
        """Take at most ``room`` steps; ``wanted`` says after which the metrics are wanted."""
        plan = self._plan
        if plan is None:
            rows = self._filled(feed.take(1, tells_last=self._flushes), self._pad)
            self.newest = (self._carry, *rows)
            self._carry = self._program.advance(self._carry, self._sent(rows), self._constant)
            return Advance(steps=len(rows))
        take, pad = feed.take, self._pad
        if self._data is not None and isinstance(feed, ArraysFeed):
            take, pad = feed.take_rows, self._pad_rows
        rows = self._filled(take(min(room, plan.longest), tells_last=self._flushes), pad)
        marked = None if wanted is None else wanted(len(rows))
        whole = not plan.dynamic and len(rows) in self._usual
        start, values = 0, dict[int, Callable[[], Mapping[str, Any]]]()
        while start < len(rows):
            length = len(rows) if whole else plan.length(len(rows) - start)
            piece = rows[start : start + length]
            inside = [number for number in marked or () if start <= number < start + len(piece)]
            mask = None if marked is None else np.isin(np.arange(length) + start, inside)
            count = np.int32(len(piece)) if plan.dynamic else None
            got = self._fused(piece, length, mask, count)
            # Read once for the chunk: slices on the device cost more than the steps.
            fetch = functools.cache(functools.partial(jax.device_get, got))
            values |= {number: functools.partial(_at, fetch, number - start) for number in inside}
            start += len(piece)
        return Advance(steps=len(rows), values=values)

    def _fused(self, rows: list[tuple[Any, ...]], length: int, mask: Any, count: Any) -> Any:
        """Run the steps of rows as one call; the metrics after each that is marked."""
        batches = _fused.stacked([row[0] for row in rows], length)
        last = np.array([row[1] for row in rows] + [False] * (length - len(rows))) if self._flushes else None
        [(batches, last, mask, count)] = self._sent([(batches, last, mask, count)])
        while len(self._flying) > 1:
            self._flying.popleft().block_until_ready()
        fused: Any = self._program.fused
        self._carry, values, token = fused(
            self._carry, batches, self._data, self._constant, last, mask, count
        )
        self._flying.append(token)
        return values

    def diagnosis(self) -> str:
        """Where the newest step got what is not finite, for steps that donate nothing."""
        (carry, _), (batch, *last) = self.newest
        return origin(self._job.recipe.update, carry, batch, self._constant, *last)

    def _filled(self, rows: list[tuple[Any, ...]], pad: Pad | None) -> list[tuple[Any, ...]]:
        """Rows with smaller batches filled up, where that is done."""
        return rows if pad is None else [(pad(batch), *rest) for batch, *rest in rows]

    def _sent(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return sent(rows) if self._job.compile else rows

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
            new = jax.tree.map(lambda leaf: leaf if id(leaf) in own else _copied(leaf), new)
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
        return None if watch is None else int(jax.device_get(watch)[1]) or None

    def restore(self, step_state: PyTree, accumulators: _program.Accumulators) -> None:
        """Go on with what was saved."""
        carry, self._constant = self._job.recipe.split(step_state)
        self._carry = (carry, accumulators)


def _at(fetch: Callable[[], Mapping[str, Any]], index: int) -> Mapping[str, Any]:
    return {name: jax.tree.map(lambda leaf: leaf[index], each) for name, each in fetch().items()}


def _copied(leaf: Any) -> Any:
    return jnp.array(leaf, copy=True) if isinstance(leaf, jax.Array | np.ndarray) else leaf
