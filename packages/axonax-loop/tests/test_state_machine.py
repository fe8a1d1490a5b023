"""Events, filters, halts, counts, saves and resumes against a plain model of them."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from axonax import loop
from axonax.loop.engine._engine import Engine

WITHIN = ("iteration_started", "iteration_completed")
FIRED = ("started", "epoch_started", *WITHIN, "epoch_completed", "epoch_halted", "completed", "halted")
ASKS = {"epoch": loop.HALT_EPOCH, "loop": loop.HALT_LOOP, "save": loop.SAVE}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A handler: its event, its filter, what it asks for."""

    event: str
    options: tuple[tuple[str, Any], ...] = ()
    odd: bool = False
    ask: str | None = None

    def fires(self, total: int, epoch: int, iteration: int) -> bool:
        """Whether all conditions hold, each by its definition."""
        for name, count in self.options:
            within, number = (True, count[1]) if isinstance(count, tuple) else (False, count)
            seen = epoch if within else total
            holds = {
                "every": seen % number == 0,
                "after": seen > number,
                "before": seen < number,
                "once": seen == number,
                "first": seen <= number,
            }
            if not holds[name]:
                return False
        return not self.odd or iteration % 2 == 1


@dataclass
class Model:
    """A run as two nested loops."""

    specs: list[Spec]
    epochs: int
    batches: int
    seen: list[Any] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    epoch: int = 0
    iteration: int = 0
    halt: str | None = None

    def run(self) -> list[Any]:
        self.fire("started", 1)
        while self.halt != "loop" and self.epoch < self.epochs:
            self.epoch, self.halt = self.epoch + 1, None
            self.fire("epoch_started", 1)
            self.steps()
            self.fire("epoch_completed" if self.halt is None else "epoch_halted", 1)
        self.fire("halted" if self.halt == "loop" else "completed", 1)
        return self.seen

    def steps(self) -> None:
        for number in range(1, self.batches + 1):
            if self.halt is not None:
                return
            self.fire("iteration_started", number)
            if self.halt is not None:
                return
            self.iteration += 1
            self.fire("iteration_completed", number)

    def fire(self, event: str, in_epoch: int) -> None:
        self.counts[event] += 1
        for number, spec in enumerate(self.specs):
            if spec.event == event and spec.fires(self.counts[event], in_epoch, self.iteration):
                counts = {name: self.counts[name] for name in FIRED if self.counts[name]}
                self.seen.append((number, event, self.epoch, self.iteration, counts))
                if spec.ask in ("epoch", "loop") and self.halt != "loop":
                    self.halt = spec.ask


class Killed(Exception):
    """The run was killed."""


def described(specs: list[Spec], seen: list[Any], kill_at: int | None = None, **options: Any) -> loop.Loop:
    """The loop of these handlers, which note in ``seen`` that they fire; one is killed."""
    base = loop.loop(lambda count, batch: count + 1, init=lambda: jnp.zeros((), jnp.int32), **options)
    for number, spec in enumerate(specs):

        def handler(state: loop.State, number: int = number, spec: Spec = spec) -> Any:
            if kill_at is not None and len(seen) >= kill_at:
                raise Killed
            counts = {name: state.event_counts[name] for name in FIRED if name in state.event_counts}
            seen.append((number, spec.event, state.epoch, state.iteration, counts))
            return None if spec.ask is None else loop.control(ASKS[spec.ask], state)

        odd: Any = (lambda state, event: state.iteration % 2 == 1) if spec.odd else None
        base = base.on(spec.event, handler, filter=odd, **dict(spec.options))
    return base


COUNTS = st.integers(1, 8) | st.tuples(st.just("epoch"), st.integers(1, 5))
NAMES = st.sampled_from(("every", "every", "after", "before", "once", "first"))
# What fires often says more: most handlers have one condition or none.
OPTIONS = st.one_of(
    st.just({}),
    st.dictionaries(st.just("every"), st.integers(1, 3), min_size=1),
    st.dictionaries(NAMES, COUNTS, min_size=1, max_size=2),
)
SPECS = st.lists(
    st.builds(
        lambda event, options, odd, ask: Spec(event=event, options=tuple(options.items()), odd=odd, ask=ask),
        st.sampled_from((*FIRED, *WITHIN, *WITHIN)),
        OPTIONS,
        st.sampled_from((False, False, False, True)),
        st.sampled_from((None, None, None, None, "epoch", "loop", "save", "save")),
    ),
    min_size=2,
    max_size=8,
)
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 8))
QUICK = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def without_saves(specs: list[Spec]) -> list[Spec]:
    return [each if each.ask != "save" else Spec(event=each.event, options=each.options) for each in specs]


def check_events(specs: list[Spec], sizes: tuple[int, int], **options: Any) -> None:
    specs, (epochs, batches) = without_saves(specs), sizes
    model, seen = Model(specs, epochs, batches), []
    expected = model.run()
    result = described(specs, seen, **options).run([np.zeros(1)] * batches, epochs=epochs)
    assert seen == expected
    assert (result.epoch, result.iteration) == (model.epoch, model.iteration)
    assert int(result.step_state) == model.iteration


HALTS = [Spec(event="iteration_completed", options=(("once", 2),), ask=ask) for ask in ("loop", "epoch")]
IN_EPOCH = [
    Spec(event="iteration_completed", options=(("every", ("epoch", 3)),)),
    Spec(event="iteration_completed", options=(("once", 6),), ask="save"),
]


@settings(max_examples=300, **QUICK)
@given(SPECS, SIZES)
@example(HALTS, (2, 3))
def test_events_are_those_of_the_model(specs: list[Spec], sizes: tuple[int, int]) -> None:
    check_events(specs, sizes, compile=False)


@settings(max_examples=8, **QUICK)
@given(SPECS, SIZES)
@example([Spec(event="iteration_completed", options=(("every", 3),))], (3, 5))
def test_fused_they_are_the_same(specs: list[Spec], sizes: tuple[int, int]) -> None:
    check_events(specs, sizes)


def check_resumes(specs: list[Spec], sizes: tuple[int, int], kills: list[int], monkeypatch: Any) -> None:
    """Killed again and again and gone on from the last save, the events are those of a run that was not."""
    epochs, batches = sizes
    expected = Model(specs, epochs, batches).run()
    kept: list[Any] = []
    seen: list[Any] = []
    save = Engine._save

    def noted(self: Any, asked: Any) -> None:
        save(self, asked)
        kept[:] = [*kept[: noted.start], *seen]  # type: ignore[attr-defined]

    monkeypatch.setattr(Engine, "_save", noted)
    with tempfile.TemporaryDirectory() as folder:
        for kill in [*kills, None]:
            noted.start = len(kept)  # type: ignore[attr-defined]
            seen.clear()
            base = described(specs, seen, kill, compile=False)
            base = base.checkpoint(folder, event="interrupted", asynchronous=False)
            with contextlib.suppress(Killed):
                result = base.run([np.zeros(1)] * batches, epochs=epochs, resume=True)
                break
    assert [*kept[: noted.start], *seen] == expected  # type: ignore[attr-defined]
    assert int(result.step_state) == result.iteration


@settings(max_examples=80, **QUICK)
@given(SPECS, SIZES, st.lists(st.integers(0, 25), max_size=3))
@example(IN_EPOCH, (2, 5), [2])
def test_killed_and_resumed_they_are_the_same(
    specs: list[Spec], sizes: tuple[int, int], kills: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check_resumes(specs, sizes, kills, patch)


@pytest.mark.slow
@settings(max_examples=1500, **QUICK)
@given(SPECS, SIZES, st.lists(st.integers(0, 25), max_size=4))
def test_a_thousand_times(specs: list[Spec], sizes: tuple[int, int], kills: list[int]) -> None:
    check_events(specs, sizes, compile=False)
    with pytest.MonkeyPatch.context() as patch:
        check_resumes(specs, sizes, kills, patch)
