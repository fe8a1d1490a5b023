"""The order and number of events, and what handlers may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from axonax import loop

pytestmark = pytest.mark.smoke

STEP = ["iteration_started", "iteration_completed"]
EPOCH = ["epoch_started", *STEP, *STEP, "epoch_completed"]


def counter(**options: Any) -> loop.Loop:
    return loop.loop(lambda count, batch: count + 1, init=lambda: 0, **options)


def recorded(base: loop.Loop, seen: list[str]) -> loop.Loop:
    def recorder(event: str) -> Callable[[loop.State], None]:
        return lambda state: seen.append(event)

    for event in loop.EVENTS:
        base = base.on(event, recorder(event))
    return base


@pytest.mark.parametrize("compile", [True, False])
def test_order_of_a_whole_run(compile: bool) -> None:
    seen: list[str] = []
    result = recorded(counter(compile=compile), seen).run([0, 0], epochs=2)
    assert seen == ["started", *EPOCH, *EPOCH, "completed"]
    assert (result.epoch, result.iteration, result.status, int(result.step_state)) == (2, 4, "completed", 4)


def halt_at(event: str, halt: Any, count: int) -> Callable[[loop.State], Any]:
    return lambda state: loop.control(halt, state) if state.event_counts[event] == count else None


@pytest.mark.parametrize(
    ("event", "halt", "count", "expected", "steps"),
    [
        ("iteration_completed", loop.HALT_EPOCH, 1, [*STEP, "epoch_halted", *EPOCH, "completed"], 3),
        ("iteration_completed", loop.HALT_LOOP, 1, [*STEP, "epoch_halted", "halted"], 1),
        (
            "iteration_started",
            loop.HALT_EPOCH,
            2,
            [*STEP, "iteration_started", "epoch_halted", *EPOCH, "completed"],
            3,
        ),
        ("iteration_started", loop.HALT_LOOP, 2, [*STEP, "iteration_started", "epoch_halted", "halted"], 1),
        ("epoch_started", loop.HALT_EPOCH, 1, ["epoch_halted", *EPOCH, "completed"], 2),
        ("epoch_completed", loop.HALT_LOOP, 1, [*STEP, *STEP, "epoch_completed", "halted"], 2),
    ],
)
def test_halts(event: str, halt: Any, count: int, expected: list[str], steps: int) -> None:
    seen: list[str] = []
    result = (
        recorded(counter(compile=False), seen).on(event, halt_at(event, halt, count)).run([0, 0], epochs=2)
    )
    assert seen == ["started", "epoch_started", *expected]
    assert result.iteration == steps
    assert result.status == ("halted" if halt is loop.HALT_LOOP else "completed")


def test_halt_before_the_first_epoch() -> None:
    seen: list[str] = []
    result = (
        recorded(counter(), seen).on("started", lambda state: loop.control(loop.HALT_LOOP, state)).run([0])
    )
    assert seen == ["started", "halted"]
    assert (result.epoch, result.history) == (0, ())


def test_handlers_run_in_the_order_they_were_added_also_after_a_halt() -> None:
    seen: list[str] = []
    base = counter().on("iteration_completed", lambda state: seen.append("first"))
    base = base.on("iteration_completed", lambda state: loop.control(loop.HALT_LOOP, state))
    base.on("iteration_completed", lambda state: seen.append("last")).run([0, 0])
    assert seen == ["first", "last"]


def test_counts_that_handlers_see() -> None:
    seen: list[tuple[str, int, int, int]] = []

    def see(event: str) -> Callable[[loop.State], None]:
        return lambda state: seen.append((event, state.epoch, state.iteration, state.epoch_iteration))

    base = counter()
    for event in ("epoch_started", "iteration_started", "iteration_completed", "epoch_completed"):
        base = base.on(event, see(event))
    base.run([0, 0], epochs=2)
    assert seen == [
        ("epoch_started", 1, 0, 0),
        ("iteration_started", 1, 0, 0),
        ("iteration_completed", 1, 1, 1),
        ("iteration_started", 1, 1, 1),
        ("iteration_completed", 1, 2, 2),
        ("epoch_completed", 1, 2, 2),
        ("epoch_started", 2, 2, 0),
        ("iteration_started", 2, 2, 0),
        ("iteration_completed", 2, 3, 1),
        ("iteration_started", 2, 3, 1),
        ("iteration_completed", 2, 4, 2),
        ("epoch_completed", 2, 4, 2),
    ]


def test_event_counts_after_five_epochs_of_ten() -> None:
    counts: dict[str, int] = {}
    counter().on("completed", lambda state: counts.update(state.event_counts)).run([0] * 10, epochs=5)
    assert counts == {
        "started": 1,
        "epoch_started": 5,
        "iteration_started": 50,
        "iteration_completed": 50,
        "epoch_completed": 5,
        "completed": 1,
    }


def test_a_handler_changes_the_state_of_the_next_step() -> None:
    def double(state: loop.State) -> loop.State:
        return state.replace(step_state=state.step_state * 2)

    result = counter().on("iteration_completed", double, once=2).run([0, 0, 0])
    assert int(result.step_state) == 5


def test_a_handler_can_put_a_python_number_without_a_second_compilation() -> None:
    traces: list[None] = []

    def step(count: Any, batch: Any) -> Any:
        traces.append(None)
        return count + 1

    base = loop.loop(step, init=lambda: 0)
    result = base.on("iteration_completed", lambda state: state.replace(step_state=10), once=1).run([0, 0, 0])
    assert int(result.step_state) == 12
    assert len(traces) <= 2


@pytest.mark.parametrize("answer", [3, "halt", ("halt", None), True])
def test_anything_else_that_a_handler_returns_is_an_error(answer: Any) -> None:
    def handler(state: loop.State) -> Any:
        return answer

    match = (
        'handler "handler" at iteration_completed must return None, a State or control.*got '
        + type(answer).__name__
    )
    with pytest.raises(TypeError, match=match):
        counter().on("iteration_completed", handler).run([0])


def test_exception_event_comes_with_a_state_and_the_error_says_where() -> None:
    seen: list[tuple[int, str]] = []

    def broken(state: loop.State) -> None:
        raise RuntimeError("out of paper")

    base = counter().on("iteration_completed", broken, once=2)
    base = base.on("exception", lambda state: seen.append((int(state.step_state), state.status)))
    with pytest.raises(RuntimeError, match="out of paper") as caught:
        base.run([0, 0, 0])
    assert seen == [(2, "exception")]
    assert caught.value.__notes__ == ['in handler "broken" at iteration_completed, epoch 1, iteration 2']


def test_unknown_event_lists_near_matches() -> None:
    with pytest.raises(
        ValueError, match='unknown event "iteration_complete": did you mean "iteration_completed"'
    ):
        counter().on("iteration_complete", print)


def test_handler_must_be_callable() -> None:
    with pytest.raises(TypeError, match="on: the handler must be a function of the state, got str"):
        counter().on("started", "print")  # type: ignore[arg-type]


def test_control_checks_its_arguments() -> None:
    with pytest.raises(
        TypeError, match="control: the first argument must be HALT_EPOCH, HALT_LOOP or SAVE, got 'stop'"
    ):
        loop.control("stop", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="control: the second argument must be a State, got NoneType"):
        loop.control(loop.HALT_LOOP, None)  # type: ignore[arg-type]


def test_a_loop_is_immutable_and_runs_again() -> None:
    seen: list[str] = []
    base = counter()
    more = base.on("started", lambda state: seen.append("started"))
    base.run([0])
    assert seen == []
    assert int(more.run([0]).step_state) == int(more.run([0]).step_state) == 1
    assert seen == ["started", "started"]
