"""Facts about Axon's loop, with our own answer where we differ on purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from axonax import loop

FOLDER = Path(os.environ.get("AXONAX_VECTORS", Path(__file__).parents[4] / "shared" / "vectors"))
FILE = FOLDER / "loop.json"
CASES = json.loads(FILE.read_text()) if FILE.exists() else []

pytestmark = pytest.mark.skipif(not CASES, reason="the vectors are not here")


def cases(op: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case.get("op") == op]


def counter() -> loop.Loop:
    return loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)


def seen_events(base: loop.Loop, epochs: int, iterations: int) -> list[str]:
    seen: list[str] = []

    def record(base: loop.Loop, event: str) -> loop.Loop:
        return base.on(event, lambda state: seen.append(event))

    for event in loop.EVENTS:
        base = record(base, event)
    base.run([0] * iterations, epochs=epochs)
    return seen


@pytest.mark.parametrize("case", cases("loop.event_count"))
def test_event_count(case: dict[str, Any]) -> None:
    options = case["kwargs"]
    base = counter()
    if "handler" in options:
        base = base.on("iteration_completed", lambda state: loop.control(loop.HALT_EPOCH, state))
    seen = seen_events(base, options["epochs"], options["iterations"])
    assert seen.count(options["event"]) == case["expected_value"]


@pytest.mark.parametrize("case", cases("loop.event_order"))
def test_event_order(case: dict[str, Any]) -> None:
    seen = seen_events(counter(), case["kwargs"]["epochs"], case["kwargs"]["iterations"])
    # The end of a run is an event of ours; Axon declares it and never fires it.
    assert seen == [*case["expected_value"], "completed"]


def option(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("case", cases("loop.filter"))
def test_filter(case: dict[str, Any]) -> None:
    kwargs = case["kwargs"]
    given = {"always": {}, "first": {"first": True}}.get(str(kwargs["filter"])) or kwargs["filter"]
    options = {name: option(value) for name, value in given.items()} if isinstance(given, dict) else {}
    fired: list[int] = []
    event = kwargs["event"]
    base = counter().on(event, lambda state: fired.append(state.event_counts[event]), **options)
    base.run([0] * kwargs["iterations"], epochs=kwargs["epochs"])
    assert fired == (
        ours(kwargs, options) if "every" in options else case["expected_value"]["fires_at_total_counts"]
    )


def ours(kwargs: dict[str, Any], options: dict[str, Any]) -> list[int]:
    """Every n-th event, the n-th being the first: Axon counts from one event later, so n = 50 logs at 1."""
    length, every = kwargs["iterations"], options["every"]
    counts = range(1, length * kwargs["epochs"] + 1)
    by_epoch = isinstance(every, tuple)
    chosen = [
        n
        for n in counts
        if ((n - 1) % length + 1 if by_epoch else n) % (every[1] if by_epoch else every) == 0
    ]
    return [n for n in chosen if options.get("after", 0) < n < options.get("before", 10**9)]


@pytest.mark.parametrize("case", cases("loop.last_logged_batch"))
def test_last_logged_batch(case: dict[str, Any]) -> None:
    lines: list[int] = []
    kwargs = case["kwargs"]
    base = counter().log(
        lambda state: str(state.epoch_iteration), every=kwargs["log"], to=lambda x: lines.append(int(x))
    )
    base.run([0] * kwargs["iterations"])
    # The last step of an epoch is logged too: the line before it, where Axon ends, is one interval earlier.
    assert lines[-2:] == [case["expected_value"], case["expected_value"] + kwargs["log"]]
