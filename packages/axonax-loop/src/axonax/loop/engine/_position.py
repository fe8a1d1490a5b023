"""Where a run stands: one small immutable value, which the engine moves forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._events import EVENTS, Halt

_STEPS = ("iteration_started", "iteration_completed")
STEPS, NEXT_EPOCH, ENDED = "steps", "next_epoch", "ended"
_WITHIN = ("epoch_started", STEPS, *_STEPS, "epoch_completed", "epoch_halted")


@dataclass(frozen=True, kw_only=True)
class Position:
    """The counts of a run, and what comes next.

    ``begun`` and ``iteration`` count steps begun and finished over the run, ``begun_before`` and
    ``iteration_before`` those of earlier epochs; ``fired`` the other events. ``phase`` is the event to fire
    next, ``"steps"`` while an epoch goes on, ``"next_epoch"`` between two, ``"ended"`` after the last.
    ``halt`` is what a handler asked to end, ``halted_by`` the attachment of that handler, ``partial``
    whether that left the epoch unfinished. ``data`` is what a source with a place of its own says of it.
    ``key`` is what all randomness of the run is drawn from.
    """

    key: jax.Array
    phase: str = "started"
    epoch: int = 0
    begun: int = 0
    iteration: int = 0
    begun_before: int = 0
    iteration_before: int = 0
    fired: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    halt: Halt | None = None
    halted_by: str | None = None
    partial: bool = False
    data: Any = None

    @property
    def epoch_iteration(self) -> int:
        """How many steps of the epoch are finished."""
        return self.iteration - self.iteration_before

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch is in progress, its first and last events included."""
        return self.phase in _WITHIN or self.partial

    @property
    def epoch_end(self) -> str:
        """The event that ends the epoch."""
        return "epoch_completed" if self.halt is None else "epoch_halted"

    def count(self, event: str) -> int:
        """How many of these events there were in the run."""
        if event in _STEPS:
            return self.begun if event == "iteration_started" else self.iteration
        return self.fired.get(event, 0)

    def epoch_count(self, event: str) -> int:
        """How many of these events there were in the epoch."""
        if event in _STEPS:
            return self.begun - self.begun_before if event == "iteration_started" else self.epoch_iteration
        return 1

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of all events that there were."""
        return MappingProxyType({event: count for event in EVENTS if (count := self.count(event))})

    def to(self, phase: str) -> Position:
        """With another phase."""
        return replace(self, phase=phase)

    def in_epoch(self, number: int) -> Position:
        """At the start of an epoch."""
        return replace(
            self,
            phase="epoch_started",
            epoch=number,
            begun_before=self.begun,
            iteration_before=self.iteration,
            halt=None,
            halted_by=None,
            partial=False,
            data=None,
        )

    def stepped(self, iteration: int) -> Position:
        """With so many steps finished in all."""
        if iteration == self.iteration:
            return self
        begun = max(self.begun, self.start_of(iteration))
        return replace(self, iteration=iteration, begun=begun)

    def start_of(self, iteration: int) -> int:
        """The number of the start of a step of this epoch: steps that a halt stopped at it count too."""
        return iteration - self.iteration_before + self.begun_before

    def at(self, event: str) -> Position:
        """With an event counted; finished steps count themselves."""
        if event == "iteration_started":
            return replace(self, begun=self.begun + 1)
        if event == "iteration_completed":
            return self
        return replace(self, fired=MappingProxyType({**self.fired, event: self.count(event) + 1}))

    def halted(self, halt: Halt, by: str) -> Position:
        """With a halt asked for; that of the loop outweighs that of the epoch."""
        return self if self.halt is Halt.LOOP else replace(self, halt=halt, halted_by=by)

    def lifted(self) -> Position:
        """Without the halt that ended the loop: on in an unfinished epoch, else before the next."""
        on = self.partial or self.phase == "epoch_halted"
        phase = STEPS if on else self.phase if self.phase in _WITHIN else NEXT_EPOCH
        return replace(self, phase=phase, halt=None, halted_by=None, partial=False)

    def to_json(self) -> dict[str, Any]:
        """The position as numbers and text."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain,
            "fired": dict(self.fired),
            "halt": None if self.halt is None else self.halt.value,
            "key": np.asarray(jax.random.key_data(self.key)).tolist(),
            "key_kind": str(jax.random.key_impl(self.key)),
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Position:
        """The position that `to_json` gave."""
        data = jnp.asarray(saved["key"], jnp.uint32)
        return Position(
            **{name: saved[name] for name in _PLAIN},
            fired=MappingProxyType(dict(saved["fired"])),
            halt=None if saved["halt"] is None else Halt(saved["halt"]),
            key=jax.random.wrap_key_data(data, impl=saved["key_kind"]),
        )


_PLAIN = (
    "phase",
    "epoch",
    "begun",
    "iteration",
    "begun_before",
    "iteration_before",
    "halted_by",
    "partial",
    "data",
)
