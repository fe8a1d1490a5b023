"""Several players in one step: each moves by its own objective, and sees where the others are by then."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor.contracts import ModelState

DATA = [np.full((2, 1), 3.0, np.float32)] * 5


def init(key: Any) -> dict[str, Any]:
    return {"first": {"a": jnp.ones(())}, "second": {"b": jnp.full((), 2.0)}}


def first(states: Any, batch: Any) -> Any:
    return (states["first"]["a"] * states["second"]["b"] - batch[:, 0]) ** 2


def second(states: Any, batch: Any, key: Any) -> Any:
    return (states["second"]["b"] + states["first"]["a"]) ** 2 * jnp.ones(len(batch))


def players(**more: Any) -> loop.Loop:
    return loop.trainer(
        objective={"first": first, "second": second},
        init=init,
        optimizer={"first": optax.sgd(0.05), "second": optax.sgd(0.1)},
        **more,
    )


def by_hand(steps: int) -> tuple[float, float, list[float], list[float]]:
    a, b = 1.0, 2.0
    firsts, seconds = [], []
    for _ in range(steps):
        firsts.append((a * b - 3) ** 2)
        a -= 0.05 * 2 * b * (a * b - 3)
        seconds.append((b + a) ** 2)
        b -= 0.1 * 2 * (b + a)
    return a, b, firsts, seconds


@pytest.mark.parametrize("compile", [True, False])
def test_they_move_in_turn(compile: bool) -> None:
    a, b, firsts, seconds = by_hand(5)
    result = players(compile=compile).run(DATA)
    assert float(result.model_state["first"]["a"]) == pytest.approx(a, rel=1e-5)
    assert float(result.model_state["second"]["b"]) == pytest.approx(b, rel=1e-5)
    assert dict(result.metrics) == pytest.approx(
        {
            "loss": np.mean(firsts) + np.mean(seconds),
            "loss_first": np.mean(firsts),
            "loss_second": np.mean(seconds),
        },
        rel=1e-5,
    )


def test_transforms_are_those_of_each() -> None:
    result = players().ema(0.5).clip(norm=0.01).loss_scale("dynamic").run(DATA)
    assert sorted(result.step_state.extras["first"]) == ["ema", "loss_scale", "skipped"]
    # Each player is clipped by itself.
    assert float(result.model_state["first"]["a"]) == pytest.approx(1 + 5 * 0.05 * 0.01, rel=1e-4)
    assert float(result.model_state["second"]["b"]) == pytest.approx(2 - 5 * 0.1 * 0.01, rel=1e-4)


def test_validation_takes_averages() -> None:
    fitting = players().swa()
    seen = [state.model_state for state in fitting.iterate(DATA)]
    means = jax.tree.map(lambda *leaves: float(np.mean(leaves)), *seen)
    keyless = loop.trainer(
        objective={"first": first},
        init=lambda key: {"first": {"a": jnp.ones(())}, "second": {"b": jnp.full((), 2.0)}},
        optimizer={"first": optax.sgd(0.05)},
    )
    result = keyless.swa().validate(DATA).run(DATA)
    held = [each.model_state["first"]["a"] for each in keyless.iterate(DATA)]
    mean = float(np.mean(held))
    assert result.metrics["validation_loss"] == pytest.approx((mean * 2 - 3) ** 2, rel=1e-4)
    extras = fitting.run(DATA).step_state.extras
    assert float(extras["first"]["swa"].average["a"]) == pytest.approx(means["first"]["a"], rel=1e-5)


def test_buffers_and_accumulation() -> None:
    def start(key: Any) -> dict[str, Any]:
        return {"only": ModelState(params={"a": jnp.ones(())}, buffers={"seen": jnp.zeros(())})}

    def objective(states: Any, batch: Any) -> Any:
        own = states["only"]
        return (own.params["a"] - batch[:, 0]) ** 2, {"buffers": {"seen": own.buffers["seen"] + len(batch)}}

    fitting = loop.trainer(objective={"only": objective}, init=start, optimizer={"only": optax.sgd(0.1)})
    result = fitting.accumulate(2).run(DATA)
    assert float(result.model_state["only"].buffers["seen"]) == 10
    expected = 1.0
    for _ in range(3):
        expected -= 0.1 * 2 * (expected - 3)
    assert float(result.model_state["only"].params["a"]) == pytest.approx(expected, rel=1e-5)


def test_goes_on_from_a_state() -> None:
    half = players().ema(0.9).run(DATA[:2])
    rest = players().ema(0.9).run(DATA[2:], half.step_state)
    whole = players().ema(0.9).run(DATA)
    jax.tree.map(np.testing.assert_array_equal, rest.model_state, whole.model_state)
    jax.tree.map(np.testing.assert_array_equal, rest.step_state.extras, whole.step_state.extras)


def test_the_loop_names_them() -> None:
    assert str(players()).splitlines()[:3] == [
        "trainer",
        "  player     first: first, chain(identity, scale)",
        "  player     second: second, chain(identity, scale)",
    ]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"objective": {}}, ValueError, "a dict of objectives needs at least one player"),
        ({"optimizer": optax.sgd(0.1)}, TypeError, "goes with a dict of optimizers by player, got Gradient"),
        (
            {"optimizer": {"first": optax.sgd(0.1)}},
            ValueError,
            'unknown player among the optimizers, "second"',
        ),
        ({"objective": {"first": first}}, ValueError, 'unknown player among the objectives, "second"'),
        ({"objective": {"first": 1, "second": second}}, TypeError, 'objective of "first" must be a function'),
        ({"init": lambda key: jnp.ones(2)}, TypeError, "init must return a dict by player, got ArrayImpl"),
        ({"init": lambda key: {"first": {}}}, ValueError, 'unknown player in what init returns, "second"'),
        (
            {"init": lambda key: {"first": {"a": 1}, "second": {"b": jnp.ones(())}}},
            ValueError,
            "trainer: first: no parameter is trained: none is an array of floats",
        ),
    ],
)
def test_refusals(change: Any, error: type[Exception], message: str) -> None:
    given = {
        "objective": {"first": first, "second": second},
        "init": init,
        "optimizer": {"first": optax.sgd(0.1), "second": optax.sgd(0.1)},
    }
    with pytest.raises(error, match=message):
        loop.trainer(**{**given, **change}).run(DATA)
