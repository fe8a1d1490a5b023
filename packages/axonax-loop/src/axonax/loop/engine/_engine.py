"""The engine: one pass over the epochs that fires events and otherwise leaves the device alone."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop._events import EVENTS, Control, Halt, Handler
from axonax.loop._state import Metrics, Result, State, copy_arrays
from axonax.loop.data._arrays import Reader, sent
from axonax.loop.data._batch import BatchChangedError, check_arrays
from axonax.loop.engine._interrupt import Interrupt
from axonax.loop.engine._job import Job, Run
from axonax.loop.engine._schedule import Schedule
from axonax.loop.steps import _program

PyTree = Any


class Engine:
    """One run of a job. The counters are its own; everything that handlers see is an immutable `State`."""

    def __init__(self, job: Job, run: Run, *, donate: bool, watch: bool = False) -> None:
        self._job, self._run, self._donate, self._watch = job, run, donate, watch
        self._reader = Reader(run.data, jax.random.fold_in(run.key, 2), run.epochs, run.steps_per_epoch)
        self._counts = dict.fromkeys(EVENTS, 0)
        self._epoch = self._iteration = self._epoch_base = self._begun = self._begun_base = 0
        self._halt: Halt | None = None
        self._history: tuple[Mapping[str, Any], ...] = ()
        self._metrics: Mapping[str, Any] = MappingProxyType({})
        self._extra: Mapping[str, Any] = MappingProxyType({})
        self._status = "running"
        self._interrupt = Interrupt()
        self._handlers = [handler for each in job.attached for handler in each.handlers(job, run)]
        self._schedules = {
            event: Schedule([each for each in self._handlers if each.event == event]) for event in EVENTS
        }

    def drive(self) -> Iterator[State]:
        """Run to the end; with ``watch``, yields the state after each step."""
        batches = self._start()
        try:
            yield from self._epochs(batches)
        except (KeyboardInterrupt, GeneratorExit):
            self._end("interrupted")
            if self._watch:
                raise
        except BatchChangedError as change:
            error = ValueError(f"batch {self._iteration - self._epoch_base} of epoch {self._epoch}: {change}")
            self._end("exception")
            raise error from None
        except Exception as error:
            self._end("exception")
            raise error

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
            epoch=self._epoch,
            iteration=self._iteration,
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
            if self._halt is Halt.LOOP:
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
        self._end("halted" if self._halt is Halt.LOOP else "completed")

    def _one_epoch(self, number: int, batches: Iterator[Any]) -> Iterator[State]:
        began = time.perf_counter()
        self._epoch, self._epoch_base, self._begun_base = number, self._iteration, self._begun
        self._halt, self._extra = None, MappingProxyType({})
        self._carry = (self._carry[0], copy_arrays(self._fresh))
        for event, schedule in self._schedules.items():
            schedule.restart(self._count(event))
        self._fire("epoch_started")
        if self._halt is None:
            yield from self._steps(batches)
        state = self._state()
        dict(state.metrics)  # waits for the last step, so that the time is that of the steps
        seconds = time.perf_counter() - began
        ended = "epoch_completed" if self._halt is None else "epoch_halted"
        state = self._fire(ended, state)
        self._metrics = MappingProxyType(dict(state.metrics))
        if self._iteration > self._epoch_base:
            row: dict[str, Any] = {
                "epoch": number,
                "iteration": self._iteration,
                "seconds": seconds,
                **self._metrics,
            }
            self._history = (*self._history, row)

    def _steps(self, batches: Iterator[Any]) -> Iterator[State]:
        """The steps of one epoch: between due handlers a step costs its call and two comparisons."""
        step = self._program.step
        starting, completed = self._schedules["iteration_started"], self._schedules["iteration_completed"]
        interrupt, watch = self._interrupt, self._watch
        # To know that a batch is the last takes reading one ahead: only for optimizers that ask.
        rows = self._reader.with_last(batches) if self._flushes else zip(batches)
        for batch, *last in sent(rows) if self._job.compile else rows:
            self._begun += 1
            if self._begun >= starting.due:
                self._fire("iteration_started")
                if self._halt is not None:
                    return
            self._carry = step(self._carry, batch, self._constant, *last)
            self._iteration += 1
            if self._iteration >= completed.due:
                self._fire("iteration_completed")
            if interrupt.requested:
                raise KeyboardInterrupt
            if watch:
                yield self._state()
            if self._halt is not None:
                return

    def _fire(self, event: str, state: State | None = None) -> State:
        """Run the handlers of an event that are due; the state that they leave behind."""
        if event not in ("iteration_started", "iteration_completed"):
            self._counts[event] += 1
        total, epoch = self._count(event), self._epoch_count(event)
        state = self._state() if state is None else state.replace(event_counts=self._event_counts())
        for handler in self._schedules[event].ready(total, epoch):
            if handler.when.predicate is None or handler.when.predicate(state, event):
                state = self._call(handler, state)
        return state

    def _call(self, handler: Handler, state: State) -> State:
        where = f'handler "{handler.name}" at {handler.event}'
        try:
            answer = handler.function(state)
        except Exception as error:
            error.add_note(f"in {where}, epoch {state.epoch}, iteration {state.iteration}")
            raise
        if isinstance(answer, Control):
            self._halt = answer.halt if self._halt is not Halt.LOOP else self._halt
            answer = answer.state
        if answer is None or answer is state:
            return state
        if not isinstance(answer, State):
            raise TypeError(
                f"{where} must return None, a State or control(HALT_EPOCH or HALT_LOOP, state), "
                f"got {type(answer).__name__}"
            )
        self._extra = answer.metrics.extra
        if answer.step_state is state.step_state:
            return answer
        return answer.replace(step_state=self._take(answer.step_state, state.step_state))

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
            epoch=self._epoch,
            epochs=self._run.epochs,
            iteration=self._iteration,
            epoch_iteration=self._iteration - self._epoch_base,
            step_state=None if lost else self._job.recipe.join(carry, self._constant),
            metrics=Metrics(
                self._program.names if accumulators and not lost else (),
                functools.partial(self._program.compute, accumulators),
                self._extra,
            ),
            event_counts=self._event_counts(),
            history=self._history,
            status=self._status,
        )

    def _event_counts(self) -> Mapping[str, int]:
        return MappingProxyType({event: count for event in EVENTS if (count := self._count(event))})

    def _count(self, event: str) -> int:
        special = {"iteration_started": self._begun, "iteration_completed": self._iteration}
        return special.get(event, self._counts[event])

    def _epoch_count(self, event: str) -> int:
        begun, done = self._begun - self._begun_base, self._iteration - self._epoch_base
        return {"iteration_started": begun, "iteration_completed": done}.get(event, 1)
