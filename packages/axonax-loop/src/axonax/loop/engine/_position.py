"""Where a run stands: one small immutable value, which the engine moves forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from axonax.loop._events import EVENTS, Halt

_STEPS = ("iteration_started", "iteration_completed")


@dataclass(frozen=True, kw_only=True)
class Position:
    """The counts of a run.

    ``begun`` and ``iteration`` count steps begun and finished over the run, ``begun_before`` and
    ``iteration_before`` those of earlier epochs; ``fired`` the other events. ``halt`` is what a handler asked
    to end; ``phase`` is the event whose handlers are running.
    """

    epoch: int = 0
    begun: int = 0
    iteration: int = 0
    begun_before: int = 0
    iteration_before: int = 0
    fired: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    halt: Halt | None = None
    phase: str | None = None

    @property
    def epoch_iteration(self) -> int:
        """How many steps of the epoch are finished."""
        return self.iteration - self.iteration_before

    def count(self, event: str) -> int:
        """How many of these events there were in the run."""
        steps = {"iteration_started": self.begun, "iteration_completed": self.iteration}
        return steps[event] if event in steps else self.fired.get(event, 0)

    def epoch_count(self, event: str) -> int:
        """How many of these events there were in the epoch."""
        steps = {
            "iteration_started": self.begun - self.begun_before,
            "iteration_completed": self.epoch_iteration,
        }
        return steps.get(event, 1)

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of all events that there were."""
        return MappingProxyType({event: count for event in EVENTS if (count := self.count(event))})

    def in_epoch(self, number: int) -> Position:
        """At the start of an epoch."""
        return replace(
            self, epoch=number, begun_before=self.begun, iteration_before=self.iteration, halt=None
        )

    def at(self, event: str) -> Position:
        """While the handlers of an event run; steps count themselves."""
        if event in _STEPS:
            return replace(self, phase=event)
        fired = MappingProxyType({**self.fired, event: self.count(event) + 1})
        return replace(self, phase=event, fired=fired)

    def halted(self, halt: Halt) -> Position:
        """With a halt asked for; that of the loop outweighs that of the epoch."""
        return self if self.halt is Halt.LOOP else replace(self, halt=halt)
