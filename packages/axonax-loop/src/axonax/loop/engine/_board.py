"""The handlers of a run: which are due at an event, what they answer, what they remember."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax

from axonax.loop._events import EVENTS, Control, Save
from axonax.loop._state import State
from axonax.loop.engine._job import Job, Owned, Run, answered
from axonax.loop.engine._position import Position
from axonax.loop.engine._schedule import Entry, Schedule

PyTree = Any
LOGGER = logging.getLogger("axonax.loop")
LONGEST = 1 << 20  # steps where no handler is due


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the handlers of one event leave behind."""

    state: State
    position: Position
    save: Save | None = None


class Board:
    """The open attachments of one run, with a schedule for each event.

    An event is all or nothing: what its handlers return is kept by the engine when the last has run.
    """

    def __init__(self, job: Job, run: Run, opened: ExitStack) -> None:
        self._lines = {name: str(attachment) for name, attachment in job.attached}
        self._can_save = job.saving is not None
        self._strict, self._waited = run.strict, set[str]()
        owned = [
            Owned(owner=name, handler=handler)
            for name, attachment in job.attached
            for handler in opened.enter_context(attachment.open(job, run))
        ]
        self._schedules = {
            event: Schedule([each for each in owned if each.handler.event == event]) for event in EVENTS
        }
        self.starting, self.completing = (
            self._schedules["iteration_started"],
            self._schedules["iteration_completed"],
        )

    def restart(self, position: Position) -> None:
        """Look again at all filters: an epoch starts, or a run goes on in one."""
        for event, schedule in self._schedules.items():
            steps = event in ("iteration_started", "iteration_completed")
            # An event that a run was left in is fired again; a finished step was counted before it.
            again = int(event == position.phase == "iteration_completed")
            epoch = position.epoch_count(event) if steps else 0
            schedule.restart(position.count(event) - again, epoch - again)

    def room(self, begun: int, iteration: int) -> int:
        """How many steps may run before a handler is due, the next one included."""
        starting = self.starting.due - begun - 1
        return int(max(1, min(starting, self.completing.due - iteration, LONGEST)))

    def wanted(self, iteration: int, before: int) -> Callable[[int], set[int]] | None:
        """After which of so many next steps, by number from 0, a handler reads within the chunk."""
        if not self.completing.reads:
            return None

        def offsets(steps: int) -> set[int]:
            return {count - iteration - 1 for count in self.completing.reading(iteration + steps, before)}

        return offsets

    def serve(self, position: Position, state: State) -> State:
        """Run the handlers that read after a step within a chunk; they leave only their memory."""
        outcome = Outcome(state=state, position=position)
        for entry in self.completing.ready(position.iteration, position.epoch_iteration, within=True):
            outcome = self._called(entry, outcome)
        return outcome.state

    def fire(
        self, event: str, position: Position, state: State, between: Callable[[State], State] | None = None
    ) -> Outcome:
        """Run the handlers of an event that are due: those that act, ``between``, then those that read."""
        ready = self._schedules[event].ready(position.count(event), position.epoch_count(event))
        outcome = Outcome(state=state, position=position)
        for entry in ready:
            if not entry.owned.handler.reads:
                outcome = self._called(entry, outcome)
        if between is not None:
            outcome = Outcome(state=between(outcome.state), position=outcome.position, save=outcome.save)
        for entry in ready:
            if entry.owned.handler.reads:
                outcome = self._called(entry, outcome)
        return outcome

    def _called(self, entry: Entry, before: Outcome) -> Outcome:
        """What is left behind by the handlers so far and one more, if its predicate lets it."""
        owned, state = entry.owned, before.state
        handler = owned.handler
        where = f'handler "{handler.name}" at {handler.event}'
        try:
            if handler.when.predicate is not None and not handler.when.predicate(state, handler.event):
                return before
            self._schedules[handler.event].fired(entry)
            pending = self._strict and _pending(state)
            answer = handler.function(state, state.memory[owned.owner])
            if pending and state.metrics.was_read:
                self._say_waited(where)
        except Exception as error:
            error.add_note(f"in {where}, epoch {state.epoch}, iteration {state.iteration}")
            raise
        memory, answer = answered(answer)
        self._check(memory, state.memory[owned.owner], where)
        new: State = answer.state if isinstance(answer, Control) else answer or state
        new = new.replace(memory=MappingProxyType({**state.memory, owned.owner: memory}))
        ask = answer.ask if isinstance(answer, Control) else None
        position, save = before.position, before.save
        if isinstance(ask, Save):
            if not self._can_save:
                raise ValueError(f"{where} asks for a checkpoint: add .checkpoint(path) to the loop")
            save = Save(best=ask.best or (save is not None and save.best))
        elif ask is not None:
            position = position.halted(ask, self._lines[owned.owner])
        return Outcome(state=new, position=position, save=save)

    def _say_waited(self, where: str) -> None:
        """Say once for each handler that it made the device wait."""
        if where not in self._waited:
            self._waited.add(where)
            LOGGER.warning("strict: %s waited for the device: it reads metrics that are not ready", where)

    def _check(self, memory: PyTree, before: PyTree, where: str) -> None:
        """Raise unless a memory has the structure that it had.

        Raises:
            TypeError: it has another.
        """
        had: Any = jax.tree.structure(before)
        got: Any = jax.tree.structure(memory)
        if had != got:
            raise TypeError(f"{where} must return its memory with the structure {had}, got {got}")


def _pending(state: State) -> bool:
    """Whether the device is still at work on what the metrics are computed from."""
    leaves: list[Any] = jax.tree.leaves(state.accumulators)
    ready = all(leaf.is_ready() for leaf in leaves if hasattr(leaf, "is_ready"))
    return not ready and not state.metrics.was_read
