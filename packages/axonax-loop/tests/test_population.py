"""Many runs as one program: each is what it would be alone, and stops on its own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor.updates import hyperparams

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 3)).astype(np.float32)
Y = (X @ np.array([1.0, 2.0, 3.0], np.float32)).astype(np.float32)
DATA = loop.arrays(X, Y, batch_size=5)


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jax.random.normal(key, (3,))}


def apply(params: Any, x: Any, train: bool = False, key: Any = None) -> jax.Array:
    return (x * jax.random.bernoulli(key, 0.9, x.shape) if train else x) @ params["w"]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


@functools.cache
def trainer() -> loop.Loop:
    optimizer = optax.inject_hyperparams(optax.adam)(0.1)
    return loop.trainer((init, apply), squared, optimizer).metric(squared, "mse").validate([(X, Y)])


RATES = [0.1, 0.05, 0.01]


def alone(seed: int, rate: float) -> loop.Result:
    optimizer = optax.inject_hyperparams(optax.adam)(rate)
    base = loop.trainer((init, apply), squared, optimizer).metric(squared, "mse").validate([(X, Y)])
    return base.run(DATA, epochs=2, key=jax.random.key(seed))


@pytest.mark.parametrize("fuse", [True, False])
def test_each_member_is_what_it_is_alone(fuse: bool) -> None:
    result = trainer().vmap([0, 1, 7], learning_rate=RATES).run(DATA, epochs=2, fuse=fuse)
    np.testing.assert_allclose(hyperparams(result.opt_state)["learning_rate"], RATES)
    for index, (seed, rate) in enumerate(zip([0, 1, 7], RATES, strict=True)):
        single = alone(seed, rate)
        own = loop.member(result.model_state, index)
        np.testing.assert_allclose(own["w"], single.model_state["w"], rtol=2e-6)
        for row, expected in zip(result.history, single.history, strict=True):
            for name in ("loss", "mse", "validation_loss", "validation_mse"):
                np.testing.assert_allclose(row[name][index], expected[name], rtol=1e-5)


def test_each_stops_on_its_own_and_gets_its_best_back() -> None:
    scores = np.array([[3.0, 1, 1], [2, 2, 2], [1, 3, 3], [0, 4, 4], [5, 5, 5], [6, 6, 6]])
    seen: list[Any] = []

    def score(state: loop.State) -> loop.State:
        seen.append((np.asarray(state.step_state.active).tolist(), np.asarray(state.model_state["w"])))
        return state.with_metrics(score=scores[state.epoch - 1])

    base = trainer().on("epoch_completed", score).early_stop("score", patience=2, restore_best=True)
    result = base.vmap(3).run(DATA, epochs=6)
    assert (result.epoch, result.status) == (6, "halted")
    assert [active for active, _ in seen] == [[True] * 3] * 3 + [[True, False, False]] * 3
    weights = [each for _, each in seen]
    np.testing.assert_array_equal(weights[3][1:], weights[2][1:])
    np.testing.assert_array_equal(result.model_state["w"][0], weights[3][0])
    np.testing.assert_array_equal(result.model_state["w"][1:], weights[0][1:])


def test_a_population_is_saved_and_goes_on(tmp_path: Path) -> None:
    base = trainer().early_stop("validation_loss", restore_best=True)
    whole = base.vmap(3).run(DATA, epochs=3)
    saving = base.vmap(3).checkpoint(tmp_path, best="validation_loss")
    saving.max_steps(7).run(DATA, epochs=3)
    again = saving.run(DATA, epochs=3, resume=True)
    np.testing.assert_array_equal(again.model_state["w"], whole.model_state["w"])


def test_a_population_says_what_it_is() -> None:
    assert "members    3, learning_rate 0.01 to 0.1" in str(trainer().vmap(3, learning_rate=RATES))
    keys = jax.random.split(jax.random.key(3), 2)
    assert trainer().vmap(keys).run(DATA).model_state["w"].shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda t: t.vmap(0), ValueError, "needs at least one member"),
        (lambda t: t.vmap("two"), TypeError, "keys must be a number of members, seeds or keys, got str"),
        (
            lambda t: t.vmap(2, learning_rate=[1.0]),
            ValueError,
            r"one value for each of 2 members, got \(1,\)",
        ),
        (lambda t: t.vmap(2).vmap(2), ValueError, "vmap: needs a trainer, this is a population"),
        (lambda t: t.vmap(1, momentum=[0.9]).run(DATA), ValueError, "momentum"),
        (
            lambda t: loop.loop(lambda s, b: s, init=lambda: jnp.zeros(())).vmap(2),
            ValueError,
            "vmap: needs a trainer, this is a loop",
        ),
    ],
)
def test_refusals(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make(trainer())
