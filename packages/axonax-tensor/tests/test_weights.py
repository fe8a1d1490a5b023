"""Weights made of weights, against NumPy in float64."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import activations, layers, weights

RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("fraction", [0, 0.3, 0.5, 1])
def test_prune_zeros_the_smallest(shape, fraction):
    kernel = drawn(*shape)
    pruned = np.asarray(weights.prune(kernel, fraction))
    count = round(fraction * kernel.size)
    assert (pruned == 0).sum() == count
    limit = np.sort(np.abs(kernel), axis=None)[count - 1] if count else -1
    np.testing.assert_array_equal(pruned, np.where(np.abs(kernel) <= limit, 0, kernel))


def test_prune_of_equal_weights_takes_the_first():
    assert weights.prune(jnp.ones(4, jnp.bfloat16), 0.5).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("wider", [4, 5, 11])
def test_a_wider_layer_gives_what_the_narrow_one_gave(wider):
    x, first, bias, second = drawn(6, 3), drawn(3, 4), drawn(4), drawn(4, 2)
    copied = weights.copies(jax.random.key(1), 4, wider)
    assert copied.shape == (wider,)
    assert copied[:4].tolist() == [0, 1, 2, 3]
    hidden = layers.dense(x, weights.widen_outputs(first, copied), weights.widen_outputs(bias, copied))
    found = layers.dense(activations.tanh(hidden), weights.widen_inputs(second, copied))
    expected = np.tanh(x.astype(np.float64) @ first + bias) @ second
    assert hidden.shape == (6, wider)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_update_of_low_rank_merges_into_the_kernel():
    x, kernel, a, b, bias = drawn(2, 5, 3), drawn(3, 4), drawn(3, 2), drawn(2, 4), drawn(4)
    found = weights.low_rank_dense(x, kernel, a, b, bias, scale=0.5)
    merged = weights.merge_low_rank(kernel, a, b, scale=0.5)
    expected = kernel.astype(np.float64) + 0.5 * a.astype(np.float64) @ b
    np.testing.assert_allclose(merged, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, x @ expected + bias, rtol=1e-4, atol=1e-5)
    stacked = weights.merge_low_rank(*(np.stack([each, each]) for each in (kernel, a, b)), scale=0.5)
    np.testing.assert_allclose(stacked, np.stack([merged, merged]), rtol=1e-6)
    same = weights.low_rank_dense(x, kernel, a, np.zeros_like(b), bias)
    np.testing.assert_array_equal(same, layers.dense(x, kernel, bias))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: weights.prune(drawn(3), 1.5), "prune: fraction must be in [0, 1], got 1.5"),
        (
            lambda: weights.copies(jax.random.key(0), 4, 3),
            "copies: a layer of 4 units does not become wider by 3",
        ),
        (lambda: weights.merge_low_rank(drawn(3, 4), drawn(3, 2), drawn(3, 4)), "dense: kernel (3, 4)"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()
