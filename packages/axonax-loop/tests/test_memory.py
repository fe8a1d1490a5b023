"""What attachments remember is a value in the state, and no variable of a handler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from axonax import loop

DATA = [0, 0, 0]


def counter() -> loop.Loop:
    return loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)


@dataclass(frozen=True)
class Tally:
    """Counts epochs and keeps the largest step state; halts at a limit."""

    limit: int = 100
    name: str = "tally"
    log: list[str] = field(default_factory=list)

    def memory(self) -> Any:
        return {"epochs": 0, "largest": -1.0}

    @contextlib.contextmanager
    def open(self, job: Any, run: Any) -> Iterator[Sequence[loop.Handler]]:
        self.log.append("opened")
        try:
            yield (loop.Handler(event="epoch_completed", function=self.count),)
        finally:
            self.log.append("closed")

    def count(self, state: loop.State, memory: Any) -> Any:
        new = {"epochs": memory["epochs"] + 1, "largest": max(memory["largest"], float(state.step_state))}
        return (new, loop.control(loop.HALT_LOOP, state)) if new["epochs"] == self.limit else new


def test_the_state_shows_what_is_remembered_and_each_run_starts_anew() -> None:
    seen: list[Any] = []
    run = (
        counter().attach(Tally()).on("epoch_completed", lambda state: seen.append(state.memory["tally"])).run
    )
    for _ in range(2):
        run(DATA, epochs=2)
    assert seen == [{"epochs": 1, "largest": 3.0}, {"epochs": 2, "largest": 6.0}] * 2


def test_attachments_of_one_name_remember_each_for_itself() -> None:
    base = counter().attach(Tally()).attach(Tally()).log(to=lambda line: None)
    names: list[Any] = []
    base.on("completed", lambda state: names.append(dict(state.memory))).run(DATA)
    assert list(names[0]) == ["tally", "tally_1", "log", "<lambda>"]
    assert names[0]["log"] == 3


def test_a_handler_returns_its_memory_with_a_control() -> None:
    result = counter().attach(Tally(limit=2)).run(DATA, epochs=5)
    assert (result.status, result.epoch) == ("halted", 2)


@pytest.mark.parametrize("error", [None, ValueError("broken"), KeyboardInterrupt()])
def test_what_is_opened_is_closed_however_the_run_ends(error: BaseException | None) -> None:
    tally = Tally()

    def fail(state: loop.State) -> None:
        assert tally.log == ["opened"]
        if error is not None:
            raise error

    base = counter().attach(tally).on("iteration_completed", fail, once=2)
    with (
        pytest.raises(ValueError, match="broken")
        if isinstance(error, ValueError)
        else contextlib.nullcontext()
    ):
        base.run(DATA)
    assert tally.log == ["opened", "closed"]


@pytest.mark.parametrize("memory", [None, {"epochs": 1}, (1, 2), {"epochs": 1, "largest": (1, 2)}])
def test_a_memory_of_another_structure_is_refused(memory: Any) -> None:
    @dataclass(frozen=True)
    class Forgets(Tally):
        def count(self, state: loop.State, _: Any) -> Any:
            return memory

    message = r'handler "count" at epoch_completed must return its memory with the structure .*largest'
    with pytest.raises(TypeError, match=message):
        counter().attach(Forgets()).run(DATA)


@pytest.mark.parametrize("value", [3, lambda state: None, object()])
def test_what_is_no_attachment_is_refused(value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"attach: needs a value with name, memory\(\) and open\(job, run\), got"
    ):
        counter().attach(value)
