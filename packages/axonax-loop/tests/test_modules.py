"""Parameters with leaves that are no arrays: they stay what they are, and nothing compiles twice for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.steps._leaves import divide, joined, part
from axonax.tensor.contracts import ModelState

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
Y = (X.sum(-1) * 2).astype(np.float32)
DATA = loop.arrays(X, Y, batch_size=2)
TRACED = []


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Module:
    """A module all of whose fields are leaves, as Equinox has them."""

    kernel: Any
    bias: Any
    activation: Callable[..., Any]
    name: str
    rate: float
    inference: bool
    steps: Any
    table: Any

    def __call__(self, x: Any) -> Any:
        TRACED.append(x.shape)
        assert isinstance(self.rate, float)
        assert isinstance(self.inference, bool)
        assert self.name == "linear"
        return self.activation(x @ self.kernel + self.bias * self.rate)


def identity(x: Any) -> Any:
    return x


def make(key: Any = None) -> Module:
    return Module(
        jnp.ones(2), jnp.ones(()), identity, "linear", 0.5, True, jnp.arange(3), np.arange(2, dtype=np.int64)
    )


def call(module: Module, x: Any) -> Any:
    return module(x)


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer(**more: Any) -> loop.Loop:
    return loop.trainer((make, call), squared, optax.adam(0.1), **more)


def test_a_whole_module_trains_and_comes_back_whole() -> None:
    result = trainer().run(DATA, epochs=100)
    module = result.model_state
    assert result.metrics["loss"] < 1e-2
    assert (module.activation, module.name, module.rate, module.inference) == (identity, "linear", 0.5, True)
    np.testing.assert_array_equal(module.steps, np.arange(3))
    np.testing.assert_allclose(module(X), Y, atol=0.2)
    # The optimizer keeps moments of the two arrays of floats alone.
    assert sorted(leaf.shape for leaf in jax.tree.leaves(result.opt_state)) == [(), (), (), (2,), (2,)]


def test_nothing_is_traced_again() -> None:
    fitting = trainer()
    fitting.run(DATA, epochs=2)
    TRACED.clear()
    fitting.run(DATA, epochs=2)
    assert TRACED == []


@pytest.mark.parametrize("compile", [True, False])
def test_all_that_a_trainer_does(compile: bool) -> None:
    fitting = trainer(compile=compile).ema(0.9).skip_nonfinite().accumulate(2).validate(DATA)
    result = fitting.run(DATA, epochs=3)
    assert np.isfinite(result.metrics["validation_loss"])
    went_on = fitting.run(DATA, result.step_state)
    assert went_on.model_state.activation is identity
    evaluated = loop.evaluator((make, call), squared).run(DATA, result.model_state)
    assert evaluated.metrics["loss"] == pytest.approx(
        float(np.mean(squared(Y, result.model_state(X)))), rel=1e-5
    )


def test_a_handler_may_change_it() -> None:
    def reset(state: loop.State) -> loop.State:
        return state.replace(model_state=replace(state.model_state, bias=jnp.zeros(()), rate=0.25))

    result = trainer().on("epoch_started", reset).run(DATA)
    assert result.model_state.rate == 0.25


def test_it_comes_back_from_a_checkpoint(tmp_path: Any) -> None:
    saved = trainer().checkpoint(tmp_path)
    saved.run(DATA, epochs=1)
    resumed = saved.run(DATA, epochs=2, resume=True)
    whole = trainer().run(DATA, epochs=2)
    np.testing.assert_array_equal(resumed.model_state.kernel, whole.model_state.kernel)
    assert resumed.model_state.activation is identity


def test_as_an_objective_and_within_a_model_state() -> None:
    def objective(module: Module, batch: Any) -> Any:
        return squared(batch[1], module(batch[0]))

    result = loop.trainer(objective=objective, init=make, optimizer=optax.adam(0.1)).run(DATA, epochs=50)
    assert result.metrics["loss"] < 0.1

    def applied(state: ModelState, x: Any) -> Any:
        return state.params(x), {"seen": state.buffers["seen"] + 1}

    def init(key: Any) -> ModelState:
        return ModelState(params=make(), buffers={"seen": jnp.zeros(())})

    held = loop.trainer((init, applied), squared, optax.adam(0.1)).run(DATA, epochs=2).model_state
    assert float(held.buffers["seen"]) == 6
    assert held.params.name == "linear"


def test_numbers_in_plain_containers_are_parameters() -> None:
    fitting = loop.trainer(
        (lambda key: {"w": jnp.ones(2), "b": 0.0}, lambda params, x: x @ params["w"] + params["b"]),
        squared,
        optax.sgd(0.1),
    )
    assert float(fitting.run([(X, Y + 1)]).model_state["b"]) != 0
    params = {"w": np.ones(2), "b": 0.0, "n": 3, "module": make()}
    # The bias and the kernel of the module, but not its rate.
    assert [jnp.shape(leaf) for leaf in jax.tree.leaves(divide(params).free(params))] == [(), (2,), (), (2,)]


def test_what_cannot_be_compared_is_not_the_same() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise TypeError

        __hash__ = None  # type: ignore[assignment]

    odd, tree = Odd(), {"w": jnp.ones(1)}
    one, two = part({**tree, "odd": odd})[1], part({**tree, "odd": odd})[1]
    assert one == two
    assert hash(one) == hash(two)
    assert one != part({**tree, "odd": Odd()})[1]
    assert joined(*part({**tree, "odd": odd}))["odd"] is odd


def test_nothing_to_train_is_refused() -> None:
    model = (lambda key: {"n": jnp.arange(2)}, lambda params, x: x[:, 0])
    with pytest.raises(ValueError, match=r"trainer: no parameter is trained: none is an array of floats"):
        loop.trainer(model, squared, optax.sgd(0.1)).run(DATA)
