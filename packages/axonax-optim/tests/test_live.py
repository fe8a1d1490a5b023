"""Hyperparameters in the state: read, set, scheduled, mapped; dtypes and layout that never change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim

ELEVEN = (
    *("adabelief", "adagrad", "adam", "adamw", "fromage", "lamb"),
    *("noisy_sgd", "radam", "rmsprop", "sgd", "yogi"),
)
EVERY = {name: getattr(optim, name) for name in ELEVEN}
FURTHER = (
    *("adadelta", "adafactor", "adamax", "adan", "lars", "lbfgs", "lion", "muon", "nadam", "nadamw"),
    *("novograd", "prodigy", "sam", "schedule_free", "soap", "sophia"),
)
ALL = {**EVERY, **{name: getattr(optim, name) for name in FURTHER}}
PARAMS = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}


def describe(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)), tree)


def test_hyperparameters_are_read_by_name():
    state = optim.adamw(0.1, weight_decay=0.01).init(PARAMS)
    read = optim.hyperparams(state)
    assert list(read) == ["learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"]
    assert {value.dtype for value in read.values()} == {jnp.dtype("float32")}
    np.testing.assert_allclose(read["weight_decay"], 0.01)


def test_setting_never_recompiles_and_ends_with_none():
    optimizer = optim.sgd(lambda step: 0.5 / (1 + step))
    traces = []

    @jax.jit
    def step(state, value):
        traces.append(value)
        updates, state = optimizer.update(jnp.ones(()), state)
        return state, updates

    state = optimizer.init(jnp.ones(()))
    seen = []
    for setting in ({}, {"learning_rate": 3}, {}, {"learning_rate": 0.25}, {"learning_rate": None}):
        state = optim.with_hyperparams(state, **setting)
        state, updates = step(state, jnp.ones(()))
        seen.append(float(updates))
    np.testing.assert_allclose(seen, [-0.5, -3, -3, -0.25, -0.1], rtol=1e-6)
    assert len(traces) == 1


def test_setting_works_inside_jit():
    optimizer = optim.adam(0.1)

    @jax.jit
    def step(state, rate):
        state = optim.with_hyperparams(state, learning_rate=rate)
        return optimizer.update(jnp.ones(2), state)[0]

    np.testing.assert_allclose(step(optimizer.init(jnp.ones(2)), 0.3), [-0.3, -0.3], rtol=1e-4)


@pytest.mark.parametrize("name", ["b1", "b2", "weight_decay", "eps"])
def test_every_number_may_be_scheduled(name, quick):
    fixed = optim.adamw(0.1, **{name: 0.5})
    varied = optim.adamw(0.1, **{name: lambda step: 0.5})
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    expected, got = (first(quick, each, PARAMS, gradients)[0] for each in (fixed, varied))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_the_scheduled_value_in_force_is_read_after_a_step(quick):
    optimizer = optim.adam(optim.linear_decay(1.0, steps=10))
    state, step = optimizer.init(PARAMS), quick(optimizer.update)
    for expected in (1.0, 0.9, 0.8):
        _, state = step(PARAMS, state, PARAMS)
        np.testing.assert_allclose(optim.hyperparams(state)["learning_rate"], expected, rtol=1e-6)


def test_vmap_over_rates_set_in_the_state(quick):
    optimizer = optim.sgd(0.1)
    state = optimizer.init(jnp.zeros(()))

    def run(rate):
        live = optim.with_hyperparams(state, learning_rate=rate)
        return optimizer.update(jnp.ones(()), live)[0]

    rates = np.array([0.1, 0.2, 0.4], np.float32)
    np.testing.assert_allclose(quick(jax.vmap(run))(rates), -rates)


def test_vmap_over_rates_given_to_the_factory(quick):
    def run(rate):
        optimizer = optim.adam(rate)
        return optimizer.update(jnp.ones(()), optimizer.init(jnp.zeros(())))[0]

    rates = np.array([0.1, 0.2, 0.4], np.float32)
    np.testing.assert_allclose(quick(jax.vmap(run))(rates), -rates, rtol=1e-5)


def test_gradient_through_a_hyperparameter(quick):
    def loss(rate):
        optimizer = optim.sgd(rate)
        updates, _ = optimizer.update(jnp.full((), 3.0), optimizer.init(jnp.zeros(())))
        return updates

    np.testing.assert_allclose(quick(jax.grad(loss))(0.1), -3.0)


def loss(params):
    return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))


def advance(optimizer, gradients, state, params):
    """One update, with what searches and curvature ask for."""
    return optimizer.update(gradients, state, params, value=loss(params), value_fn=loss)


def first(quick, optimizer, params, gradients):
    """The first update and its state, in one program."""
    run = quick(lambda params, gradients: advance(optimizer, gradients, optimizer.init(params), params))
    return jax.device_get(run(params, gradients))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ALL)
def test_layout_is_the_same_before_and_after_a_step(name, dtype):
    optimizer = ALL[name]()
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), PARAMS)
    state = jax.eval_shape(optimizer.init, params)
    updates, following = jax.eval_shape(lambda *given: advance(optimizer, *given), params, state, params)
    assert describe(following) == describe(state)
    assert describe(updates) == describe(params)
    wide = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert set(wide) == {jnp.dtype("float32")}


def test_weakly_typed_parameters_give_a_strong_state():
    optimizer = optim.adam()
    state = optimizer.init({"w": 1.0})
    _, following = optimizer.update({"w": 1.0}, state, {"w": 1.0})
    assert describe(following) == describe(state)


def test_mixed_precisions_keep_their_moments():
    dtypes = {"a": jnp.float64, "b": jnp.float32, "c": jnp.bfloat16}
    with jax.enable_x64(True):
        params = {name: jax.ShapeDtypeStruct((2,), dtype) for name, dtype in dtypes.items()}
        optimizer = optim.adamw()
        state = jax.eval_shape(optimizer.init, params)
        updates, following = jax.eval_shape(optimizer.update, params, state, params)
    assert describe(following) == describe(state)
    assert describe(updates) == describe(params)


@pytest.mark.parametrize("name", ALL)
def test_half_precision_follows_float32_for_100_steps(name, quick):
    """At parameters that half precision holds exactly: their own rounding is no matter of the optimizer."""
    optimizer, start = ALL[name](), jnp.array([[1.0, -0.5], [2.0, 0.25]])
    halves = ("float16", "bfloat16")

    def step(states, time):
        gradients = jnp.cos(jnp.arange(4.0).reshape(2, 2) + time).astype("bfloat16").astype("float16")
        found, following = {}, {}
        for dtype, state in states.items():
            given = gradients.astype(dtype), state, start.astype(dtype)
            found[dtype], following[dtype] = advance(optimizer, *given)
        return following, found

    @quick
    def run():
        states = {dtype: optimizer.init(start.astype(dtype)) for dtype in ("float32", *halves)}
        return jax.lax.scan(step, states, jnp.arange(100.0))

    following, found = jax.device_get(run())
    for dtype in halves:
        eps = 2 * float(jnp.finfo(dtype).eps)
        # The value at the start of a line search is that of half precision.
        least = 1e-5 if name == "lbfgs" else 1e-7
        assert found[dtype].dtype == dtype
        np.testing.assert_allclose(found[dtype].astype("float32"), found["float32"], rtol=eps, atol=least)
        for one, two in zip(*map(jax.tree.leaves, (following[dtype], following["float32"])), strict=True):
            assert one.dtype == two.dtype
    np.testing.assert_array_equal(following["bfloat16"].values, following["float32"].values)


DECAYING = ("lion", "nadamw", "soap", "sophia")


@pytest.mark.parametrize("name", sorted(set(ALL) - {"noisy_sgd", "yogi", "fromage", "sam", "lbfgs"}))
def test_a_zero_gradient_in_float16_moves_nothing(name, quick):
    optimizer = ALL[name](**({"weight_decay": 0.0} if name in DECAYING else {}))
    updates, _ = first(quick, optimizer, np.ones((3, 2), np.float16), np.zeros((3, 2), np.float16))
    np.testing.assert_array_equal(updates, np.zeros((3, 2)))


@pytest.mark.parametrize("name", ["yogi", "fromage"])
def test_a_zero_gradient_in_float16_stays_finite(name, quick):
    updates, _ = first(quick, EVERY[name](), np.ones(3, np.float16), np.zeros(3, np.float16))
    assert np.all(np.abs(updates) < 1e-2)


def test_one_compile_for_all_that_is_set(quick):
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.nadamw(0.1), optim.ema(0.9))
    step = quick(optimizer.update)
    state = optimizer.init(PARAMS)
    for values in ({}, {"max_norm": 2.0}, {"decay": 0.5, "b1": 0.5}, {"learning_rate": None}):
        _, state = step(PARAMS, optim.with_hyperparams(state, **values), PARAMS)
    assert step._cache_size() == 1


def test_large_float16_gradients_do_not_overflow(quick):
    updates, _ = first(quick, optim.adam(0.1), np.ones(2, np.float16), np.full(2, 6e4, np.float16))
    np.testing.assert_allclose(updates, [-0.1, -0.1], rtol=1e-2)


def test_gradients_of_another_precision_follow_the_parameters():
    optimizer = optim.adam(0.1)
    params = jax.ShapeDtypeStruct((2,), jnp.float32)
    state = jax.eval_shape(optimizer.init, params)
    gradients = jax.ShapeDtypeStruct((2,), jnp.bfloat16)
    updates, following = jax.eval_shape(optimizer.update, gradients, state, params)
    assert updates.dtype == jnp.float32
    assert describe(following) == describe(state)


@pytest.mark.parametrize("name", EVERY)
def test_none_leaves_pass(name):
    optimizer = EVERY[name]()
    params = {"a": jax.ShapeDtypeStruct((2,), jnp.float32), "frozen": None}
    updates = jax.eval_shape(lambda tree: optimizer.update(tree, optimizer.init(tree), tree)[0], params)
    assert updates["frozen"] is None
    assert updates["a"].shape == (2,)


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_gradient_leaves_its_parameter(name):
    optimizer = EVERY[name]()
    params = {"a": jax.ShapeDtypeStruct((2,), jnp.float32), "b": jax.ShapeDtypeStruct((3,), jnp.float32)}
    state = jax.eval_shape(optimizer.init, params)
    gradients = {"a": params["a"], "b": None}
    updates, following = jax.eval_shape(optimizer.update, gradients, state, params)
    assert updates["b"] is None
    assert jax.tree.structure(following) == jax.tree.structure(state)


def test_what_has_no_update_stays():
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    stayed = optim.apply_updates(params, {"a": jnp.ones(2), "b": None})["b"]
    np.testing.assert_array_equal(stayed, np.ones(3))


def test_extra_arguments_pass_through(quick):
    chained = optax.chain(optim.sgd(1.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=1))
    state, step = chained.init(jnp.ones(())), quick(chained.update)
    for _ in range(3):
        updates, state = step(jnp.ones(()), state, jnp.ones(()), value=jnp.ones(()))
    np.testing.assert_allclose(updates, -0.25)
    plain = optim.adam()
    plain.update(jnp.ones(()), plain.init(jnp.ones(())), value=1.0, grad=1.0, value_fn=jnp.sum)


def test_chains_with_optax_are_read_and_set():
    chained = optax.chain(optax.clip_by_global_norm(1.0), optim.adam(0.1), optim.sgd(0.5))
    state = optim.with_hyperparams(chained.init(PARAMS), b1=0.5, learning_rate_1=0.25)
    read = optim.hyperparams(state)
    np.testing.assert_allclose([read["b1"], read["learning_rate"], read["learning_rate_1"]], [0.5, 0.1, 0.25])


def test_optimizers_built_alike_are_equal():
    assert optim.adamw(0.1) == optim.adamw(0.1)
    assert hash(optim.adamw(0.1)) == hash(optim.adamw(0.1))
    assert optim.adamw(0.1) != optim.adamw(0.2)
    assert optim.adam(0.1) != optim.adam(0.1, nesterov=True)
    assert optim.adam(jnp.float32(0.5)) == optim.adam(0.5)
    made = [optim.adamw(mask={"a": True}), optim.noisy_sgd(key=jax.random.key(1))]
    assert made == [optim.adamw(mask={"a": True}), optim.noisy_sgd(key=jax.random.key(1))]
    assert len(set(made)) == 2
    assert optim.adamw(mask={"a": True}) != optim.adamw(mask={"a": False})


def test_state_donates_through_scan(quick):
    optimizer = optim.adam(0.1)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(params, state, params)
        return (optim.apply_updates(params, updates), state), None

    run = quick(lambda carry: jax.lax.scan(step, carry, length=5)[0], donate_argnums=0)
    params, state = run((jnp.ones(2), optimizer.init(jnp.ones(2))))
    assert int(state.step) == 5
    np.testing.assert_allclose(params, [0.5, 0.5], atol=0.01)


def test_noise_depends_on_the_key_alone(quick):
    def noise(**options):
        return first(
            quick, optim.noisy_sgd(1.0, **options), np.zeros(4, np.float32), np.zeros(4, np.float32)
        )[0]

    np.testing.assert_array_equal(noise(), noise(key=jax.random.key(0)))
    np.testing.assert_array_equal(noise(key=1), noise(key=jax.random.key(1)))
    assert not np.array_equal(noise(), noise(key=1))
