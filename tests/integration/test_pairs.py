"""Each pair of packages, meeting through plain values and the contracts alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import functional as F
from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor.contracts import ModelState


def blobs(rows=96, features=5, classes=3):
    """Separable points around one centre a class."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows).astype(np.int32)
    centres = random.normal(size=(classes, features)) * 2
    return (centres[labels] + random.normal(size=(rows, features))).astype(np.float32), labels


def linear_init(key):
    return {"kernel": jax.random.normal(key, (5, 3)) * 0.1, "bias": jnp.zeros(3)}


def linear_apply(params, inputs):
    return jax.nn.softmax(inputs @ params["kernel"] + params["bias"])


def classifier():
    return nn.input("x", (None, 5)) | nn.dense(8, activation="tanh") | nn.dense(3, activation="softmax")


def test_graph_and_functional_give_a_loss_and_its_gradient(everywhere):
    x, y = blobs()
    init, apply = nn.build(classifier())

    def compute():
        state = init(jax.random.key(0), x)

        def objective(params):
            prediction, _ = apply(state.replace(params=params), x)
            return F.losses.categorical_cross_entropy(y, prediction, reduction="mean")

        return jax.value_and_grad(objective)(state.params)

    value, gradients = everywhere(compute)
    assert jax.tree.structure(gradients) == jax.tree.structure(init(jax.random.key(0), x).params)
    probabilities = np.asarray(nn.predict(classifier(), init(jax.random.key(0), x), x), np.float64)
    assert value == pytest.approx(-np.log(probabilities[np.arange(len(y)), y]).mean(), rel=1e-5)


def test_graph_and_optim_in_a_hand_written_loop(everywhere):
    x, y = blobs()
    init, apply = nn.build(classifier())
    optimizer = optim.adamw(0.05)

    def compute():
        state = init(jax.random.key(0), x)
        opt_state = optimizer.init(state.params)

        @jax.jit
        def step(params, opt_state):
            def objective(params):
                prediction, _ = apply(state.replace(params=params), x)
                return -jnp.log(jnp.take_along_axis(prediction, y[:, None], -1)).mean()

            value, gradients = jax.value_and_grad(objective)(params)
            updates, opt_state = optimizer.update(gradients, opt_state, params)
            return optim.apply_updates(params, updates), opt_state, value

        params, values = state.params, []
        for _ in range(30):
            params, opt_state, value = step(params, opt_state)
            values.append(value)
        return jnp.stack(values)

    values = everywhere(compute)
    assert values[-1] < 0.2 * values[0]


def test_graph_and_loop_with_a_plain_optax_optimizer_and_a_plain_loss(everywhere):
    data = loop.arrays(*blobs(), batch_size=32)

    def compute():
        trainer = loop.trainer(classifier(), lambda y, p: -jnp.log(p[jnp.arange(len(y)), y]), optax.sgd(0.1))
        return trainer.run(data, epochs=2).model_state.params

    params = everywhere(compute)
    assert sorted(params) == ["dense_0", "dense_1"]


def test_functional_and_loop_with_a_hand_written_model(everywhere):
    x, y = blobs()

    def compute():
        trainer = loop.trainer(
            (linear_init, linear_apply), F.losses.categorical_cross_entropy, optax.adam(0.05)
        ).metric(F.metrics.accuracy(), name="right")
        return trainer.run(loop.arrays(x, y, batch_size=32), epochs=3).history

    history = everywhere(lambda: [{k: v for k, v in e.items() if k != "seconds"} for e in compute()])
    assert history[-1]["right"] > history[0]["right"]


def test_functional_and_optim_solve_logistic_regression_as_scikit_learn_does():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = blobs()
    penalty = 1e-2

    def objective(params):
        logits = x @ params["kernel"] + params["bias"]
        data_term = F.losses.categorical_cross_entropy(y, logits, from_logits=True, reduction="mean")
        return data_term + penalty / 2 * jnp.sum(params["kernel"] ** 2)

    start = {"kernel": jnp.zeros((5, 3)), "bias": jnp.zeros(3)}
    result = optim.minimize(objective, start, "adam", max_steps=20_000, tolerance=1e-5)
    logistic = linear_model.LogisticRegression(C=1 / (penalty * len(x)), tol=1e-10, max_iter=10_000)
    reference = logistic.fit(x, y)
    assert result.converged, result.reason
    np.testing.assert_allclose(result.x["kernel"], reference.coef_.T, atol=2e-3)


def test_optim_and_loop_with_an_objective_instead_of_a_model(everywhere):
    x, _ = blobs()
    target = x @ np.arange(5, dtype=np.float32)

    def objective(params, batch):
        inputs, targets = batch
        return jnp.mean((inputs @ params - targets) ** 2)

    def compute():
        trainer = loop.trainer(objective=objective, init=lambda key: jnp.zeros(5), optimizer=optim.adam(0.1))
        return trainer.run(loop.arrays(x, target, batch_size=96), epochs=400).model_state

    np.testing.assert_allclose(everywhere(compute), np.arange(5), atol=1e-2)


def test_our_optimizer_in_the_loop_equals_a_hand_written_optax_loop(everywhere):
    x, y = blobs()

    def by_hand():
        params = linear_init(jax.random.key(1))
        optimizer = optax.adamw(0.01, weight_decay=0.01)
        opt_state = optimizer.init(params)
        for start in range(0, 96, 32):
            part = slice(start, start + 32)

            def objective(params, part=part):
                picked = jnp.take_along_axis(linear_apply(params, x[part]), y[part][:, None], -1)
                return -jnp.log(picked).mean()

            updates, opt_state = optimizer.update(jax.grad(objective)(params), opt_state, params)
            params = optax.apply_updates(params, updates)
        return params

    def in_the_loop():
        trainer = loop.trainer(
            (linear_init, linear_apply), "categorical_cross_entropy", optim.adamw(0.01, weight_decay=0.01)
        )
        start = linear_init(jax.random.key(1))
        return trainer.run(loop.arrays(x, y, batch_size=32), start).model_state

    expected, got = by_hand(), everywhere(in_the_loop)
    assert jax.tree.structure(expected) == jax.tree.structure(got)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, expected)


def test_micro_batches_in_the_loop_weigh_as_much_as_they_hold(everywhere):
    """Parts of unequal weights and a small last one: a step a pass equals the step on all at once."""
    x, y = blobs()
    weights = np.random.default_rng(2).integers(0, 3, len(x)).astype(np.float32)
    start, cuts = linear_init(jax.random.key(1)), (0, 40, 80, 96)
    parts = [(x[a:b], y[a:b], weights[a:b]) for a, b in itertools.pairwise(cuts)]

    def train(data, optimizer):
        trainer = loop.trainer((linear_init, linear_apply), "categorical_cross_entropy", optimizer)
        return trainer.run(data, start, epochs=3).model_state

    whole = train([(x, y, weights)], optim.adam(0.1))
    small = everywhere(lambda: train(parts, optim.accumulate(optim.adam(0.1), len(parts))))
    for name in start:
        assert not np.allclose(small[name], start[name], atol=0.1)
        np.testing.assert_allclose(small[name], whole[name], rtol=1e-4, atol=1e-5)


def test_minimize_trains_the_parameters_of_a_graph():
    x, y = blobs()
    init, apply = nn.build(classifier())
    state = init(jax.random.key(0), x)

    def objective(params):
        prediction, _ = apply(state.replace(params=params), x)
        return F.losses.categorical_cross_entropy(y, prediction, reduction="mean")

    result = optim.minimize(objective, state.params, "adam", max_steps=300)
    assert jax.tree.structure(result.x) == jax.tree.structure(state.params)
    assert result.value < 0.2 * objective(state.params)


def test_frozen_parameters_stay_and_cost_no_moments():
    x, y = blobs()
    model = classifier()
    state = nn.build(model).init(jax.random.key(0), x).freeze("dense_0/**")
    trainer = loop.trainer(model, "categorical_cross_entropy", optim.adam(0.05))
    trained = trainer.run(loop.arrays(x, y, batch_size=32), state, epochs=2).model_state

    assert sorted(trained.params) == ["dense_1"]
    np.testing.assert_array_equal(trained.frozen["dense_0"]["kernel"], state.frozen["dense_0"]["kernel"])
    assert not np.array_equal(trained.params["dense_1"]["kernel"], state.params["dense_1"]["kernel"])
    whole, part = (optim.adam(0.05).init(each) for each in (state.unfreeze("**").params, state.params))
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(each)) for each in (whole, part)]
    assert sizes[0] - sizes[1] == 2 * (5 * 8 + 8)


def test_a_handler_sets_the_learning_rate_without_a_recompile():
    x, y = blobs()
    traces = []

    def loss(y_true, y_pred):
        traces.append(None)
        return F.losses.categorical_cross_entropy(y_true, y_pred)

    def halve(state):
        rate = optim.hyperparams(state.opt_state)["learning_rate"]
        return state.replace(opt_state=optim.with_hyperparams(state.opt_state, learning_rate=rate / 2))

    trainer = loop.trainer((linear_init, linear_apply), loss, optim.sgd(0.4)).on("epoch_completed", halve)
    data = loop.arrays(x, y, batch_size=32)
    trainer.run(data, epochs=1)
    once = len(traces)
    result = trainer.run(data, epochs=4)
    assert float(optim.hyperparams(result.opt_state)["learning_rate"]) == pytest.approx(0.4 / 16)
    assert len(traces) - once <= once


def test_a_metric_by_arithmetic_follows_the_metric_it_is_made_of():
    x, y = blobs()
    trainer = (
        loop.trainer((linear_init, linear_apply), "categorical_cross_entropy", optax.adam(0.05))
        .metric("accuracy")
        .metric(1 - F.metrics.accuracy(), name="error")
    )
    result = trainer.run(loop.arrays(x, y, batch_size=40), epochs=2)
    assert result.metrics["error"] == pytest.approx(1 - result.metrics["accuracy"], abs=1e-6)


def test_weights_in_a_batch_count_as_copies_do(everywhere):
    x, y = blobs(rows=12)
    weights = np.array([1, 2, 3, 1, 1, 2, 1, 1, 4, 1, 1, 2], np.float32)
    copies = np.repeat(np.arange(12), weights.astype(int))

    def train(data):
        trainer = loop.trainer((linear_init, linear_apply), "categorical_cross_entropy", optim.sgd(0.1))
        return trainer.metric("accuracy").run(data, epochs=2)

    weighted = everywhere(lambda: train([(x, y, weights)]).model_state)
    copied = train([(x[copies], y[copies])])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), weighted, copied.model_state
    )
    metrics = train([(x, y, weights)]).metrics
    assert metrics["accuracy"] == pytest.approx(copied.metrics["accuracy"], abs=1e-6)


def test_batch_statistics_reach_the_buffers_through_the_loop():
    x, y = blobs()
    model = nn.input("x", (None, 5)) | nn.batch_norm(momentum=0.5) | nn.dense(3, activation="softmax")
    result = loop.trainer(model, "categorical_cross_entropy", "sgd").run([(x, y)], epochs=1)
    assert isinstance(result.model_state, ModelState)
    buffers = result.model_state.buffers["batch_norm_0"]
    np.testing.assert_allclose(buffers["mean"], 0.5 * x.astype(np.float64).mean(0), rtol=1e-4, atol=1e-5)


def test_a_model_of_two_inputs_takes_a_dict():
    x, y = blobs()
    both = nn.input("left", (None, 2)) | nn.dense(4)
    both = both + (nn.input("right", (None, 3)) | nn.dense(4))
    model = both | nn.dense(3, activation="softmax")
    data = loop.arrays({"left": x[:, :2], "right": x[:, 2:]}, y, batch_size=32)
    result = loop.trainer(model, "categorical_cross_entropy", "adam").metric("accuracy").run(data, epochs=2)
    assert sorted(result.model_state.params) == ["dense_0", "dense_1", "dense_2"]
