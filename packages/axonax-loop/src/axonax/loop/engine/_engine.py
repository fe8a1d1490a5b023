"""The engine: one pass over the epochs that fires events and otherwise leaves the device alone."""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop._events import EVENTS, Control, Halt
from axonax.loop._state import Metrics, Result, State, copy_arrays
from axonax.loop.data._arrays import Reader, sent
from axonax.loop.data._batch import BatchChangedError, check_arrays
from axonax.loop.engine._interrupt import Interrupt
from axonax.loop.engine._job import Job, Owned, Run, answered
from axonax.loop.engine._position import Position
from axonax.loop.engine._schedule import Schedule
from axonax.loop.steps import _program

PyTree = Any
LONGEST = 1024  # steps of a chunk where no handler is due


class Engine:
    """One run of a job: where it stands is a `Position`; what handlers see is an immutable `State`."""

    def __init__(self, job: Job, run: Run, *, donate: bool, watch: bool = False) -> None:
        self._job, self._run, self._donate, self._watch = job, run, donate, watch
        self._reader = Reader(run.data, jax.random.fold_in(run.key, 2), run.epochs, run.steps_per_epoch)
        self._position = Position()
        self._memory = {name: attachment.memory() for name, attachment in job.attached}
        self._history: tuple[Mapping[str, Any], ...] = ()
        self._metrics: Mapping[str, Any] = MappingProxyType({})
        self._extra: Mapping[str, Any] = MappingProxyType({})
        self._status = "running"
        self._interrupt = Interrupt()
        self._schedules: dict[str, Schedule] = {}

    def drive(self) -> Iterator[State]:
        """Run to the end; with ``watch``, yields the state after each step."""
        batches = self._start()
        with contextlib.ExitStack() as opened:
            try:
                self._attach(opened)
                yield from self._epochs(batches)
            except (KeyboardInterrupt, GeneratorExit):
                self._end("interrupted")
                if self._watch:
                    raise
            except BatchChangedError as change:
                where = f"batch {self._position.epoch_iteration} of epoch {self._position.epoch}"
                error = ValueError(f"{where}: {change}")
                self._end("exception")
                raise error from None
            except Exception as error:
                self._end("exception")
                raise error

    def _attach(self, opened: contextlib.ExitStack) -> None:
        """Open what is attached: the handlers of this run, by event."""
        owned = [
            Owned(owner=name, handler=handler)
            for name, attachment in self._job.attached
            for handler in opened.enter_context(attachment.open(self._job, self._run))
        ]
        self._schedules = {
            event: Schedule([each for each in owned if each.handler.event == event]) for event in EVENTS
        }

    def result(self) -> Result:
        """Run to the end; Ctrl-C ends the run after the step in progress."""
        with self._interrupt:
            for _ in self.drive():
                pass
        state = self._state()
        output = self._job.output
        return Result(
            model_state=state.model_state,
            step_state=state.step_state,
            metrics=self._metrics,
            history=self._history,
            epoch=self._position.epoch,
            iteration=self._position.iteration,
            status=self._status,
            output=None if output is None else output(state),
        )

    def _start(self) -> Iterator[Any]:
        """Read the first batch, check it, make the first state and compile for it."""
        batches = iter(self._reader.epoch(1))
        try:
            batch = next(batches)
        except StopIteration:
            raise ValueError("data: the source is empty, it gave no batch in the first epoch") from None
        try:
            self._prepare(batch)
        except (TypeError, ValueError) as error:
            # Subclasses (of JAX, of models) may not be made of one text.
            if type(error) in (TypeError, ValueError):
                raise type(error)(f"batch 0: {error}") from error
            error.add_note("at batch 0")
            raise
        return itertools.chain([batch], batches)

    def _prepare(self, batch: Any) -> None:
        job, recipe = self._job, self._job.recipe
        view = recipe.view(batch)
        if job.compile:
            check_arrays(view)
        step_state = recipe.start(self._run.key, batch, self._run.state)
        recipe.check(batch, step_state)
        self._flushes = recipe.flushes(step_state)
        last = (False,) if self._flushes else ()
        carry, self._constant = recipe.split(step_state)
        self._program = job.compiled(batch, donate=self._donate)
        if job.compile:
            carry = copy_arrays(carry)
        self._fresh = _program.fresh_accumulators(self._program, view, batch, carry, self._constant)
        self._carry = (carry, self._fresh)
        if job.compile:
            self._carry = _program.settle(self._program, self._carry, batch, self._constant, *last)
            self._fresh = self._carry[1]

    def _epochs(self, first: Iterator[Any]) -> Iterator[State]:
        self._fire("started")
        for number in range(1, self._run.epochs + 1):
            if self._position.halt is Halt.LOOP:
                break
            batches = first if number == 1 else iter(self._reader.epoch(number))
            if self._run.steps_per_epoch is not None:
                batches = itertools.islice(batches, self._run.steps_per_epoch)
            if number > 1:
                head = next(batches, None)
                if head is None:
                    self._end("data_exhausted")
                    return
                batches = itertools.chain([head], batches)
            yield from self._one_epoch(number, batches)
        self._end("halted" if self._position.halt is Halt.LOOP else "completed")

    def _one_epoch(self, number: int, batches: Iterator[Any]) -> Iterator[State]:
        began = time.perf_counter()
        self._position, self._extra = self._position.in_epoch(number), MappingProxyType({})
        self._carry = (self._carry[0], copy_arrays(self._fresh))
        for event, schedule in self._schedules.items():
            schedule.restart(self._position.count(event))
        self._fire("epoch_started")
        if self._position.halt is None:
            yield from self._steps(batches)
        state = self._state()
        dict(state.metrics)  # waits for the last step, so that the time is that of the steps
        seconds = time.perf_counter() - began
        ended = "epoch_completed" if self._position.halt is None else "epoch_halted"
        state = self._fire(ended, state)
        self._metrics = MappingProxyType(dict(state.metrics))
        if self._position.epoch_iteration:
            row = {"epoch": number, "iteration": self._position.iteration, "seconds": seconds}
            self._history = (*self._history, {**row, **self._metrics})

    def _steps(self, batches: Iterator[Any]) -> Iterator[State]:
        """The steps of one epoch, in chunks that end where a handler is due."""
        # To know that a batch is the last takes reading one ahead: only for optimizers that ask.
        rows = self._reader.with_last(batches) if self._flushes else zip(batches)
        rows = iter(sent(rows) if self._job.compile else rows)
        for head in rows:
            if self._begins() and self._position.halt is not None:
                return
            self._chunk(itertools.chain([head], itertools.islice(rows, self._room() - 1)))
            if self._position.iteration >= self._schedules["iteration_completed"].due:
                self._fire("iteration_completed")
            if self._interrupt.requested:
                raise KeyboardInterrupt
            if self._watch:
                yield self._state()
            if self._position.halt is not None:
                return

    def _begins(self) -> bool:
        """Fire the start of the next step, if a handler of it is due."""
        if self._position.begun + 1 < self._schedules["iteration_started"].due:
            return False
        self._position = replace(self._position, begun=self._position.begun + 1)
        self._fire("iteration_started")
        return True

    def _room(self) -> int:
        """How many steps may run before a handler is due, the next one included."""
        if self._watch:
            return 1
        starting = self._schedules["iteration_started"].due - self._position.iteration - 1
        completed = self._schedules["iteration_completed"].due - self._position.iteration
        return int(max(1, min(starting, completed, LONGEST)))

    def _chunk(self, rows: Iterator[Any]) -> None:
        """Run the steps of a chunk; a signal ends it early, and the position says how far it came."""
        done, interrupt = 0, self._interrupt
        try:
            for carry in self._program.run(self._carry, rows, self._constant):
                self._carry = carry
                done += 1
                if interrupt.requested:
                    break
        finally:
            iteration = self._position.iteration + done
            begun = max(self._position.begun, iteration)
            self._position = replace(self._position, iteration=iteration, begun=begun)

    def _fire(self, event: str, state: State | None = None) -> State:
        """Run the handlers of an event that are due; the state that they leave behind."""
        self._position = self._position.at(event)
        total, epoch = self._position.count(event), self._position.epoch_count(event)
        state = self._state() if state is None else state.replace(event_counts=self._position.counts)
        schedule = self._schedules.get(event)
        for owned in () if schedule is None else schedule.ready(total, epoch):
            predicate = owned.handler.when.predicate
            if predicate is None or predicate(state, event):
                state = self._call(owned, state)
        self._position = replace(self._position, phase=None)
        return state

    def _call(self, owned: Owned, state: State) -> State:
        """The state that a handler leaves; its memory is kept."""
        where = f'handler "{owned.handler.name}" at {owned.handler.event}'
        try:
            answer = owned.handler.function(state, self._memory[owned.owner])
        except Exception as error:
            error.add_note(f"in {where}, epoch {state.epoch}, iteration {state.iteration}")
            raise
        memory, answer = answered(answer)
        self._remember(owned.owner, memory, where)
        halt = answer.halt if isinstance(answer, Control) else None
        new: State = answer.state if isinstance(answer, Control) else answer or state
        if halt is not None:
            self._position = self._position.halted(halt)
        self._extra = new.metrics.extra
        if new.step_state is not state.step_state:
            new = new.replace(step_state=self._take(new.step_state, state.step_state))
        return new.replace(memory=MappingProxyType(dict(self._memory)))

    def _remember(self, owner: str, memory: PyTree, where: str) -> None:
        """Keep what a handler returned as the memory of its attachment.

        Raises:
            TypeError: it has another structure than before.
        """
        had: Any = jax.tree.structure(self._memory[owner])
        got: Any = jax.tree.structure(memory)
        if had != got:
            raise TypeError(f"{where} must return its memory with the structure {had}, got {got}")
        self._memory[owner] = memory

    def _take(self, new: PyTree, old: PyTree) -> PyTree:
        """Go on with a step state that a handler made; arrays that it may still hold are copied."""
        if self._job.compile:
            own = {id(leaf) for leaf in jax.tree.leaves(old)}
            new = jax.tree.map(lambda leaf: leaf if id(leaf) in own else jnp.array(leaf, copy=True), new)
            if _program.same_structure(new, old):
                new = jax.tree.map(_program.in_dtype, new, old)
        carry, self._constant = self._job.recipe.split(new)
        self._carry = (carry, self._carry[1])
        return new

    def _end(self, event: str) -> None:
        """Fire the one event that ends a run."""
        self._status = event
        state = self._fire(event)
        if event != "exception":
            self._metrics = MappingProxyType(dict(state.metrics))

    def _state(self) -> State:
        carry, accumulators = self._carry
        lost = any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in jax.tree.leaves(self._carry))
        return State(
            epoch=self._position.epoch,
            epochs=self._run.epochs,
            iteration=self._position.iteration,
            epoch_iteration=self._position.epoch_iteration,
            step_state=None if lost else self._job.recipe.join(carry, self._constant),
            metrics=Metrics(
                self._program.names if accumulators and not lost else (),
                functools.partial(self._program.compute, accumulators),
                self._extra,
            ),
            event_counts=self._position.counts,
            memory=MappingProxyType(dict(self._memory)),
            history=self._history,
            status=self._status,
        )
