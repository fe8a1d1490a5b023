"""What the engine promises: arrays that stay alive, no waiting, Ctrl-C, one compilation."""

from __future__ import annotations

import os
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop import _state
from axonax.loop.engine import _engine

pytestmark = pytest.mark.smoke

X = np.ones((8, 3), np.float32)
Y = np.ones((8,), np.float32)
DATA = [(X, Y)] * 4


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jnp.zeros(3)}


def apply(params: Any, x: Any) -> jax.Array:
    return x @ params["w"]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer() -> loop.Loop:
    return loop.trainer((init, apply), squared, optax.adam(0.1))


def test_the_arrays_of_the_caller_stay_alive() -> None:
    state = init(None, None)
    first = trainer().run(DATA, state)
    second = trainer().run(DATA, first.step_state)
    assert not state["w"].is_deleted()
    assert float(first.model_state["w"][0]) < float(second.model_state["w"][0])


def test_an_init_may_return_arrays_that_are_still_held_or_stand_twice() -> None:
    held = jnp.zeros(3)
    model = (lambda key: {"w": held, "again": held}, lambda params, x: x @ (params["w"] + params["again"]))
    loop.trainer(model, squared, optax.adam(0.1)).run(DATA)
    assert not held.is_deleted()


def test_a_borrowed_state_is_taken_away_and_a_copy_is_not() -> None:
    kept: list[loop.State] = []
    trainer().on("iteration_completed", lambda state: kept.extend([state, state.copy()]), once=1).run(DATA)
    borrowed, copied = kept
    assert borrowed.model_state["w"].is_deleted()
    assert float(copied.model_state["w"][0]) == pytest.approx(0.1, rel=1e-4)
    assert copied.metrics["loss"] == pytest.approx(1.0)


def test_a_copy_put_back_by_a_handler_is_not_taken_away() -> None:
    kept: list[loop.State] = []
    base = trainer().on("iteration_completed", lambda state: kept.append(state.copy()), once=1)
    base = base.on("iteration_completed", lambda state: state.replace(step_state=kept[0].step_state), once=3)
    result = base.run(DATA)
    assert int(result.step_state.iteration) == 2
    assert not kept[0].model_state["w"].is_deleted()


def test_iterate_gives_every_state_to_keep() -> None:
    seen: list[int] = []
    base = trainer().on("iteration_completed", lambda state: seen.append(state.iteration), every=3)
    states = list(base.iterate(DATA, epochs=2))
    assert [state.iteration for state in states] == list(range(1, 9))
    assert [state.epoch for state in states] == [1] * 4 + [2] * 4
    weights = [float(state.model_state["w"][0]) for state in states]
    assert len(set(weights)) == 8
    assert seen == [3, 6]
    final = trainer().run(DATA, epochs=2).model_state["w"]
    np.testing.assert_array_equal(states[-1].model_state["w"], final)


def test_leaving_iterate_early_ends_the_run() -> None:
    seen: list[str] = []
    states = trainer().on("interrupted", lambda state: seen.append(state.status)).iterate(DATA)
    next(states)
    states.close()  # type: ignore[attr-defined]
    assert seen == ["interrupted"]


def test_no_step_waits_for_the_device_but_for_a_due_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    get = jax.device_get

    def counted(tree: Any) -> Any:
        reads.append(1)
        return get(tree)

    base = trainer().metric(squared).on("iteration_completed", lambda state: None)
    base.run(DATA)
    monkeypatch.setattr(_state.jax, "device_get", counted)
    at: list[int] = []

    def read(state: loop.State) -> None:
        at.append(len(reads))
        assert state.metrics["loss"] >= 0

    base.on("iteration_completed", read, every=2).run(DATA, epochs=2)
    # One read by each firing, at the last step of an epoch not again at its end, and that of the NaN watch.
    assert at == [0, 1, 3, 4]
    assert len(reads) <= 7


def test_nothing_happens_in_python_between_due_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    original = _engine.Engine._state

    def counted(self: Any, *position: Any) -> Any:
        made.append(1)
        return original(self, *position)

    monkeypatch.setattr(_engine.Engine, "_state", counted)
    counter = loop.loop(lambda count, batch: count + 1, init=lambda: 0)
    counter.run([X] * 1000)
    quiet = len(made)
    made.clear()
    counter.on("iteration_completed", lambda state: None, every=100).run([X] * 1000)
    assert quiet < 10
    assert len(made) == quiet + 10


def test_one_compilation_for_all_epochs_and_runs() -> None:
    traces: list[int] = []

    def traced(params: Any, x: Any) -> jax.Array:
        traces.append(1)
        return apply(params, x)

    base = loop.trainer((init, traced), squared, optax.adam(0.1)).metric(squared)
    base.run(DATA, epochs=3)
    first = len(traces)
    base.run(DATA, epochs=3)
    # The shape check of a first batch looks at the model without compiling it.
    assert len(traces) - first <= 2


@pytest.mark.parametrize("where", ["data", "handler"])
def test_keyboard_interrupt_returns_the_last_finished_step(where: str) -> None:
    def interrupt(state: Any = None) -> None:
        raise KeyboardInterrupt

    def batches(epoch: int) -> Any:
        yield from DATA[:2]
        interrupt()

    seen: list[int] = []
    base = trainer().on("interrupted", lambda state: seen.append(state.iteration))
    data: Any = batches if where == "data" else DATA
    if where == "handler":
        base = base.on("iteration_completed", interrupt, once=2)
    result = base.run(data)
    assert (result.status, result.iteration, seen) == ("interrupted", 2, [2])
    assert int(result.step_state.iteration) == 2
    assert result.metrics["loss"] > 0


def test_ctrl_c_ends_the_run_between_two_steps() -> None:
    before = signal.getsignal(signal.SIGINT)
    base = trainer().on("iteration_completed", lambda state: os.kill(os.getpid(), signal.SIGINT), once=3)
    result = base.run(DATA, epochs=5)
    assert (result.status, result.iteration) == ("interrupted", 3)
    assert np.isfinite(result.model_state["w"]).all()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_does_not_wait_for_the_step() -> None:
    def impatient(state: loop.State) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal raises")

    result = trainer().on("iteration_started", impatient, once=2).run(DATA)
    assert (result.status, result.iteration) == ("interrupted", 1)


def test_an_exception_inside_a_donated_step_still_gives_handlers_a_state() -> None:
    def fail(value: Any) -> Any:
        if float(value) > 2:
            raise ValueError("no more")
        return value

    def step(total: Any, batch: Any) -> Any:
        return jax.pure_callback(fail, jax.ShapeDtypeStruct((), jnp.float32), total + 1.0)

    def wait(state: loop.State) -> None:
        jax.block_until_ready(state.step_state)

    seen: list[tuple[str, int]] = []
    base = loop.loop(step, init=lambda: jnp.zeros(()))
    base = base.on("exception", lambda state: seen.append((state.status, state.epoch)))
    base = base.on("iteration_completed", wait)
    with pytest.raises(Exception, match="no more"):
        base.run([X] * 5)
    assert seen == [("exception", 1)]


def test_a_state_whose_arrays_are_lost_says_so() -> None:
    seen: list[Any] = []

    def destroy(state: loop.State) -> None:
        state.step_state.delete()
        raise RuntimeError("lost")

    base = loop.loop(lambda total, batch: total + 1, init=lambda: jnp.zeros(())).on(
        "iteration_completed", destroy
    )
    base = base.on(
        "exception", lambda state: seen.append((state.step_state, dict(state.metrics), state.iteration))
    )
    with pytest.raises(RuntimeError, match="lost"):
        base.run([X])
    assert seen == [(None, {}, 1)]


def test_keys_of_the_old_kind() -> None:
    old = trainer().run(loop.arrays(X, Y, batch_size=2, shuffle=True), key=jax.random.PRNGKey(3))
    new = trainer().run(loop.arrays(X, Y, batch_size=2, shuffle=True), key=jax.random.key(3))
    np.testing.assert_array_equal(old.model_state["w"], new.model_state["w"])


def test_a_state_compiled_once_although_its_types_settle() -> None:
    traces: list[int] = []

    def step(total: Any, batch: Any) -> Any:
        traces.append(1)
        return total + batch.sum()

    result = loop.loop(step, init=lambda batch: 0).run([np.ones(2, np.float32)] * 3)
    assert result.step_state.dtype == jnp.float32
    assert len(traces) <= 2
