"""Max pools against loops, and against the gradient of XLA's own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers
from axonax.tensor.layers import _pooling

RNG = np.random.default_rng(0)


def oracle(x, window, strides, pads, dilation):
    x = np.pad(np.asarray(x, np.float64), [(0, 0), *pads, (0, 0)], constant_values=-np.inf)
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    positions = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], reach, strides, strict=True)]
    y = np.empty((x.shape[0], *positions, x.shape[-1]))
    for at in itertools.product(*map(range, positions)):
        box = tuple(
            slice(p * s, p * s + k, d) for p, s, k, d in zip(at, strides, reach, dilation, strict=True)
        )
        y[(slice(None), *at)] = x[(slice(None), *box)].max(tuple(range(1, x.ndim - 1)))
    return y


CASES = [
    ((2, 7, 3), (2,), (2,), [(0, 0)], (1,)),
    ((2, 9, 3), (7,), (2,), [(1, 3)], (1,)),
    ((1, 6, 4, 2), (2, 2), (2, 2), [(0, 0), (0, 0)], (1, 1)),
    ((1, 7, 8, 2), (3, 2), (2, 1), [(1, 1), (0, 1)], (1, 1)),
    ((1, 8, 9, 2), (2, 3), (1, 2), [(0, 0), (2, 0)], (3, 2)),
    ((1, 12, 6, 2), (6, 2), (1, 2), [(0, 0), (0, 0)], (2, 1)),
    ((1, 4, 4, 2, 2), (2, 1, 2), (1, 2, 1), [(0, 1), (0, 0), (0, 0)], (1, 1, 1)),
]


@pytest.mark.parametrize(("shape", "window", "strides", "pads", "dilation"), CASES)
def test_max_pool_is_the_largest_in_each_window(shape, window, strides, pads, dilation):
    x = RNG.normal(size=shape).astype(np.float32)
    y = layers.max_pool(x, window=window, strides=strides, padding=tuple(pads), dilation=dilation)
    np.testing.assert_array_equal(y, oracle(x, window, strides, pads, dilation).astype(np.float32))


def by_xla(x, window, strides, pads):
    whole = ((0, 0), *pads, (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, *window, 1), (1, *strides, 1), whole)


@pytest.mark.parametrize("unrolled", [5, 0])
@pytest.mark.parametrize(
    ("window", "strides", "pads"),
    [
        ((2, 2), (2, 2), ((0, 0), (0, 0))),
        ((3, 2), (2, 1), ((1, 0), (0, 1))),
        ((1, 5), (1, 2), ((0, 0), (2, 2))),
    ],
)
def test_ties_give_the_gradient_to_the_first_in_every_lowering(monkeypatch, unrolled, window, strides, pads):
    monkeypatch.setattr(_pooling, "_UNROLLED", unrolled)
    x = jnp.asarray(RNG.integers(0, 3, (2, 6, 6, 2)), jnp.float32)
    y = by_xla(x, window, strides, pads)
    weights = jnp.asarray(RNG.integers(1, 9, y.shape), jnp.float32)

    def ours(x):
        pooled = layers.max_pool(x, window=window, strides=strides, padding=pads)
        return jnp.sum(pooled * weights), pooled

    (_, pooled), gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))(x)
    np.testing.assert_array_equal(pooled, y)
    expected = jax.grad(lambda x: jnp.sum(by_xla(x, window, strides, pads) * weights))(x)
    np.testing.assert_array_equal(gradient, expected)


def test_same_padding_never_wins():
    x = -jnp.ones((1, 5, 5, 1))
    pool = jax.jit(lambda x: layers.max_pool(x, window=2, padding="same"))
    assert pool(x).shape == (1, 3, 3, 1)
    np.testing.assert_array_equal(pool(x), -1)
    assert jax.jit(jax.grad(lambda x: pool(x).sum()))(x).sum() == 9


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "uint8", "int32"])
def test_the_dtype_stays(dtype):
    x = jnp.asarray(RNG.integers(0, 100, (1, 5, 1)), dtype)
    y = layers.max_pool(x, window=3, strides=1, padding=1)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(
        np.asarray(y, np.float32), oracle(np.asarray(x, np.float32), (3,), (1,), [(1, 1)], (1,))
    )


@pytest.mark.parametrize("window", [2, 7])
def test_nan_spreads_to_every_window_that_holds_it(window):
    x = jnp.zeros((1, 14, 1)).at[0, 1, 0].set(jnp.nan)
    np.testing.assert_array_equal(np.isnan(layers.max_pool(x, window=window)[0, :, 0])[:2], [True, False])
    x = jnp.zeros((1, 14, 1)).at[0, 0, 0].set(jnp.nan)
    assert np.isnan(layers.max_pool(x, window=window)[0, 0, 0])


def test_vmap_and_forward_derivatives():
    x = jnp.asarray(RNG.normal(size=(3, 1, 4, 2)), jnp.float32)
    pool = jax.jit(lambda x: layers.max_pool(x, window=2))
    np.testing.assert_array_equal(jax.vmap(pool)(x)[2], pool(x[2]))
    y, tangent = jax.jvp(pool, (x[0],), (x[0],))
    np.testing.assert_array_equal(y, tangent)
    assert pool(jnp.ones((0, 4, 1))).shape == (0, 2, 1)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 3), {"window": 2}, r"max_pool: input must be \(batch, \*spatial, channels\), got \(1, 3\)"),
        ((1, 4, 1), {"window": (2, 2)}, "max_pool: window must have one value or one for each of 1 axes"),
        ((1, 4, 1), {"window": 0}, "max_pool: window must be integers of at least 1, got 0"),
        ((1, 4, 1), {"window": 2, "strides": 0}, "max_pool: strides must be integers of at least 1"),
        ((1, 4, 1), {"window": 2, "dilation": (1, 1)}, "max_pool: dilation must have one value"),
        ((1, 4, 1), {"window": 2, "padding": "full"}, 'unknown max_pool padding "full"'),
        ((1, 4, 1), {"window": 5}, r"max_pool: window \(5,\) does not fit the padded input \(4,\)"),
    ],
)
def test_bad_input(shape, options, message):
    with pytest.raises(ValueError, match=message):
        layers.max_pool(jnp.ones(shape), **options)


def test_booleans_have_no_largest():
    with pytest.raises(ValueError, match="max_pool: input must be float or integer, got bool"):
        layers.max_pool(jnp.ones((1, 4, 1), bool), window=2)
