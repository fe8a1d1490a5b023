"""Every optimizer, step by step, against Optax: float32 to 1e-5, float64 to 1e-12."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim

STEPS = 30
ELEVEN = (
    *("adabelief", "adagrad", "adam", "adamw", "fromage", "lamb"),
    *("noisy_sgd", "radam", "rmsprop", "sgd", "yogi"),
)
MASK = {"dense": {"kernel": True, "bias": False}, "gain": False}
RATE = optim.cosine_decay(0.1, 20, alpha=0.1)


def lamb(learning_rate, min_norm, weight_decay, **moments):
    return optax.chain(
        optax.scale_by_adam(**moments),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_trust_ratio(min_norm),
        optax.scale_by_learning_rate(learning_rate),
    )


def yogi(learning_rate, **moments):
    return optax.chain(optax.scale_by_yogi(**moments), optax.scale_by_learning_rate(learning_rate))


ADAM = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "eps_root": 1e-10}
CASES = {
    "adabelief": (optim.adabelief, optax.adabelief, {**ADAM, "eps_root": 1e-8}, {}),
    "adabelief nesterov": (optim.adabelief, optax.adabelief, ADAM, {"nesterov": True}),
    "adagrad": (
        optim.adagrad,
        optax.adagrad,
        {"learning_rate": 0.1, "eps": 1e-6},
        {"initial_accumulator_value": 0.5},
    ),
    "adam": (optim.adam, optax.adam, ADAM, {}),
    "adam nesterov": (optim.adam, optax.adam, ADAM, {"nesterov": True}),
    "adam schedule": (optim.adam, optax.adam, {"b1": 0.8, "eps_root": 1e-10}, {"learning_rate": RATE}),
    "adamw": (optim.adamw, optax.adamw, {**ADAM, "weight_decay": 0.1}, {}),
    "adamw mask": (optim.adamw, optax.adamw, {**ADAM, "weight_decay": 0.1}, {"mask": MASK}),
    "fromage": (optim.fromage, optax.fromage, {"learning_rate": 0.05, "min_norm": 1e-3}, {}),
    "lamb": (optim.lamb, lamb, {**ADAM, "weight_decay": 0.1, "min_norm": 0.01}, {}),
    "noisy_sgd": (
        optim.noisy_sgd,
        optax.noisy_sgd,
        {"learning_rate": 0.05, "eta": 0.1, "gamma": 0.4},
        {"key": jax.random.key(3)},
    ),
    "radam": (optim.radam, optax.radam, {**ADAM, "threshold": 4.5}, {}),
    "radam nesterov": (optim.radam, optax.radam, {**ADAM, "threshold": 5.0}, {"nesterov": True}),
    "rmsprop": (optim.rmsprop, optax.rmsprop, {"learning_rate": 0.05, "decay": 0.8, "eps": 1e-6}, {}),
    "rmsprop centered": (
        optim.rmsprop,
        optax.rmsprop,
        {"learning_rate": 0.05, "decay": 0.8, "eps": 1e-3},
        {"centered": True, "initial_scale": 0.2},
    ),
    "rmsprop momentum": (
        optim.rmsprop,
        optax.rmsprop,
        {"learning_rate": 0.01, "decay": 0.8, "eps": 1e-6, "momentum": 0.7},
        {"nesterov": True},
    ),
    "sgd": (optim.sgd, optax.sgd, {"learning_rate": 0.05}, {}),
    "sgd momentum": (optim.sgd, optax.sgd, {"learning_rate": 0.05, "momentum": 0.7}, {}),
    "sgd nesterov": (optim.sgd, optax.sgd, {"learning_rate": 0.05, "momentum": 0.7}, {"nesterov": True}),
    "yogi": (optim.yogi, yogi, ADAM, {"initial_accumulator_value": 1e-3}),
}


def start(dtype):
    draw = np.random.default_rng(0).normal
    return jax.tree.map(
        lambda shape: jnp.asarray(draw(size=shape), dtype),
        {"dense": {"kernel": (3, 2), "bias": (2,)}, "gain": ()},
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


def swing(time, param):
    return param + jnp.cos(time + jnp.arange(param.size, dtype=param.dtype)).reshape(param.shape)


def path(optimizer, params):
    """The parameters after each step, on a quadratic whose gradient also swings with the step."""

    state, passed = optimizer.init(params), []
    for time in range(STEPS):
        gradients = jax.tree.map(functools.partial(swing, time), params)
        updates, state = optimizer.update(gradients, state, params)
        params = optim.apply_updates(params, updates)
        passed.append(params)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *passed)


def compare(case, dtype, tolerance):
    ours, theirs, numbers, options = CASES[case]
    rounded = {name: float(np.float32(value)) for name, value in numbers.items()}
    got = path(ours(**numbers, **options), start(dtype))
    expected = path(theirs(**rounded, **options), start(dtype))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_float32(case):
    compare(case, jnp.float32, 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_float64(case):
    # A schedule's value is rounded to float32 as every hyperparameter is.
    with jax.enable_x64(True):
        compare(case, jnp.float64, 1e-8 if "schedule" in case else 1e-12)


def test_every_optimizer_is_compared():
    assert {case.split()[0] for case in CASES} == set(ELEVEN)


@pytest.mark.smoke
@pytest.mark.parametrize("name", ELEVEN)
def test_default_options_descend(name):
    optimizer = getattr(optim, name)()
    params = jnp.array([1.0, -2.0])
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(params, state, params)
        params = optim.apply_updates(params, updates)
    assert float(jnp.linalg.norm(params)) < np.sqrt(5)


def test_rectified_adam_with_a_threshold_below_four_stays_finite():
    optimizer = optim.radam(0.1, threshold=2.0)
    params = jnp.ones(2)
    state = optimizer.init(params)
    for _ in range(8):
        updates, state = optimizer.update(params, state, params)
        params = optim.apply_updates(params, updates)
        assert bool(jnp.all(jnp.isfinite(params)))
