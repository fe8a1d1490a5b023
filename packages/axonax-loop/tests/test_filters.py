"""Filters against the list of counts that each must fire at."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from axonax import loop
from axonax.loop._filters import NEVER, make_filter
from axonax.loop.engine._job import Owned
from axonax.loop.engine._schedule import Schedule

CASES: list[tuple[dict[str, Any], int, int, list[int]]] = [
    ({}, 2, 3, [1, 2, 3, 4, 5, 6]),
    ({"every": 4}, 2, 5, [4, 8]),
    ({"every": 1}, 1, 3, [1, 2, 3]),
    ({"every": ("epoch", 2)}, 3, 5, [2, 4, 7, 9, 12, 14]),
    ({"after": 10}, 2, 7, [11, 12, 13, 14]),
    ({"after": ("epoch", 8)}, 2, 10, [9, 10, 19, 20]),
    ({"before": 4}, 2, 5, [1, 2, 3]),
    ({"before": ("epoch", 3)}, 2, 4, [1, 2, 5, 6]),
    ({"once": 7}, 2, 5, [7]),
    ({"once": ("epoch", 4)}, 3, 10, [4, 14, 24]),
    ({"first": True}, 2, 3, [1]),
    ({"first": 4}, 2, 3, [1, 2, 3, 4]),
    ({"first": ("epoch", 2)}, 2, 3, [1, 2, 4, 5]),
    ({"every": 2, "after": 10, "before": 20}, 5, 10, [12, 14, 16, 18]),
    ({"every": 7, "before": 30}, 4, 10, [7, 14, 21, 28]),
    ({"every": ("epoch", 3), "after": 4}, 2, 7, [6, 10, 13]),
    ({"once": 5, "every": 2}, 1, 10, []),
    ({"once": 4, "after": 4}, 1, 10, []),
    ({"first": False}, 1, 2, [1, 2]),
]


def naive(options: dict[str, Any], total: int, epoch: int) -> bool:
    """The meaning of the options, one count at a time."""

    def pair(name: str) -> tuple[int, int] | None:
        option = options.get(name)
        if option is None or option is False:
            return None
        return (epoch, option[1]) if isinstance(option, tuple) else (total, int(option))

    checks = {
        "every": lambda count, n: count % n == 0,
        "after": lambda count, n: count > n,
        "before": lambda count, n: count < n,
        "once": lambda count, n: count == n,
        "first": lambda count, n: count <= n,
    }
    return all(check(*found) for name, check in checks.items() if (found := pair(name)))


@pytest.mark.parametrize(("options", "epochs", "steps", "expected"), CASES)
def test_fires_at_the_expected_counts(
    options: dict[str, Any], epochs: int, steps: int, expected: list[int]
) -> None:
    fired: list[int] = []
    counter = loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)
    counter.on("iteration_completed", lambda state: fired.append(state.iteration), **options).run(
        [0] * steps, epochs=epochs
    )
    assert fired == expected
    assert fired == [
        (epoch - 1) * steps + step
        for epoch, step in itertools.product(range(1, epochs + 1), range(1, steps + 1))
        if naive(options, (epoch - 1) * steps + step, step)
    ]


@pytest.mark.parametrize(
    "event", ["iteration_started", "iteration_completed", "epoch_started", "epoch_completed"]
)
def test_every_counts_the_events_of_its_own_kind(event: str) -> None:
    fired: list[int] = []
    counter = loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)
    counter.on(event, lambda state: fired.append(state.event_counts[event]), every=2).run([0, 0], epochs=4)
    assert fired == ([2, 4, 6, 8] if event.startswith("iteration") else [2, 4])


@pytest.mark.parametrize(("options", "_epochs", "_steps", "_expected"), CASES)
def test_next_is_the_distance_to_the_next_count_that_fires(
    options: dict[str, Any], _epochs: int, _steps: int, _expected: list[int]
) -> None:
    made = make_filter(**options)
    for total, epoch in [(0, 0), (3, 3), (7, 2), (10, 0), (13, 6)]:
        within = [k for k in range(1, 60) if naive(options, total + k, epoch + k)]
        assert made.next(total, epoch) == (within[0] if within else NEVER)


def test_predicate_is_asked_last_with_state_and_event() -> None:
    asked: list[tuple[int, str]] = []
    fired: list[int] = []

    def odd(state: loop.State, event: str) -> bool:
        asked.append((state.iteration, event))
        return state.iteration % 4 == 0

    counter = loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)
    counter.on("iteration_completed", lambda state: fired.append(state.iteration), every=2, filter=odd).run(
        [0] * 8
    )
    assert asked == [(n, "iteration_completed") for n in (2, 4, 6, 8)]
    assert fired == [4, 8]


def clocked(now: list[float], seconds: float, **options: Any) -> Schedule:
    handler = loop.Handler(
        event="iteration_completed",
        function=print,
        when=make_filter(every=loop.Seconds(seconds), **options),
    )
    return Schedule([Owned(owner="on", handler=handler)], lambda: now[0])


def test_seconds_fire_when_the_time_has_passed_and_stop_no_steps() -> None:
    now = [0.0]
    schedule, fired = clocked(now, 1.0), []
    assert schedule.due == schedule.next == math.inf
    for count in range(1, 10001):
        now[0] = count * 0.001
        if schedule.wakes(count):
            for entry in schedule.ready(count, count):
                schedule.fired(entry)
                fired.append(now[0])
    assert len(fired) == 10
    assert all(1.0 <= late - early < 1.01 for early, late in itertools.pairwise([0.0, *fired]))


def test_a_predicate_that_refuses_does_not_use_up_the_clock() -> None:
    now = [0.0]
    schedule, fired = clocked(now, 10.0), []
    for second in range(1, 30):
        now[0] = float(second)
        if schedule.wakes(second):
            for entry in schedule.ready(second, second):
                if second >= 13:
                    schedule.fired(entry)
                    fired.append(second)
    assert fired == [13, 23]


def test_seconds_go_with_counts() -> None:
    now = [0.0]
    schedule, fired = clocked(now, 2.0, after=5, before=10), []
    for second in range(1, 20):
        now[0] = float(second)
        if schedule.wakes(second):
            for entry in schedule.ready(second, second):
                schedule.fired(entry)
                fired.append(second)
    assert fired == [6, 8]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"every": 0}, ValueError, "every: must be at least 1, got 0"),
        ({"after": -1}, ValueError, "after: must be at least 0, got -1"),
        ({"every": 1.5}, TypeError, r'every: must be an integer n, \("epoch", n\), Seconds\(n\), got 1.5'),
        ({"before": ("run", 3)}, TypeError, r"before: must be an integer n, .*got \('run', 3\)"),
        ({"once": ("epoch", "x")}, TypeError, "once: must be an integer"),
        ({"filter": 3}, TypeError, r"filter: must be a function \(state, event\) -> bool, got int"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make_filter(**options)


def test_seconds_must_be_positive() -> None:
    with pytest.raises(ValueError, match="Seconds: must be above 0, got 0"):
        loop.Seconds(0)
