"""Dropout: what is kept, how often, and at the ends of the range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

KEY = jax.random.key(0, impl="rbg")
X = jnp.linspace(1.0, 2.0, 4000).reshape(40, 10, 10)


@pytest.mark.parametrize("drop", [layers.dropout, layers.spatial_dropout])
def test_no_key_and_rate_zero_are_exact(drop):
    assert drop(X, 0.5) is X
    assert drop(X, 0.0, key=KEY) is X
    np.testing.assert_array_equal(drop(X, jnp.float32(0.0), key=KEY), X)


@pytest.mark.parametrize("rate", [1, 1.0, jnp.float32(1.0)])
def test_rate_one_is_all_zeros_with_gradient_zero(rate):
    value, gradient = jax.value_and_grad(lambda x: layers.dropout(x, rate, key=KEY).sum())(X)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_what_stays_is_scaled_and_the_mean_is_kept(rate):
    y = np.asarray(jax.jit(layers.dropout)(X, rate, key=KEY))
    kept = y != 0
    np.testing.assert_allclose(y[kept], np.asarray(X)[kept] / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / X.size)
    gradient = jax.grad(lambda x: layers.dropout(x, rate, key=KEY).sum())(X)
    np.testing.assert_allclose(gradient, kept / (1 - rate), rtol=1e-6)


def test_keys_decide():
    one, again = (layers.dropout(X, 0.5, key=KEY) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (one != layers.dropout(X, 0.5, key=jax.random.key(1, impl="rbg"))).any()


def test_spatial_dropout_keeps_or_drops_whole_feature_maps():
    y = np.asarray(layers.spatial_dropout(X, 0.5, key=KEY))
    kept = y != 0
    assert (kept == kept[:, :1]).all()
    assert 0.4 < kept[:, 0].mean() < 0.6
    assert len({tuple(row) for row in kept[:, 0]}) > 10


def test_what_is_dropped_may_be_infinite():
    x = jnp.full(100, jnp.inf)
    assert set(np.asarray(layers.dropout(x, 0.5, key=KEY))) == {0.0, np.inf}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_scaled_exactly(dtype):
    y = layers.dropout(jnp.full(50, 3.0, dtype), 0.1, key=KEY)
    assert y.dtype == dtype
    assert set(np.asarray(y, np.float32)) == {0.0, float(jnp.asarray(3 / 0.9, dtype))}


def test_vmap_over_keys_and_rates():
    keys = jax.random.split(jax.random.key(0), 3)
    rates = jnp.array([0.0, 0.5, 1.0])
    y = jax.vmap(lambda key, rate: layers.dropout(jnp.ones(64), rate, key=key))(keys, rates)
    np.testing.assert_array_equal(y[0], 1)
    assert set(np.asarray(y[1])) == {0.0, 2.0}
    np.testing.assert_array_equal(y[2], 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.dropout(X, 1.5, key=KEY), r"dropout: rate must be in \[0, 1\], got 1.5"),
        (lambda: layers.dropout(X, -0.1), r"dropout: rate must be in \[0, 1\], got -0.1"),
        (lambda: layers.dropout(X, float("nan"), key=KEY), r"dropout: rate must be in \[0, 1\], got nan"),
        (lambda: layers.dropout(jnp.arange(3), 0.5, key=KEY), "dropout: input must be float, got int32"),
        (lambda: layers.spatial_dropout(X, 2, key=KEY), r"spatial_dropout: rate must be in \[0, 1\], got 2"),
        (
            lambda: layers.spatial_dropout(X[0], 0.5, key=KEY),
            r"spatial_dropout: input must be .* got \(10, 10\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
