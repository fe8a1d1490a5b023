"""Counters past 2**32 and sums of 1e8 terms, without 64-bit types."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axonax.functional import metrics
from axonax.functional.metrics import _counts, _sums, _tally


def counter(number):
    return np.array([number % 2**32, number // 2**32], np.uint32)


def number(count):
    low, high = (int(half) for half in count)
    return high * 2**32 + low


ADD = jax.jit(_counts.add)


@pytest.mark.parametrize("left", [0, 1, 2**24, 2**31 - 1, 2**32 - 1, 2**32, 2**40 + 7, 2**63])
@pytest.mark.parametrize("right", [0, 1, 2**24 + 1, 2**31, 2**32 - 1, 3 * 2**32 + 5])
def test_counters_carry(left, right):
    assert number(ADD(counter(left), counter(right))) == left + right


def test_counters_count_past_two_to_the_32_one_by_one():
    flags = jnp.array([True, False, True, True])

    @jax.jit
    def count(start):
        return jax.lax.fori_loop(0, 5, lambda _, c: _counts.add(c, _counts.of(flags, (0,))), start)

    assert number(count(counter(2**32 - 7))) == 2**32 - 7 + 15


@pytest.mark.parametrize("value", [0, 2**24 + 1, 2**33 + 12345, 2**50])
def test_counters_as_floats(value):
    np.testing.assert_allclose(_counts.to_float(counter(value)), value, rtol=1e-7)


def exact(values):
    return float(sum(Fraction(float(value)) for value in values))


def test_sums_of_a_batch_are_compensated():
    values = np.random.default_rng(5).lognormal(sigma=6, size=100_000).astype(np.float32)
    got = jax.jit(lambda x: _sums.to_float(_sums.of(x, (0,))))(values)
    np.testing.assert_allclose(got, exact(values), rtol=1e-7)
    cancelling = np.concatenate([values, -values, [1.0]]).astype(np.float32)
    rest = SUM(cancelling)
    np.testing.assert_allclose(rest, 1.0, atol=1e-12 * exact(np.abs(values)))


@pytest.mark.parametrize("count", [0, 1, 128, 129, 256, 257, 2500])
def test_sums_of_rows_of_any_length(count):
    values = np.random.default_rng(6).normal(1e3, 1, (2, 3, count)).astype(np.float32)
    got = jax.jit(lambda x: _sums.to_float(_sums.of(x, (2, 3))))(values.reshape(2, 3, 1, count))
    np.testing.assert_allclose(got, values.astype(np.float64).sum(-1), rtol=1e-7)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=8, max_size=8),
    st.permutations(range(8)),
)
def test_sums_do_not_depend_on_the_order(values, order):
    ordered, shuffled = np.float32(values), np.float32(values)[order]
    total = SUM(ordered)
    assert float(SUM(shuffled)) == pytest.approx(float(total), rel=2e-7, abs=1e-6)
    assert float(total) == pytest.approx(exact(ordered), rel=2e-7, abs=1e-6)


SUM = jax.jit(lambda x: _sums.to_float(_sums.of(x, (0,))))


def test_a_running_sum_does_not_drift():
    step = _sums.of(jnp.full(1, 0.1), (0,))

    @jax.jit
    def run(steps):
        return jax.lax.fori_loop(0, steps, lambda _, total: _sums.add(total, step), _sums.zeros(()))

    np.testing.assert_allclose(_sums.to_float(run(3_000_000)), 3e6 * float(np.float32(0.1)), rtol=2e-7)


def test_a_mean_over_more_than_1e8_updates():
    """Doubled by merging: 2**27 updates of weight 0.1, all right, then 2**27 all wrong."""
    metric = metrics.accuracy()
    merge = jax.jit(metric.merge)
    y_true = np.array([1])
    right, wrong = (
        metric.update(metric.init(y_true, y_true * 1.0), y_true, scores, weights=np.array([0.1], np.float32))
        for scores in (np.array([0.9]), np.array([0.1]))
    )
    for _ in range(27):
        right, wrong = merge(right, right), merge(wrong, wrong)
    np.testing.assert_allclose(metric.compute(right), 1.0, rtol=1e-6)
    np.testing.assert_allclose(metric.compute(merge(right, wrong)), 0.5, rtol=1e-6)
    lone = metric.update(right, y_true, np.array([0.1]), weights=np.array([1000.0]))
    expected = 2**27 * float(np.float32(0.1)) / (2**27 * float(np.float32(0.1)) + 1000)
    assert float(metric.compute(lone)) == pytest.approx(expected, abs=1e-6)


def stepped(metric, steps, *batch, **extra):
    """The state after so many updates with one batch, each of them made."""
    update = functools.partial(metric.update, **extra)
    run = jax.jit(lambda state: jax.lax.fori_loop(0, steps, lambda _, held: update(held, *batch), state))
    return run(metric.init(*batch))


def test_a_mean_over_1e8_updates_one_by_one():
    metric = metrics.mean()
    state = stepped(metric, 10**8, None, jnp.ones(1), weights=jnp.full(1, 0.1))
    np.testing.assert_allclose(metric.compute(state), 1.0, rtol=1e-6)


def test_counters_past_two_to_the_24_one_by_one():
    metric = metrics.true_positives()
    steps = 2**24 + 3
    state = stepped(metric, steps, jnp.ones(1, int), jnp.ones(1))
    assert steps in [number(each) for each in np.reshape(state.counts, (-1, 2))]
    assert float(metric.compute(state)) == float(np.float32(steps))


def test_counts_past_two_to_the_32_give_the_exact_share():
    whole = 5 * 2**32 + 3
    tally = _tally.Tally(counts=jnp.asarray([counter(whole // 4), counter(whole)]), sums=_sums.zeros((2,)))
    np.testing.assert_allclose(metrics.accuracy().compute(tally), (whole // 4) / whole, rtol=2e-7)


def test_the_state_is_two_small_leaves():
    leaves = jax.tree.leaves(metrics.accuracy().init(np.zeros(3, int), np.zeros((3, 4))))
    assert [(leaf.shape, str(leaf.dtype)) for leaf in leaves] == [((2, 2), "uint32"), ((2, 2), "float32")]
