"""The trainer and the evaluator against loops written by hand in JAX."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor import trees
from axonax.tensor.contracts import Model, ModelState

pytestmark = pytest.mark.smoke

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 4)).astype(np.float32)
Y = (np.abs(X).sum(-1) > 3).astype(np.int32) + (X[:, 0] > 0)
WEIGHTS = RNG.uniform(0.1, 2, size=22).astype(np.float32)


def init(key: jax.Array, x: Any) -> dict[str, jax.Array]:
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (x.shape[-1], 8)) * 0.5,
        "bias": jnp.zeros(8),
        "out": jax.random.normal(second, (8, 3)) * 0.5,
    }


def apply(params: dict[str, jax.Array], x: Any) -> jax.Array:
    return jnp.tanh(x @ params["hidden"] + params["bias"][None]) @ params["out"]


def cross_entropy(y_true: Any, y_pred: Any) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(y_pred, y_true)


def correct(y_true: Any, y_pred: Any) -> jax.Array:
    return (y_pred.argmax(-1) == y_true).astype(jnp.float32)


def batches(size: int = 8) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(X), size):
        yield X[start : start + size], Y[start : start + size]


def assert_equal(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def by_hand(optimizer: Any, epochs: int) -> tuple[Any, list[float]]:
    """Parameters and the exact mean loss of each epoch, in a jitted loop of Optax's own pattern."""

    @jax.jit
    def step(params: Any, opt_state: Any, x: Any, y: Any) -> Any:
        def objective(params: Any) -> jax.Array:
            return cross_entropy(y, apply(params, x)).mean()

        loss, gradients = jax.value_and_grad(objective)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    params = init(jax.random.fold_in(jax.random.key(0), 0), X)
    opt_state, losses = optimizer.init(params), []
    for _ in range(epochs):
        total = 0.0
        for x, y in batches():
            params, opt_state, loss = step(params, opt_state, x, y)
            total += float(loss) * len(y)
        losses.append(total / len(X))
    return params, losses


def test_a_model_written_by_hand_with_plain_optax_gives_the_same_bits() -> None:
    params, losses = by_hand(optax.adam(1e-2), epochs=3)
    trainer = loop.trainer((init, apply), cross_entropy, optax.adam(1e-2))
    result = trainer.run(list(batches()), epochs=3)
    assert_equal(result.model_state, params)
    np.testing.assert_allclose([row["loss"] for row in result.history], losses, rtol=1e-6)
    assert [(row["epoch"], row["iteration"]) for row in result.history] == [(1, 3), (2, 6), (3, 9)]
    assert all(row["seconds"] > 0 for row in result.history)
    assert result.metrics["loss"] == result.history[-1]["loss"]


def test_metrics_and_validation_leave_the_training_alone() -> None:
    params, _ = by_hand(optax.adam(1e-2), epochs=2)
    trainer = loop.trainer((init, apply), cross_entropy, optax.adam(1e-2)).metric(correct, "accuracy")
    assert_equal(trainer.validate(list(batches(5))).run(list(batches()), epochs=2).model_state, params)


@pytest.mark.parametrize("options", [{"compile": False}, {}])
def test_weighted_loss_is_the_weighted_mean(options: dict[str, bool]) -> None:
    parts = [
        {"inputs": X[i : i + 8], "targets": Y[i : i + 8], "weights": WEIGHTS[i : i + 8]} for i in (0, 8, 16)
    ]
    trainer = loop.trainer((init, apply), cross_entropy, optax.sgd(0.0), **options).metric(
        correct, "accuracy"
    )
    result = trainer.run(parts)
    prediction = apply(result.model_state, X)
    losses, hits = np.asarray(cross_entropy(Y, prediction)), np.asarray(correct(Y, prediction))
    assert result.metrics["loss"] == pytest.approx(np.average(losses, weights=WEIGHTS), rel=1e-6)
    assert result.metrics["accuracy"] == pytest.approx(np.average(hits, weights=WEIGHTS), rel=1e-6)


def test_weighted_gradient() -> None:
    params = init(jax.random.key(1), X)

    def objective(params: Any) -> jax.Array:
        return (cross_entropy(Y, apply(params, X)) * WEIGHTS).sum() / WEIGHTS.sum()

    expected = jax.tree.map(
        lambda param, gradient: param - 0.1 * gradient, params, jax.grad(objective)(params)
    )
    result = loop.trainer((init, apply), cross_entropy, optax.sgd(0.1)).run([(X, Y, WEIGHTS)], params)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), result.model_state, expected
    )


def test_a_scalar_loss_counts_by_its_rows() -> None:
    def mean_loss(y_true: Any, y_pred: Any) -> jax.Array:
        return cross_entropy(y_true, y_pred).mean()

    one = loop.trainer((init, apply), mean_loss, optax.sgd(0.0)).run(list(batches()))
    each = loop.trainer((init, apply), cross_entropy, optax.sgd(0.0)).run(list(batches()))
    assert one.metrics["loss"] == pytest.approx(each.metrics["loss"], rel=1e-6)


def dropout_model() -> Model:
    """A model with every part of a state: trained, frozen, buffers that count, dropout by key."""

    def start(key: jax.Array, x: Any) -> ModelState:
        state = ModelState(params=init(key, x), buffers={"calls": jnp.zeros((), jnp.int32)})
        return state.freeze("bias")

    def run(state: ModelState, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, Any]:
        hidden = jnp.tanh(x @ state.variables["hidden"] + state.variables["bias"][None])
        if train:
            hidden = jnp.where(jax.random.bernoulli(key, 0.5, hidden.shape), hidden * 2, 0)
        return hidden @ state.variables["out"], {"calls": state.buffers["calls"] + train}

    return Model(start, run)


def test_model_state_train_mode_and_keys_by_iteration() -> None:
    model, key = dropout_model(), jax.random.key(7)
    result = loop.trainer(model, cross_entropy, optax.sgd(0.1)).run(list(batches()), epochs=2, key=key)
    state = model.init(jax.random.fold_in(key, 0), X)

    @jax.jit
    def step(params: Any, state: ModelState, x: Any, y: Any, key: Any) -> Any:
        def objective(params: Any) -> Any:
            prediction, buffers = model.apply(state.replace(params=params), x, train=True, key=key)
            return cross_entropy(y, prediction).mean(), buffers

        gradients, buffers = jax.grad(objective, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p + -0.1 * g, params, gradients), buffers

    for iteration, (x, y) in enumerate([*batches(), *batches()]):
        folded = jax.random.fold_in(jax.random.fold_in(key, 1), iteration)
        params, buffers = step(state.params, state, x, y, folded)
        state = state.replace(params=params, buffers=buffers)
    assert_equal(trees.flatten(result.model_state.buffers), trees.flatten(state.buffers))
    assert int(result.model_state.buffers["calls"]) == 6
    assert_equal(result.model_state.frozen, state.frozen)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-6), result.model_state.params, state.params
    )


def test_the_same_program_gives_the_same_run_and_another_key_another() -> None:
    trainer = loop.trainer(dropout_model(), cross_entropy, optax.sgd(0.1))
    data = loop.arrays(X, Y, batch_size=8, shuffle=True)
    one, same, other = (trainer.run(data, key=jax.random.key(seed)).model_state for seed in (0, 0, 1))
    assert_equal(one, same)
    assert_equal(trainer.run(data).model_state, one)
    assert not np.array_equal(one.params["out"], other.params["out"])


def test_going_on_from_a_step_state_is_the_same_as_never_having_stopped() -> None:
    trainer = loop.trainer(dropout_model(), cross_entropy, optax.adam(0.1))
    whole = trainer.run(list(batches()), epochs=2)
    half = trainer.run(list(batches()))
    assert_equal(trainer.run(list(batches()), half.step_state).model_state, whole.model_state)


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_several_inputs(kind: str) -> None:
    def two(params: Any, left: Any, right: Any = None) -> jax.Array:
        left, right = (left["a"], left["b"]) if right is None else (left, right)
        return (left + right) @ params["w"]

    def start(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
        assert len(inputs) == (2 if kind == "tuple" else 1)
        return {"w": jnp.zeros((4, 3))}

    inputs = (X, X) if kind == "tuple" else {"a": X, "b": X}
    result = loop.trainer((start, two), cross_entropy, optax.sgd(0.1)).run([(inputs, Y)])
    assert result.metrics["loss"] == pytest.approx(np.log(3), rel=1e-6)


def test_an_init_that_takes_the_key_alone() -> None:
    model = (lambda key: init(key, X), apply)
    expected = loop.trainer((init, apply), cross_entropy, optax.sgd(0.1)).run(list(batches())).model_state
    assert_equal(
        loop.trainer(model, cross_entropy, optax.sgd(0.1)).run(list(batches())).model_state, expected
    )


def test_anything_that_builds_a_model() -> None:
    class Description:
        def build(self) -> Model:
            return Model(init, apply)

    expected = loop.trainer((init, apply), cross_entropy, optax.sgd(0.1)).run(list(batches())).model_state
    result = loop.trainer(Description(), cross_entropy, optax.sgd(0.1)).run(list(batches()))
    assert_equal(result.model_state, expected)


def test_objective_first() -> None:
    def objective(params: Any, batch: Any) -> Any:
        x, y = batch
        error = x @ params["w"] + params["b"] - y
        return (error**2).mean(), {"y_true": y, "y_pred": x @ params["w"] + params["b"]}

    slope = np.array([1.0, -2.0, 3.0, 0.5], np.float32)
    target = X @ slope + 0.25
    trainer = loop.trainer(
        objective=objective,
        init=lambda key: {"w": jnp.zeros(4), "b": jnp.zeros(())},
        optimizer=optax.adam(0.1),
    )
    trainer = trainer.metric(lambda y_true, y_pred: abs(y_true - y_pred), "error").validate([(X, target)])
    result = trainer.run(loop.arrays(X, target, batch_size=8, shuffle=True), epochs=120)
    np.testing.assert_allclose(result.model_state["w"], slope, atol=1e-2)
    assert result.metrics["validation_loss"] < 1e-3
    assert result.metrics["validation_error"] < 3e-2
    assert result.history[0]["loss"] > result.metrics["loss"]


def test_objective_with_key_train_and_buffers() -> None:
    def objective(state: ModelState, batch: Any, *, key: Any, train: bool) -> Any:
        noise = jax.random.normal(key, ()) if train else jnp.zeros(())
        return (state.params["w"] * noise - batch).mean(), {"buffers": {"noise": noise}}

    def start(key: jax.Array, batch: Any) -> ModelState:
        return ModelState(params={"w": jnp.ones(())}, buffers={"noise": jnp.zeros(())})

    trainer = loop.trainer(objective=objective, init=start, optimizer=optax.sgd(0.0)).validate([np.ones(2)])
    result = trainer.run([np.ones(2, np.float32)])
    expected = jax.random.normal(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), 0), ())
    assert float(result.model_state.buffers["noise"]) == pytest.approx(float(expected))
    assert result.metrics["validation_loss"] == -1


def test_the_weight_of_a_batch_reaches_an_optimizer_that_takes_it() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, weight: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, updates), state + weight

    def total(data: Any) -> float:
        optimizer = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)
        step = loop.train_step(
            (lambda key, x: jnp.zeros(()), lambda params, x: params * x), lambda t, p: (t - p) ** 2, optimizer
        )
        state = step.init(jax.random.key(0), data[0])
        for batch in data:
            state, _ = step.step(state, batch)
        return float(state.opt_state)

    x = jnp.ones(3)
    assert total([(x, x), (x[:2], x[:2])]) == 5
    assert total([(x, x, jnp.array([0.5, 0.0, 2.0])), (x, x, x)]) == 5.5


def test_value_and_value_fn_reach_an_optimizer_that_takes_them() -> None:
    def update(
        updates: Any, state: Any, params: Any = None, *, value: Any, value_fn: Any, **extra: Any
    ) -> Any:
        assert set(extra) == {"grad"}
        return jax.tree.map(jnp.zeros_like, updates), (value, value_fn(params))

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (jnp.zeros(()), jnp.zeros(())), update)
    state = loop.trainer((init, apply), cross_entropy, optimizer).run([(X, Y)]).step_state
    expected = float(cross_entropy(Y, apply(state.model_state, X)).mean())
    assert [float(value) for value in state.opt_state] == pytest.approx([expected, expected], rel=1e-6)


def test_an_optimizer_with_a_line_search() -> None:
    result = loop.trainer((init, apply), cross_entropy, optax.lbfgs()).run([(X, Y)], epochs=15)
    assert result.metrics["loss"] < 0.1


def test_evaluator_reads_the_model_in_inference_mode_and_leaves_it_alone() -> None:
    model = dropout_model()
    state = model.init(jax.random.key(0), X)
    evaluator = loop.evaluator(model, cross_entropy).metric(correct, "accuracy")
    result = evaluator.run(list(batches(5)), state)
    prediction, _ = model.apply(state, X)
    assert result.metrics["accuracy"] == pytest.approx(float(correct(Y, prediction).mean()), rel=1e-6)
    assert result.metrics["loss"] == pytest.approx(float(cross_entropy(Y, prediction).mean()), rel=1e-6)
    assert_equal(result.model_state, state)
    assert "loss" not in loop.evaluator(model).metric(correct).run(list(batches()), state).metrics


def test_validation_sets_under_their_own_prefixes() -> None:
    model = (init, apply)
    trainer = loop.trainer(model, cross_entropy, optax.adam(1e-2)).metric(correct, "accuracy")
    trainer = trainer.validate([(X, Y)]).validate(list(batches(5)), prefix="again")
    result = trainer.run(list(batches()), epochs=2)
    expected = loop.evaluator(model, cross_entropy).run([(X, Y)], result.model_state).metrics["loss"]
    for row in (result.metrics, result.history[-1]):
        assert row["validation_loss"] == pytest.approx(expected, rel=1e-6)
        assert row["again_loss"] == pytest.approx(expected, rel=1e-6)
        assert row["again_accuracy"] == pytest.approx(row["validation_accuracy"], rel=1e-6)
    assert result.history[0]["validation_loss"] != result.history[1]["validation_loss"]


def test_validation_every_second_epoch_is_not_repeated_in_between() -> None:
    trainer = loop.trainer((init, apply), cross_entropy, optax.adam(1e-2)).validate([(X, Y)], every=2)
    history = trainer.run(list(batches()), epochs=3).history
    assert ["validation_loss" in row for row in history] == [False, True, False]


@pytest.mark.parametrize("compile", [True, False])
def test_the_public_steps(compile: bool) -> None:
    start, step = loop.train_step((init, apply), cross_entropy, optax.adam(1e-2))
    if compile:
        step = jax.jit(step, donate_argnums=0)
    state = start(jax.random.key(0), next(batches()))
    for batch in batches():
        state, outputs = step(state, batch)
    trained = loop.trainer((init, apply), cross_entropy, optax.adam(1e-2)).run(list(batches())).model_state
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), state.model_state, trained)
    assert outputs["y_pred"].shape == (6, 3)
    assert set(loop.eval_step((init, apply))(trained, (X, Y))) == {"y_true", "y_pred", "weights"}
    evaluated = loop.eval_step((init, apply), cross_entropy)(trained, (X, Y))
    assert float(evaluated["loss"]) == pytest.approx(
        float(cross_entropy(Y, apply(trained, X)).mean()), rel=1e-6
    )


def test_a_loss_of_nan_goes_on() -> None:
    result = loop.trainer((init, apply), lambda t, p: cross_entropy(t, p) * jnp.nan, optax.sgd(0.1)).run(
        [(X, Y)]
    )
    assert np.isnan(result.metrics["loss"])
    assert result.status == "completed"


def test_output_of_a_plain_loop() -> None:
    total = loop.loop(
        lambda total, batch: total + batch.sum(),
        init=lambda batch: 0.0,
        output=lambda state: float(state.step_state),
    )
    assert total.run([np.ones(3), np.ones(2)]).output == 5.0
    assert float(total.run([np.ones(3)], 10.0).step_state) == 13.0


def test_init_of_a_plain_loop_may_take_a_key() -> None:
    drawn = loop.loop(lambda state, batch: state, init=lambda key, batch: jax.random.normal(key, batch.shape))
    expected = jax.random.normal(jax.random.fold_in(jax.random.key(0), 0), (3,))
    assert_equal(drawn.run([np.ones(3)]).step_state, expected)


def test_a_step_that_is_given_the_batch_first_says_so() -> None:
    init_step, step = loop.train_step((init, apply), cross_entropy, optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"a training step takes \(state, batch\), got tuple as the state"):
        step((X, Y), init_step(jax.random.key(0), (X, Y)))
