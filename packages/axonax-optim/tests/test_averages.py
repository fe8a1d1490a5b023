"""Parameters to evaluate: means over the path, slow points, schedule-free, SAM."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from axonax import optim


@pytest.fixture(scope="module")
def run(quick):
    """The parameters after each step and the last state, on a quadratic."""

    def walk(optimizer, params, steps=12):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(params, state, params)
            params = optim.apply_updates(params, updates)
            return (params, state), params

        @quick
        def every_step(params):
            return jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)

        (_, state), points = every_step(params)
        points = jax.device_get(points)
        return [jax.tree.map(lambda leaf, at=at: leaf[at], points) for at in range(steps)], state

    return walk


@pytest.fixture(scope="module")
def evaluate(quick):
    return quick(optim.evaluation_params)


def test_ema_is_the_running_mean_of_what_was_passed(run, evaluate):
    passed, state = run(optim.chain(optim.sgd(0.3), optim.ema(0.75)), jnp.array([4.0, -2.0]))
    mean = np.array([4.0, -2.0])
    for point in passed:
        mean = 0.75 * mean + 0.25 * np.asarray(point)
    np.testing.assert_allclose(evaluate(state, passed[-1]), mean, rtol=1e-5)


def test_ema_without_its_start(run, evaluate):
    passed, state = run(optim.chain(optim.sgd(0.3), optim.ema(0.75, debias=True)), jnp.array([4.0]))
    shares = 0.75 ** np.arange(len(passed))[::-1]
    mean = np.sum(shares * np.ravel(passed)) / shares.sum()
    np.testing.assert_allclose(evaluate(state, passed[-1]), [mean], rtol=1e-5)
    fresh = optim.ema(debias=True).init(jnp.ones(2))
    np.testing.assert_array_equal(optim.evaluation_params(fresh, jnp.full(2, 3.0)), [3.0, 3.0])


def test_ema_of_half_precision_is_float32(run, evaluate):
    params = jnp.full(3, 100.0, jnp.float16)
    optimizer = optim.chain(optim.sgd(1e-3), optim.ema(0.999))
    passed, state = run(optimizer, params, steps=50)
    assert state[1].inner.average.dtype == jnp.float32
    mean = 100.0
    for point in passed:
        mean = 0.999 * mean + 0.001 * float(point[0])
    # The mean is of the points before they are rounded to half precision.
    np.testing.assert_allclose(state[1].inner.average[0], mean, rtol=1e-4)
    assert evaluate(state, passed[-1]).dtype == jnp.float16


def test_ema_with_a_share_that_grows(run, evaluate):
    share = lambda step: jnp.minimum(0.9, (1 + step) / (10 + step))  # noqa: E731
    passed, state = run(optim.chain(optim.sgd(0.3), optim.ema(share)), jnp.array([4.0]))
    mean = 4.0
    for step, point in enumerate(passed):
        kept = min(0.9, (1 + step) / (10 + step))
        mean = kept * mean + (1 - kept) * float(point[0])
    np.testing.assert_allclose(evaluate(state, passed[-1])[0], mean, rtol=1e-5)


@pytest.mark.parametrize(("start", "every"), [(0, 1), (4, 1), (3, 4)])
def test_swa_is_the_plain_mean(start, every, run, evaluate):
    passed, state = run(optim.chain(optim.sgd(0.3), optim.swa(start, every=every)), jnp.array([4.0]))
    mean = np.mean([float(point[0]) for point in passed[start + every - 1 :: every]])
    np.testing.assert_allclose(evaluate(state, passed[-1])[0], mean, rtol=1e-5)


def test_swa_before_its_start_gives_the_parameters(run, evaluate):
    passed, state = run(optim.chain(optim.sgd(0.3), optim.swa(100)), jnp.array([4.0]), steps=3)
    np.testing.assert_array_equal(evaluate(state, passed[-1]), passed[-1])


def test_lookahead_agrees_with_optax(quick, run, evaluate):
    params = jnp.array([4.0, -2.0])
    passed, state = run(optim.lookahead(optim.sgd(0.3, momentum=0.5), every=5, rate=0.25), params)
    theirs = optax.lookahead(optax.sgd(0.3, momentum=0.5), 5, 0.25)
    pair = optax.LookaheadParams.init_synced(params)
    other = theirs.init(pair)

    @quick
    def step(pair, other):
        updates, other = theirs.update(pair.fast, other, pair)
        return optax.apply_updates(pair, updates), other

    for point in passed:
        pair, other = step(pair, other)
        np.testing.assert_allclose(point, pair.fast, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(evaluate(state, passed[-1]), pair.slow, rtol=1e-5, atol=1e-6)


def test_the_rate_of_lookahead_and_of_what_it_wraps_are_live(quick):
    optimizer = optim.lookahead(optim.sgd(0.3), every=1)
    state = optim.with_hyperparams(optimizer.init(jnp.ones(1)), rate=1.0, learning_rate=0.5)
    np.testing.assert_allclose(quick(optimizer.update)(jnp.ones(1), state, jnp.ones(1))[0], [-0.5])
    assert list(optim.hyperparams(state)) == ["rate", "learning_rate"]


def test_schedule_free_agrees_with_optax(run, evaluate):
    params = jnp.array([4.0, -2.0])
    passed, state = run(optim.schedule_free(0.1, b1=0.8), params)
    theirs = contrib.schedule_free_adamw(0.1, b1=0.8)
    points, other = run(theirs, params)
    expected = contrib.schedule_free_eval_params(other, points[-1])
    for opt_state in (state, other):
        np.testing.assert_allclose(evaluate(opt_state, passed[-1]), expected, rtol=1e-4)


def test_schedule_free_evaluates_with_the_share_that_was_set(quick, evaluate):
    optimizer, params = optim.schedule_free(0.1, adaptive=False), jnp.array([4.0])
    state = optim.with_hyperparams(optimizer.init(params), b1=0.5)
    updates, state = quick(optimizer.update)(jnp.array([10.0]), state, params)
    params = optim.apply_updates(params, updates)
    # One step of 1: z = 3, the average x = z, y between them.
    np.testing.assert_allclose([params[0], evaluate(state, params)[0]], [3.0, 3.0], rtol=1e-5)


def test_sam_stands_between_its_climbs(run, evaluate):
    optimizer, params = optim.sam(0.1, rho=0.5, opaque=False), jnp.array([3.0, 4.0])
    passed, state = run(optimizer, params, steps=1)
    np.testing.assert_allclose(passed[-1], [3.3, 4.4], rtol=1e-6)
    np.testing.assert_allclose(evaluate(state, passed[-1]), [3.0, 4.0])
    passed, state = run(optimizer, params, steps=2)
    np.testing.assert_allclose(evaluate(state, passed[-1]), [2.67, 3.56], rtol=1e-6)


def test_sam_at_a_zero_gradient_stays(quick):
    optimizer = optim.sam(0.1)

    @quick
    def first(params):
        state = optimizer.init(params)
        return optimizer.update(params, state, params, value_fn=lambda x: jnp.sum(x**2))[0]

    updates = first(np.zeros(2, np.float16))
    np.testing.assert_array_equal(updates, np.zeros(2))


def test_a_state_without_averages_gives_the_parameters():
    params = {"a": jnp.ones(2)}
    assert optim.evaluation_params(optim.adam().init(params), params) is params


def test_masked_averages(run, evaluate):
    params = {"a": jnp.full(1, 4.0), "b": jnp.full(1, 4.0)}
    for mean in (optim.masked(optim.ema(0.5), "a"), optax.masked(optim.ema(0.5), {"a": True, "b": False})):
        passed, state = run(optim.chain(optim.sgd(1.0), mean), params, steps=1)
        best = evaluate(state, passed[-1])
        assert (float(best["a"][0]), float(best["b"][0])) == (2.0, 0.0)


WRAPPERS = {
    "chain": lambda inner: optim.chain(optim.clip(9.0), inner),
    "skip_nonfinite": optim.skip_nonfinite,
    "accumulate": lambda inner: optim.accumulate(inner, 1),
    "groups": lambda inner: optim.groups({"**": inner}),
    "optax.chain": lambda inner: optax.chain(optax.clip(9.0), inner),
    "optax.partition": lambda inner: optax.partition({"x": inner}, "x"),
    "optax.MultiSteps": lambda inner: optax.MultiSteps(inner, 1),
    "optax.apply_if_finite": lambda inner: optax.apply_if_finite(inner, 2),
    "optax.inject_hyperparams": lambda inner: optax.inject_hyperparams(
        lambda factor: optax.chain(optax.scale(factor), inner)
    )(1.0),
}
KEPT = optim.groups(
    {
        "ema": optim.chain(optim.sgd(0.1), optim.ema(0.5)),
        "swa": optim.chain(optim.sgd(0.1), optim.swa(1)),
        "lookahead": optim.lookahead(optim.sgd(0.1), every=2),
        "free/*": optim.schedule_free(0.1),
        "sam": optim.sam(0.1, inner=lambda rate: optim.sgd(rate, momentum=0.5), opaque=False, rho=0.0),
        "none": optim.sgd(0.1),
    }
)
TREE = {name: jnp.full(2, 3.0) for name in ("ema", "swa", "lookahead", "sam", "none")}
TREE["free"] = (jnp.full(2, 3.0, jnp.bfloat16), jnp.full(1, 3.0))


@pytest.fixture(scope="module")
def alone(run, evaluate):
    """The parameters and those to evaluate after three steps without a wrapper."""
    passed, state = run(KEPT, TREE, steps=3)
    return passed[-1], evaluate(state, passed[-1])


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_one_way_to_the_parameters_to_evaluate_inside_anything(wrapper, alone, run, evaluate):
    passed, state = run(WRAPPERS[wrapper](KEPT), TREE, steps=3)
    got = (passed[-1], evaluate(state, passed[-1]))
    assert jax.tree.map(jnp.result_type, got[1]) == jax.tree.map(jnp.result_type, TREE)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6), got, alone)
    moved = {name for name in ("ema", "swa", "lookahead") if np.any(got[1][name] != got[0][name])}
    assert moved == {"ema", "swa", "lookahead"}


@pytest.mark.parametrize("wrapper", ["chain", "skip_nonfinite", "accumulate", "groups"])
def test_averages_and_wrappers_under_strict_promotion(wrapper):
    optimizer = WRAPPERS[wrapper](KEPT)

    def step(params):
        updates, state = optimizer.update(params, optimizer.init(params), params)
        return optim.evaluation_params(state, optim.apply_updates(params, updates))

    with jax.numpy_dtype_promotion("strict"):
        strict = jax.eval_shape(step, TREE)
    assert strict == jax.eval_shape(step, TREE)


def test_of_several_averages_the_last_is_evaluated(run, evaluate):
    both = optim.chain(optim.sgd(0.3), optim.ema(0.5), optim.swa())
    params = jnp.array([4.0])
    passed, state = run(both, params, steps=4)
    np.testing.assert_allclose(evaluate(state, passed[-1]), np.mean(passed, axis=0), rtol=1e-6)


@pytest.mark.parametrize("optimizer", [optim.ema(), optim.schedule_free()], ids=["ema", "schedule_free"])
@pytest.mark.parametrize("params", [{"a": jnp.ones(3)}, {"b": jnp.ones(2)}, {"a": jnp.ones(())}])
def test_averages_of_other_parameters(optimizer, params):
    state = optimizer.init({"a": jnp.ones(2)})
    message = (
        r"evaluation_params: the \w+State \(first\) belongs to other parameters than these \(second\):\n"
    )
    with pytest.raises(ValueError, match=message):
        optim.evaluation_params(state, params)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optim.ema(), "ema: update needs params, got None"),
        (optim.swa(), "swa: update needs params, got None"),
        (optim.lookahead(optim.sgd()), "lookahead: update needs params, got None"),
        (optim.sam(opaque=False), "sam: update needs params, got None"),
        (optim.sam(), r"sam: update needs params and value_fn= \(params -> loss\), or sam\(opaque=False\)"),
    ],
)
def test_what_an_update_needs(optimizer, message):
    with pytest.raises(ValueError, match=message):
        optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: optim.ema(-0.1), r"ema: decay must be in \[0, 1\), got -0.1"),
        (lambda: optim.ema(debais=True), r'ema: unknown option "debais": did you mean "debias"'),
        (lambda: optim.swa(every=0), r"swa: every must be a whole number of at least 1, got 0"),
        (lambda: optim.lookahead(optim.sgd), r"lookahead: an optimizer .* is required, got <function"),
        (lambda: optim.sam(rho=-1.0), r"sam: rho must be at least 0, got -1"),
        (
            lambda: optim.sam(inner=optim.sgd(0.1)),
            r"sam: inner must be a function, got GradientTransformation",
        ),
        (lambda: optim.sam(inner=lambda rate: rate), r"sam: an optimizer .* is required, got 0.01"),
    ],
)
def test_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_parameters_and_averages_may_be_donated_together(quick):
    params = {"a": jnp.ones(2)}
    for optimizer in (optim.ema(), optim.prodigy(), optim.schedule_free(), optim.lookahead(optim.sgd())):
        step = quick(
            lambda params, state, each=optimizer: each.update(params, state, params), donate_argnums=(0, 1)
        )
        step(jax.tree.map(jnp.copy, params), optimizer.init(params))
        fresh = jax.tree.map(jnp.copy, params)
        step(fresh, optimizer.init(fresh))
