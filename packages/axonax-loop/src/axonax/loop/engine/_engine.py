"""The engine: moves a run from event to event, and leaves the device alone between them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import jax

from axonax.loop._events import Halt, Save
from axonax.loop._state import History, Metrics, Result, State
from axonax.loop._step_values import NAME as COLUMNS
from axonax.loop.checkpoint._store import Loaded
from axonax.loop.data._batch import BatchChangedError
from axonax.loop.engine import _saving
from axonax.loop.engine._board import Board, Outcome
from axonax.loop.engine._doctor import Doctor, NonFiniteError, check_structure
from axonax.loop.engine._job import Job, Run
from axonax.loop.engine._machine import Advance
from axonax.loop.engine._position import ENDED, NEXT_EPOCH, STEPS, Position
from axonax.loop.engine._saving import LOGGER, Snapshot
from axonax.loop.engine._setup import machine_of, prepared, reader_of, restructure
from axonax.loop.engine._signals import Signals, Stopped

PyTree = Any
TERMINATED = 128 + 15
ROW = ("epoch", "iteration", "seconds")


class Engine:
    """One run of a job: where it stands is a `Position`; what handlers see is an immutable `State`."""

    def __init__(self, job: Job, run: Run, *, donate: bool, watch: bool = False) -> None:
        self._job, self._run, self._watch = job, run, watch
        self._donate, self._doctor = donate and not run.strict, Doctor()
        self._signals = run.signals or Signals(terminates=job.saving is not None)
        key = jax.random.key(0) if run.key is None else run.key
        self._position = Position(key=key)
        self._memory: Mapping[str, PyTree] = MappingProxyType(
            {name: attachment.memory() for name, attachment in job.attached}
        )
        self._history: tuple[Mapping[str, Any], ...] = ()
        self._metrics: Mapping[str, Any] = MappingProxyType({})
        self._extra: Mapping[str, Any] = MappingProxyType({})
        self._status = "running"
        self._began = time.perf_counter()
        self._warned = False

    def result(self) -> Result:
        """Run to the end; Ctrl-C ends the run after the step in progress, SIGTERM saves and exits."""
        with self._signals:
            for _ in self.drive():
                pass
        return self._result()

    def drive(self) -> Iterator[State]:
        """Run to the end; with ``watch``, yields the state after each step."""
        run = replace(self._run, signals=self._signals)
        with contextlib.ExitStack() as opened:
            self._store, loaded = opened.enter_context(_saving.opened(self._job, run))
            self._begin(loaded)
            opened.callback(self._reader.close)
            self._board = Board(self._job, run, opened)
            self._board.restart(self._position)
            try:
                yield from self._phases()
            except (KeyboardInterrupt, GeneratorExit, Stopped) as stop:
                if self._run.signals is not None:
                    raise Stopped from stop
                self._interrupted()
                if self._watch and not isinstance(stop, Stopped):
                    raise
            except BatchChangedError as change:
                where = f"batch {self._position.epoch_iteration} of epoch {self._position.epoch}"
                error = ValueError(f"{where}: {change}")
                self._failed(error)
                raise error from None
            except Exception as error:
                self._failed(error)
                raise

    def _begin(self, loaded: Loaded | None) -> None:
        """Read a batch, check it, make the first state and compile for it; go on from a checkpoint."""
        run = self._run
        if loaded is not None:
            self._position = Position.from_json(loaded.document["position"])
            _same_key(run.key, self._position.key)
        position = self._position
        self._reader = reader_of(self._job, run, position.key)
        fused = run.fuse and self._job.recipe.fuses and not (self._watch or run.strict)
        self._feed = self._reader.epoch(
            position.epoch if position.within_epoch else min(position.epoch + 1, run.epochs),
            position.epoch_iteration if position.within_epoch else 0,
            before=position.iteration_before if position.within_epoch else position.iteration,
            place=position.data,
        )
        if self._feed.head is None:
            raise ValueError("data: the source is empty, it gave no batch in the first epoch")
        resident = (lambda: self._reader.resident) if fused else None
        self._machine = machine_of(
            self._job,
            run,
            position.key,
            self._feed.head,
            self._reader,
            donate=self._donate,
            resident=resident,
        )
        self._memory = prepared(self._job, self._memory, self._machine.step_state)
        if loaded is not None:
            self._resume(loaded)

    def _resume(self, loaded: Loaded) -> None:
        """Go on from a checkpoint."""
        restructure(self._job, self._machine, self._position)
        snapshot = _saving.load(loaded, self._job, self._machine, self._memory)
        position, order = snapshot.position, loaded.document["order"]
        if position.within_epoch and order != self._reader.fingerprint(position.epoch):
            raise ValueError(
                f"{loaded.path}: the data comes in another order than when it was saved: other rows, another "
                "batch size or another version of NumPy; resume with what it was started with"
            )
        self._memory, self._history = MappingProxyType(snapshot.memory), snapshot.history
        if self._history:
            last = self._history[-1]
            self._metrics = MappingProxyType({name: last[name] for name in last if name not in ROW})
        lines = {str(attachment) for _, attachment in self._job.attached}
        if position.halt is Halt.LOOP and position.halted_by not in lines:
            LOGGER.warning('resume: the halt by "%s" no longer holds', position.halted_by)
            if position.partial:
                self._history = self._history[:-1]
            position = position.lifted()
        elif position.phase == ENDED and position.halt is None and self._run.epochs > position.epoch:
            position = position.to(NEXT_EPOCH)
        if position.phase == ENDED:
            self._status = "completed" if position.halt is None else "halted"
        self._position = position

    def _phases(self) -> Iterator[State]:
        """From where the run stands to its end."""
        while (phase := self._position.phase) != ENDED:
            if phase == "started":
                self._fire(phase, lambda position: position.to(NEXT_EPOCH))
            elif phase == NEXT_EPOCH:
                self._next_epoch()
            elif phase == "epoch_started":
                self._fire(phase, lambda position: position.to(STEPS))
            elif phase in ("epoch_completed", "epoch_halted"):
                self._close(phase)
            elif phase in (STEPS, "iteration_started", "iteration_completed"):
                yield from self._steps()
            else:
                self._end(phase)

    def _next_epoch(self) -> None:
        """Begin the next epoch, if there is one."""
        position = self._position
        if position.halt is Halt.LOOP:
            self._end("halted")
        elif position.epoch >= self._run.epochs:
            self._end("completed")
        else:
            if self._feed.number != position.epoch + 1:
                self._feed = self._reader.epoch(position.epoch + 1)
            if self._feed.head is None:
                self._end("data_exhausted")
                return
            self._position = position.in_epoch(position.epoch + 1)
            self._extra = MappingProxyType({})
            self._machine.restart()
            self._board.restart(self._position)
            self._began = time.perf_counter()

    def _steps(self) -> Iterator[State]:
        """The steps of one epoch, as many at once as no handler is due."""
        board, feed, signals = self._board, self._feed, self._signals
        if self._position.phase == "iteration_completed":
            self._fire("iteration_completed", _stepping)
        iteration, room = self._position.iteration, 1
        begun = self._position.start_of(0)
        try:
            while self._position.halt is None and feed.ready():
                start = begun + iteration + 1
                if board.starting.wakes(start) and self._position.begun < start:
                    self._position = self._position.stepped(iteration)
                    self._fire("iteration_started", _stepping)
                    if self._position.halt is not None:
                        break
                if not self._watch:
                    room = board.room(begun + iteration, iteration)
                wanted = board.wanted(iteration, self._position.iteration_before)
                advance = self._machine.advance(feed, room, wanted)
                if advance.values:
                    self._serve(iteration, advance)
                iteration += advance.steps
                if self._run.strict:
                    self._doctor.examine(self._machine, self._position.stepped(iteration))
                if board.completing.wakes(iteration):
                    self._position = self._position.stepped(iteration)
                    self._fire("iteration_completed", _stepping)
                if signals.requested:
                    raise KeyboardInterrupt
                if self._watch:
                    self._position = self._position.stepped(iteration)
                    yield self._state()
        finally:
            self._position = self._position.stepped(iteration)
        self._position = self._position.to(self._position.epoch_end)

    def _serve(self, iteration: int, advance: Advance) -> None:
        """Run the handlers that read after steps within a chunk."""
        names, base = tuple(self._machine.metrics({})), self._state().replace(step_state=None)
        for number in sorted(advance.values):
            position = self._position.stepped(iteration + number + 1)
            state = base.replace(
                iteration=position.iteration,
                epoch_iteration=position.epoch_iteration,
                event_counts=position.counts,
                metrics=Metrics(names, advance.values[number], self._extra),
                memory=self._memory,
                history=self._with_columns(self._history),
            )
            self._memory = self._board.serve(position, state).memory

    def _close(self, event: str) -> None:
        """Fire the end of an epoch, and put its row into the history."""
        number, steps = self._position.epoch, self._position.epoch_iteration
        dict(self._state().metrics)  # waits for the last step, so that the time is that of the steps
        seconds = time.perf_counter() - self._began
        self._warn()

        def with_row(state: State) -> State:
            metrics = dict(state.metrics)
            row = {"epoch": number, "iteration": state.iteration, "seconds": seconds, **metrics}
            rows = (*self._history, row) if steps else self._history
            return state.replace(history=self._with_columns(rows))

        def then(position: Position) -> Position:
            self._history = self._state_after.history.rows
            self._metrics = MappingProxyType(dict(self._state_after.metrics))
            return replace(position, phase=NEXT_EPOCH, partial=event == "epoch_halted")

        self._fire(event, then, with_row)

    def _end(self, event: str) -> None:
        """Fire the one event that ends a run."""
        self._status = event
        self._fire(event, lambda position: position.to(ENDED))
        if event != "exception":
            self._metrics = MappingProxyType(dict(self._state_after.metrics))

    def _fire(
        self,
        event: str,
        then: Callable[[Position], Position],
        between: Callable[[State], State] | None = None,
    ) -> None:
        """Run the handlers of an event that are due; keep what they leave, move on, save if one asked."""
        self._position = self._position.to(event)
        position = self._position.at(event)
        before = self._state(position)
        outcome = self._board.fire(event, position, before, between)
        self._keep(before, outcome)
        self._position = then(outcome.position)
        if outcome.save is not None:
            self._save(outcome.save)

    def _keep(self, before: State, outcome: Outcome) -> None:
        """Go on with the state, the memory and the values that the handlers of an event left."""
        after = self._state_after = outcome.state
        if self._run.strict and self._position.epoch > 1 and after.step_state is not before.step_state:
            check_structure(before.step_state, after.step_state, f"a handler at {self._position.phase}")
        self._memory, self._extra = after.memory, after.metrics.extra
        if after.accumulators is not before.accumulators:
            self._machine.accumulate(after.accumulators)
        if after.step_state is not before.step_state:
            self._machine.take(after.step_state, before.step_state)

    def _save(self, save: Save) -> None:
        if self._store is None:
            return
        position = replace(self._position, data=self._feed.place)
        snapshot = Snapshot(position=position, memory=self._memory, history=self._history)
        order = self._reader.fingerprint(position.epoch) if position.within_epoch else None
        _saving.save(self._store, self._job, self._machine, snapshot, order=order, best=save.best)

    def _interrupted(self) -> None:
        """End a run by a signal: what is finished is saved first, where the loop saves at all.

        Raises:
            SystemExit: the signal was SIGTERM.
        """
        if not self._machine.lost:
            self._save(Save())
        self._end("interrupted")
        if self._signals.terminated:
            raise SystemExit(TERMINATED)

    def _failed(self, error: Exception) -> None:
        """Fire the end by an error, and let it carry the state of the last finished step."""
        if isinstance(error, NonFiniteError) and (step := self._machine.nonfinite) is not None:
            explained = self._explained(step)
            if explained:
                error.add_note(f"its batch{explained}")
        self._end("exception")
        if self._machine.lost and self._store is not None:
            error.add_note(f"the state was lost with the step; the last checkpoint is in {self._store.path}")
        with contextlib.suppress(AttributeError):
            error.result = self._result()  # type: ignore[attr-defined]

    def _warn(self) -> None:
        """Say once that a loss was not finite, at which step, and what is wrong with its batch."""
        step = None if self._warned else self._machine.nonfinite
        if step is not None:
            self._warned = True
            position = self._position
            LOGGER.warning(
                "the loss was not finite at step %d of epoch %d (iteration %d)%s",
                step,
                position.epoch,
                position.iteration_before + step,
                self._explained(step),
            )

    def _explained(self, step: int) -> str:
        """What the loss says of the batch of a step of this epoch, after a colon; else nothing."""
        if self._machine.lost:
            return ""
        batch = self._reader.batch(self._position.epoch, step - 1)
        found = None
        if batch is not None:
            found = self._job.recipe.explain(batch, self._machine.step_state, self._job.metrics)
        return "" if found is None else f": {found}"

    def _state(self, position: Position | None = None) -> State:
        position = self._position if position is None else position
        return State(
            epoch=position.epoch,
            epochs=self._run.epochs,
            iteration=position.iteration,
            epoch_iteration=position.epoch_iteration,
            step_state=self._machine.step_state,
            accumulators=self._machine.accumulators,
            metrics=self._machine.metrics(self._extra),
            event_counts=position.counts,
            memory=self._memory,
            history=self._with_columns(self._history),
            status=self._status,
        )

    def _with_columns(self, rows: tuple[Mapping[str, Any], ...]) -> History:
        return History(rows, self._memory.get(COLUMNS))

    def _result(self) -> Result:
        state = self._state()
        output = self._job.output
        return Result(
            model_state=state.model_state,
            step_state=state.step_state,
            metrics=self._metrics,
            history=state.history,
            epoch=self._position.epoch,
            iteration=self._position.iteration,
            status=self._status,
            memory=self._memory,
            checkpoints=None if self._job.saving is None else self._job.saving.path,
            files=MappingProxyType(self._job.files),
            output=None if output is None or self._status == "exception" else output(state),
        )


def _stepping(position: Position) -> Position:
    return position.to(STEPS)


def _same_key(given: jax.Array | None, saved: jax.Array) -> None:
    """Raise unless a run goes on with the key that it was started with.

    Raises:
        ValueError: another key was given.
    """
    if given is None:
        return
    one, other = jax.random.key_data(given), jax.random.key_data(saved)
    if one.shape != other.shape or (one != other).any():
        raise ValueError(f"run: the checkpoint was started with key {other.tolist()}, got {one.tolist()}")
