"""Accumulation inside and around other transformations: what it is told, tells on, and refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim
from axonax.tensor.updates import extra_arguments

PARAMS = {"w": jnp.ones(2), "b": jnp.ones(())}


def spy():
    """An optimizer whose state is what its last update was told."""

    def init(params):
        return {"value": jnp.zeros(()), "grad": jax.tree.map(jnp.zeros_like, params)}

    def update(updates, state, params=None, *, value, grad, **extra):
        return updates, {"value": value, "grad": grad}

    return optax.GradientTransformationExtraArgs(init, update)


def test_the_value_and_gradient_that_are_told_on_are_those_of_the_big_batch(quick):
    optimizer, params = optim.accumulate(spy(), 2), jnp.ones(1)
    state, update = optimizer.init(params), quick(optimizer.update)
    for number, weight in ((1.0, 3.0), (5.0, 1.0)):
        gradient = jnp.full(1, number)
        updates, state = update(gradient, state, params, value=10 * number, grad=gradient, weight=weight)
    told = (updates, state.inner["grad"], state.inner["value"])
    assert [float(leaf.squeeze()) for leaf in told] == [2.0, 2.0, 20.0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_sums_are_float32_and_keep_their_types_in_a_scan(dtype, quick):
    params = np.zeros(1, dtype)
    optimizer = optim.accumulate(optim.sgd(1.0), 2000)

    def step(state, _):
        updates, state = optimizer.update(jnp.full(1, 300.0, dtype), state, params, value=jnp.ones(()))
        return state, updates

    state, updates = quick(lambda: jax.lax.scan(step, optimizer.init(params), None, 2000))()
    assert updates.dtype == dtype
    updates = np.asarray(updates)
    assert float(updates[-1, 0]) == -300.0
    assert not np.any(updates[:-1])
    assert int(state.inner.step) == 1


def test_float64_equals_the_big_batch_to_its_last_digits(quick):
    draw, sizes = np.random.default_rng(0).normal, (4, 1, 7, 2, 3)

    def walk(optimizer, parts, told):
        def step(carry, given):
            params, state = carry
            gradient, extra = given
            updates, state = optimizer.update(gradient * params, state, params, **extra)
            return (optim.apply_updates(params, updates), state), None

        start = np.ones(3)
        every = quick(lambda given: jax.lax.scan(step, (start, optimizer.init(start)), given)[0][0])
        return every((np.stack(parts), told))

    with jax.enable_x64(True):
        rows = draw(size=(sum(sizes), 3))
        micro = np.split(rows, np.cumsum(sizes)[:-1])
        big = [np.concatenate(micro[:3]).mean(0), np.concatenate(micro[3:]).mean(0)]
        inner = optim.chain(optim.clip_by_global_norm(0.5), optim.adam(optim.linear_decay(0.1, steps=2)))
        told = {"weight": np.array(sizes), "flush": np.arange(5) == 4}
        small = walk(optim.accumulate(inner, 3), [part.mean(0) for part in micro], told)
        np.testing.assert_allclose(small, walk(inner, big, {}), rtol=1e-12)


WRAPPERS = {
    "chain": lambda inner: optim.chain(optim.identity(), inner),
    "groups": lambda inner: optim.groups({"w": inner}, default=inner),
    "masked": lambda inner: optim.masked(inner, "**"),
    "skip_nonfinite": optim.skip_nonfinite,
    "lookahead": lambda inner: optim.lookahead(inner, every=100),
    "sam": lambda inner: optim.sam(rho=0.0, inner=lambda rate: inner),
    "optax.chain": lambda inner: optax.chain(optax.identity(), inner),
    "optax.masked": lambda inner: optax.masked(inner, {"w": True, "b": True}),
    "optax.partition": lambda inner: optax.partition({"a": inner}, {"w": "a", "b": "a"}),
    "optax.apply_if_finite": lambda inner: optax.apply_if_finite(inner, 1),
    "optax.inject_hyperparams": lambda inner: optax.inject_hyperparams(
        lambda scale: optax.chain(optax.scale(scale), inner)
    )(1.0),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_weights_and_flushes_reach_it_inside_others(name, quick):
    optimizer = WRAPPERS[name](optim.accumulate(optim.sgd(1.0), 3))
    state = optimizer.init(PARAMS)
    assert extra_arguments(state) == ("weight", "flush")

    @quick
    def step(number, state, weight, flush):
        def loss(params):
            return number * (params["w"].sum() + params["b"])

        gradients = jax.grad(loss)(PARAMS)
        return optimizer.update(gradients, state, PARAMS, weight=weight, flush=flush, value_fn=loss)

    moved = []
    for number, weight, flush in ((1.0, 3.0, False), (5.0, 1.0, True), (7.0, 2.0, True)):
        updates, state = step(number, state, weight, flush)
        moved.append(float(updates["w"][0]))
    assert moved == [0.0, -2.0, -7.0]


def test_what_is_wrapped_is_traced_once_however_deep():
    traces = []

    def update(updates, state, params=None):
        traces.append(None)
        return updates, state

    inner = optax.GradientTransformation(lambda params: (), update)
    optimizer = optim.skip_nonfinite(optim.accumulate(optim.skip_nonfinite(inner), 2))
    jax.make_jaxpr(optimizer.update)(PARAMS, optimizer.init(PARAMS), PARAMS)
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["adam", "plain", "multi_steps"])
def test_others_ask_for_nothing(name):
    made = {"adam": optim.adam(), "plain": optax.chain(optax.clip(1.0), optax.lbfgs())}
    multi = optax.MultiSteps(optim.adam(), 2)
    assert extra_arguments({**made, "multi_steps": multi}[name].init(PARAMS)) == ()


def test_optax_accumulates_for_ours(quick):
    ours, theirs = (optax.MultiSteps(each, 2) for each in (optim.adam(0.1), optax.adam(0.1, eps_root=1e-15)))
    states = [ours.init(PARAMS), theirs.init(PARAMS)]
    steps = [quick(each.update) for each in (ours, theirs)]
    for number in range(4):
        gradients = jax.tree.map(lambda leaf, number=number: leaf * (number - 1.5), PARAMS)
        results = [
            step(gradients, state, PARAMS, value=1.0) for step, state in zip(steps, states, strict=True)
        ]
        states = [state for _, state in results]
        jax.tree.map(
            lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7),
            results[0][0],
            results[1][0],
        )


def test_an_average_inside_moves_once_a_big_step(quick):
    optimizer = optim.accumulate(optim.chain(optim.sgd(1.0), optim.ema(0.5)), 2)
    params = jnp.full(1, 4.0)
    state, means, update = optimizer.init(params), [], quick(optimizer.update)
    for _ in range(4):
        updates, state = update(jnp.ones(1), state, params)
        params = optim.apply_updates(params, updates)
        means.append(float(optim.evaluation_params(state, params)[0]))
    assert means == [4.0, 3.5, 3.5, 2.75]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": jnp.ones(3)}, r"accumulate: weight must be a scalar, got shape \(3,\)"),
        ({"weight": -1}, r"accumulate: weight must be at least 0, got -1"),
        ({"weight": float("nan")}, r"accumulate: weight must be at least 0, got nan"),
        ({"flush": jnp.ones(2, bool)}, r"accumulate: flush must be a scalar, got shape \(2,\)"),
    ],
)
def test_extra_arguments(options, message):
    optimizer = optim.accumulate(optim.sgd(), 2)
    with pytest.raises(ValueError, match=message):
        optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, **options)


OTHER = {"w": jnp.ones(3)}


@pytest.mark.parametrize(
    ("gradients", "state", "params", "message"),
    [
        (
            PARAMS,
            optim.sgd().init(PARAMS),
            PARAMS,
            "accumulate: .* AccumulateState is required, got the LiveState of sgd",
        ),
        (
            OTHER,
            optim.accumulate(optim.sgd(), 2).init(PARAMS),
            None,
            r"accumulate: the state \(second\) belongs to other parameters .*\n  b: only in the second, .*"
            r"\n  w: float32\[3\] in the first, float32\[2\] in the second",
        ),
        (
            OTHER,
            (),
            PARAMS,
            r"accumulate: the gradients \(first\) do not fit the parameters \(second\):\n  b",
        ),
    ],
)
def test_a_state_or_gradients_of_others(gradients, state, params, message):
    with pytest.raises(ValueError, match=message):
        optim.accumulate(optim.sgd(), 2).update(gradients, state, params)
