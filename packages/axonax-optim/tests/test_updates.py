"""Updates that optimizers are made of: half precision, wrappers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim


@pytest.fixture
def once(quick):
    """The first updates, from one program."""

    def run(transformation, gradients, params=None):
        def first(gradients, params):
            return transformation.update(gradients, transformation.init(params), params)[0]

        return jax.device_get(quick(first)(gradients, gradients if params is None else params))

    return run


def test_adaptive_clip_bounds_each_unit(once):
    params, gradients = np.float32([[3.0, 0.0], [4.0, 0.0]]), np.float32([[6.0, 1.0], [8.0, 0.0]])
    got = once(optim.adaptive_clip(0.5), gradients, params)
    np.testing.assert_allclose(got, [[1.5, 0.0005], [2.0, 0.0]], rtol=1e-6)
    vector = once(optim.adaptive_clip(0.5), np.float32([6.0, 8.0]), np.float32([3.0, 4.0]))
    np.testing.assert_allclose(vector, [1.5, 2.0], rtol=1e-6)


# Large leaves are measured another way than small ones.
SIZES = pytest.mark.parametrize("size", [4, 5000])


@SIZES
@pytest.mark.parametrize("make", [optim.clip_by_global_norm, optim.clip_by_block_rms, optim.adaptive_clip])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_clips_neither_overflow_nor_underflow(make, dtype, size, quick):
    limits, clip = jnp.finfo(dtype), make(1.0)
    params = np.ones(size, dtype)
    first = quick(lambda gradients: clip.update(gradients, clip.init(params), params)[0])
    large = np.asarray(first(np.full(size, float(limits.max) / 4 / np.sqrt(size), dtype)))
    assert large.dtype == dtype
    if size == 4:
        assert 0.4 < float(large[0]) < 1.1
    bound = 1.0 if make is optim.clip_by_global_norm else np.sqrt(size)
    assert float(np.linalg.norm(large.astype(np.float32))) == pytest.approx(bound, rel=0.05)
    tiny = np.full(size, limits.tiny, dtype)
    np.testing.assert_array_equal(first(tiny), tiny)
    np.testing.assert_array_equal(first(np.zeros(size, dtype)), np.zeros(size))
    infinite = np.where(np.arange(size) == 0, np.inf, 1.0).astype(dtype)
    np.testing.assert_array_equal(first(infinite), np.zeros(size))


@SIZES
def test_ratios_of_norms_neither_overflow_nor_underflow(size, once):
    params = {"a": np.full(size, 1e30), "b": np.full(size, 1e-30), "c": np.zeros(2)}
    gradients = {"a": np.full(size, 1e-25), "b": np.full(size, 1e25), "c": np.ones(2)}
    params, gradients = (jax.tree.map(np.float32, tree) for tree in (params, gradients))
    got = once(optim.scale_by_trust_ratio(), gradients, params)
    for name, expected in (("a", 1e30), ("b", 1e-30), ("c", 1.0)):
        np.testing.assert_allclose(got[name], expected, rtol=1e-5)


def test_a_chain_rounds_once(once):
    parts = [optim.scale(1 / 3), optim.scale(3.0)]
    gradients = jnp.array([1.0, 1.25, 1.75], jnp.bfloat16)
    np.testing.assert_array_equal(once(optim.chain(*parts), gradients), gradients)


def test_a_chain_keeps_plain_parts_wide_and_in_their_types():
    chain = optim.chain(optax.trace(0.9), optim.scale(1.0))
    params = jnp.ones(2, jnp.bfloat16)
    state = chain.init(params)
    updates, following = chain.update(params, state, params)
    assert updates.dtype == jnp.bfloat16
    assert jax.tree.map(jnp.result_type, following) == jax.tree.map(jnp.result_type, state)
    assert following[0].trace.dtype == jnp.float32


def test_chains_are_equal_and_have_another_name():
    assert optim.compose is optim.chain
    assert optim.chain(optim.clip(1.0), optim.sgd(0.1)) == optim.chain(optim.clip(1.0), optim.sgd(0.1))


def test_live_numbers_in_a_chain_are_set():
    chain = optim.chain(optim.clip(1.0), optim.add_decayed_weights(0.5), optim.sgd(0.1))
    state = optim.with_hyperparams(chain.init(jnp.ones(1)), delta=3.0, weight_decay=0.0, learning_rate=1.0)
    np.testing.assert_allclose(chain.update(jnp.full(1, 5.0), state, jnp.ones(1))[0], [-3.0])


def test_masks_by_pattern_tree_and_function():
    tree = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    masks = [{"kernel": True, "bias": False}, lambda params: {"kernel": True, "bias": False}]
    made = [
        optim.masked(optim.trace(0.5), "kernel"),
        *(optim.masked(optim.trace(0.5), mask=mask) for mask in masks),
    ]
    for transformation in made:
        state = transformation.init(tree)
        _, state = transformation.update(tree, state, tree)
        updates, state = transformation.update(tree, state)
        np.testing.assert_allclose([updates["kernel"][0], updates["bias"][0]], [1.5, 1.0])
        assert state.inner.trace["bias"] == optax.MaskedNode()


def test_a_skipped_step_leaves_the_state(quick):
    optimizer = optim.skip_nonfinite(optim.adam(0.1))
    state, update = optimizer.init(jnp.ones(2)), quick(optimizer.update)
    updates, state = update(jnp.array([jnp.inf, 1.0]), state)
    np.testing.assert_array_equal(updates, np.zeros(2))
    assert (int(state.skipped), int(state.inner.step)) == (1, 0)
    updates, state = update(jnp.ones(2), state)
    np.testing.assert_allclose(updates, [-0.1, -0.1], rtol=1e-5)
    assert (int(state.skipped), int(state.inner.step)) == (1, 1)


def test_stateful_and_stateless_functions():
    counted = optim.stateful(
        lambda params: jnp.zeros(()), lambda updates, state, params: (updates, state + 1)
    )
    halved = optim.stateless(
        lambda updates, params: jax.tree.map(lambda leaf, param: leaf * param, updates, params)
    )
    chain = optim.chain(counted, halved)
    updates, state = chain.update(jnp.ones(2), chain.init(jnp.ones(2)), jnp.full(2, 3.0))
    assert updates.tolist() == [3.0, 3.0]
    assert float(state[0]) == 1


SIZES = (4, 2, 5, 3, 1, 6, 2)


def batches():
    draw = np.random.default_rng(2).normal
    return [draw(size=(size, 3)).astype("float32") for size in SIZES]


@pytest.mark.parametrize("tail", [False, True])
def test_accumulation_equals_the_big_batch(tail, quick):
    parts = batches() if tail else batches()[:6]
    optimizer = optim.accumulate(optim.adam(optim.linear_decay(0.1, steps=10)), 3)
    plain = optim.adam(optim.linear_decay(0.1, steps=10))
    params, state, step = jnp.ones(3), None, quick(optimizer.update)
    state = optimizer.init(params)
    for index, batch in enumerate(parts):
        gradient = jnp.asarray(batch.mean(0)) * params
        last = index == len(parts) - 1
        updates, state = step(gradient, state, params, weight=float(len(batch)), flush=last)
        params = optim.apply_updates(params, updates)
    expected, own, whole = jnp.ones(3), plain.init(jnp.ones(3)), quick(plain.update)
    groups = [parts[:3], parts[3:6], parts[6:]] if tail else [parts[:3], parts[3:]]
    for group in groups:
        gradient = jnp.asarray(np.concatenate(group).mean(0)) * expected
        updates, own = whole(gradient, own, expected)
        expected = optim.apply_updates(expected, updates)
    np.testing.assert_allclose(params, expected, rtol=1e-6)
    assert int(state.inner.step) == len(groups)
    assert step._cache_size() == 1


def test_accumulation_of_equal_parts_agrees_with_optax(quick):
    ours, theirs = optim.accumulate(optim.sgd(0.1), 2), optax.MultiSteps(optax.sgd(0.1), 2)
    step, other = quick(ours.update), quick(theirs.update)
    states = [ours.init(jnp.ones(3)), theirs.init(jnp.ones(3))]
    for batch in batches():
        gradient = jnp.asarray(batch.mean(0))
        got, states[0] = step(gradient, states[0], jnp.ones(3))
        expected, states[1] = other(gradient, states[1], jnp.ones(3))
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_a_micro_batch_of_padding_counts_nothing():
    optimizer = optim.accumulate(optim.sgd(1.0), 2)
    state = optimizer.init(jnp.ones(1, jnp.float16))
    _, state = optimizer.update(jnp.full(1, jnp.nan, jnp.float16), state, weight=0.0)
    updates, state = optimizer.update(jnp.full(1, 2.0, jnp.float16), state, weight=5.0)
    assert (updates.tolist(), updates.dtype.name) == ([-2.0], "float16")
    updates, state = optimizer.update(jnp.full(1, jnp.nan, jnp.float16), state, weight=0.0, flush=True)
    assert updates.tolist() == [0.0]
    assert int(state.inner.step) == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: optim.scale_by_schedule(0.1),
            r"scale_by_schedule: schedule must be a function of the step, got",
        ),
        (lambda: optim.scale(float("nan")), r"scale: scale must be finite, got nan"),
        (lambda: optim.clip(-1.0), r"clip: delta must be at least 0, got -1"),
        (
            lambda: optim.clip_by_global_norm(maxnorm=1.0),
            r'unknown option "maxnorm": did you mean "max_norm"',
        ),
        (lambda: optim.masked(optim.sgd(), mask="x"), r"masked: mask must be a tree of bools or a function"),
        (lambda: optim.masked(optim.sgd(), maks=True), r'masked: unknown option "maks": did you mean "mask"'),
        (lambda: optim.stateless(0.5), r"stateless: function must be a function, got 0.5"),
        (lambda: optim.stateful(0.5, 0.5), r"stateful: init must be a function, got 0.5"),
        (lambda: optim.chain(optim.sgd(), "adam"), r"chain: an optimizer .* is required, got 'adam'"),
        (lambda: optim.masked(optim.sgd()), r"masked: either patterns or a mask is required"),
        (lambda: optim.masked(optim.sgd(), "b").init({"a": 1.0}), r'pattern "b" selects no leaf'),
        (
            lambda: optim.accumulate(optim.sgd(), 0),
            r"accumulate: steps must be a whole number of at least 1, got 0",
        ),
        (
            lambda: optim.lookahead(optim.sgd(), every=0),
            r"lookahead: every must be a whole number of at least 1",
        ),
        (lambda: optim.swa(-1), r"swa: start must be a whole number of at least 0, got -1"),
        (lambda: optim.ema(1.0), r"ema: decay must be in \[0, 1\), got 1"),
        (lambda: optim.schedule_free(b1=0.0), r"schedule_free: b1 must be in \(0, 1\), got 0"),
        (lambda: optim.soap(frequency=0), r"soap: frequency must be a whole number of at least 1, got 0"),
        (lambda: optim.muon(ns_steps=1.5), r"muon: ns_steps must be a whole number of at least 1, got 1.5"),
    ],
)
def test_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("transformation", "message"),
    [
        (optim.adaptive_clip(), r"adaptive_clip: update needs params"),
        (optim.scale_by_trust_ratio(), r"scale_by_trust_ratio: update needs params"),
        (optim.scale_by_param_block_norm(), r"scale_by_param_block_norm: update needs params"),
        (optim.ema(), r"ema: update needs params"),
        (optim.sam(), r"sam: update needs params and value_fn="),
        (optim.sam(opaque=False), r"sam: update needs params, got None"),
        (optim.lbfgs(), r"lbfgs: the line search of update needs value=, value_fn="),
        (optim.sophia(), r"sophia: update needs value_fn="),
    ],
)
def test_what_an_update_needs(transformation, message):
    with pytest.raises(ValueError, match=message):
        transformation.update(jnp.ones(2), transformation.init(jnp.ones(2)))


def test_a_state_of_another_chain():
    with pytest.raises(ValueError, match=r"chain: a state for 1 parts is required, got 2 states"):
        optim.chain(optim.sgd()).update(1.0, ((), ()))
    with pytest.raises(ValueError, match=r"chain: a state for 1 parts is required, got dict"):
        optim.chain(optim.sgd()).update(1.0, {})


def test_prodigy_starts_after_steps_without_a_rate_or_a_gradient(quick):
    """Its estimate is 0 / 0 until then."""
    optimizer, params = optim.prodigy(lambda step: jnp.where(step < 2, 0.0, 1.0)), jnp.ones(2)
    state, update = optimizer.init(params), quick(optimizer.update)
    for gradient in (0.0, 3.0, 3.0, 3.0):
        updates, state = update(np.full(2, gradient, np.float32), state, params)
        params = optim.apply_updates(params, updates)
        np.testing.assert_equal(np.isfinite(params), True)
    assert (params < 1).all()
