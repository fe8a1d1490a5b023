"""The optimizer of a trainer: several by path, frozen parameters, what is read of it, what is refused."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor.updates import hyperparams

RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-1.0], [2.0]], np.float32) + 1).astype(np.float32)
BATCHES = [(X, Y)] * 4


def init(key: Any) -> dict[str, Any]:
    return {
        "encoder": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)},
        "head": {"kernel": jnp.ones((3, 1)) / 3, "bias": jnp.zeros(1)},
    }


def apply(params: Any, x: Any) -> Any:
    for layer in ("encoder", "head"):
        x = x @ params[layer]["kernel"] + params[layer]["bias"][None]
    return x


def squared(y_true: Any, y_pred: Any) -> Any:
    return ((y_true - y_pred) ** 2).mean(-1)


def trainer(optimizer: Any) -> loop.Loop:
    return loop.trainer((init, apply), squared, optimizer)


def same(one: Any, other: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, other)


def test_the_first_pattern_that_matches_decides() -> None:
    rules = {
        "encoder/bias": optax.sgd(0.5),
        "encoder/**": optax.adam(0.1),
        re.compile("ead"): optax.sgd(0.01),
    }
    result = trainer(rules).run(BATCHES)

    def label(path: Any, leaf: Any) -> str:
        keys = [each.key for each in path]
        return "head" if keys[0] == "head" else "bias" if keys == ["encoder", "bias"] else "encoder"

    labels = jax.tree_util.tree_map_with_path(label, init(None))
    parts = {"bias": optax.sgd(0.5), "encoder": optax.adam(0.1), "head": optax.sgd(0.01)}
    same(result.model_state, trainer(optax.multi_transform(parts, labels)).run(BATCHES).model_state)


def test_none_freezes_and_keeps_nothing() -> None:
    result = trainer({"encoder/**": None, "**": optax.adam(0.1)}).ema(0.9).validate(BATCHES).run(BATCHES)
    same(result.model_state["encoder"], init(None)["encoder"])
    assert float(jnp.abs(result.model_state["head"]["kernel"] - 1 / 3).max()) > 0.1
    moments = [leaf.shape for leaf in jax.tree.leaves(result.opt_state)]
    assert sorted(moments) == [(), (1,), (1,), (3, 1), (3, 1)]
    assert np.isfinite(result.metrics["validation_loss"])


def test_clips_see_trained_parameters_alone() -> None:
    result = trainer({"encoder/**": None, "**": optax.sgd(1.0)}).clip(norm=0.1).run(BATCHES[:1])
    moved = jax.tree.map(lambda new, old: new - old, result.model_state["head"], init(None)["head"])
    length = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(moved)))
    assert length == pytest.approx(0.1, rel=1e-5)


def test_hyperparameters_by_pattern() -> None:
    tuned = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
    result = trainer({"head/**": tuned, "**": optax.sgd(0.1)}).run(BATCHES)
    assert hyperparams(result.opt_state)["head/**"].keys() == {"learning_rate"}


def test_an_optimizer_that_searches_gets_the_loss_of_its_own_parameters() -> None:
    both = trainer({"encoder/**": None, "**": optax.lbfgs()}).run([(X, Y)] * 12)
    assert both.metrics["loss"] < 1.0
    shared = trainer({"encoder/**": optax.sgd(1e-3), "**": optax.lbfgs()}).run([(X, Y)] * 12)
    assert shared.metrics["loss"] < 1.0


def test_accumulated_by_path() -> None:
    rules = {"encoder/**": optax.adam(0.1), "**": optax.sgd(0.1)}
    few = trainer(rules).accumulate(2).run([(X[:8], Y[:8]), (X[8:], Y[8:])])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        few.model_state,
        trainer(rules).run([(X, Y)]).model_state,
    )


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"head/**": "adom"}, r'optimizer "adom"'),
        ({"head/**": optax.sgd(0.1)}, r"no optimizer for encoder/bias, encoder/kernel: add a last pattern"),
        ({"heads/**": optax.sgd(0.1), "**": optax.sgd(0.1)}, r'pattern "heads/\*\*" selects no parameter'),
        ({"heads/**": None, "**": optax.sgd(0.1)}, r'pattern "heads/\*\*" selects no parameter'),
        (
            {"**": optax.sgd(0.1), "head/**": optax.sgd(0.1)},
            r'earlier patterns took all that the pattern "head/\*\*" matches',
        ),
        ({"**": None}, r"a dict of optimizers needs at least one that is not None"),
        ({re.compile("a"): optax.sgd(0.1), "a": optax.sgd(0.1)}, r'two patterns are called "a"'),
    ],
)
def test_refused_rules(rules: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(rules).run(BATCHES)


def test_refused_types() -> None:
    with pytest.raises(TypeError, match=r"keys of a dict of optimizers are patterns of paths, got 3"):
        trainer({3: optax.sgd(0.1)})
    with pytest.raises(
        TypeError, match=r"optimizer must be a name or an Optax pair \(init, update\), got int"
    ):
        trainer({"**": 3})


def test_a_rate_of_nan_is_refused_at_the_start() -> None:
    tuned = optax.inject_hyperparams(optax.sgd)(learning_rate=float("nan"))
    for optimizer in (tuned, {"**": tuned}, optax.chain(optax.clip(1.0), tuned)):
        with pytest.raises(
            ValueError, match=r"trainer: learning_rate of the optimizer must be a number, got n"
        ):
            trainer(optimizer).run(BATCHES)


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        (optax.inject_hyperparams(optax.sgd)(learning_rate=0.25), "inject_hyperparams(learning_rate=0.25)"),
        (optax.chain(optax.clip(1.0), optax.adam(0.1)), "chain(clip, chain(scale_by_adam, scale))"),
        ({"head/**": optax.sgd(0.1), "**": None}, "head/**: chain(identity, scale); **: frozen"),
    ],
)
def test_an_optimizer_is_named_by_what_it_does(optimizer: Any, text: str) -> None:
    assert f"  optimizer  {text}\n" in f"{trainer(optimizer)}\n"
