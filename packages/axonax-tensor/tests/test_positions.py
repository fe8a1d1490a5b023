"""Positions: frequencies, and what is refused; values stand in the table of ops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

X = jnp.ones((2, 3, 2, 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: layers.rotary_embedding(X[0]),
            r"input must be \(batch, time, heads, size\), got \(3, 2, 8\)",
        ),
        (lambda: layers.rotary_embedding(X, fraction=0), r"fraction must be in \(0, 1\], got 0"),
        (lambda: layers.rotary_embedding(X, fraction=1.5), r"fraction must be in \(0, 1\], got 1.5"),
        (
            lambda: layers.rotary_embedding(X, frequencies=np.ones(5)),
            "5 frequencies need a size of 10, got 8",
        ),
        (
            lambda: layers.rotary_embedding(X, jnp.arange(4)),
            r"positions \(4,\) do not fit input \(2, 3, 2, 8\)",
        ),
    ],
)
def test_rotary_embedding_refuses(call, message):
    with pytest.raises(ValueError, match=f"rotary_embedding: {message}"):
        call()


@pytest.mark.parametrize("size", [0, 3])
def test_sizes_are_even(size):
    with pytest.raises(ValueError, match=f"rotary_frequencies: size must be an even number .*, got {size}"):
        layers.rotary_frequencies(size)
    with pytest.raises(
        ValueError, match=f"sinusoidal: size must be an even number of at least 2, got {size}"
    ):
        layers.sinusoidal(jnp.arange(3), size)


def test_scalings_by_name():
    with pytest.raises(ValueError, match='unknown scaling "lama3": did you mean "llama3"'):
        layers.rotary_frequencies(4, scaling="lama3")
    plain = layers.rotary_frequencies(128, base=500000.0)
    assert plain.dtype == np.float64
    np.testing.assert_allclose(plain, [500000.0 ** (-i / 64) for i in range(64)], rtol=1e-14)
    linear = layers.rotary_frequencies(128, base=500000.0, scaling="linear", factor=4.0)
    np.testing.assert_allclose(linear, plain / 4, rtol=1e-15)
    ntk = layers.rotary_frequencies(128, base=500000.0, scaling="ntk", factor=4.0)
    np.testing.assert_allclose([ntk[0], ntk[-1]], [1.0, plain[-1] / 4], rtol=1e-12)
    assert (np.diff(ntk / plain) < 0).all()


def test_llama3():
    """One by one, as the model's code has it."""
    found = layers.rotary_frequencies(
        128, base=500000.0, scaling="llama3", factor=8.0, low=1.0, high=4.0, length=8192
    )
    for frequency, scaled in zip(layers.rotary_frequencies(128, base=500000.0), found, strict=True):
        wave = 2 * math.pi / frequency
        smooth = (8192 / wave - 1.0) / (4.0 - 1.0)
        if wave < 8192 / 4.0:
            expected = frequency
        elif wave > 8192 / 1.0:
            expected = frequency / 8
        else:
            expected = (1 - smooth) * frequency / 8 + smooth * frequency
        np.testing.assert_allclose(scaled, expected, rtol=1e-13)


def test_frequencies_may_be_traced():
    """They are parameters then: with a gradient, and exact only as far as float32 goes."""
    frequencies = layers.rotary_frequencies(8)
    found = jax.jit(lambda f: layers.rotary_embedding(X, frequencies=f))(jnp.asarray(frequencies))
    np.testing.assert_allclose(found, layers.rotary_embedding(X, frequencies=frequencies), rtol=1e-5)
    slope = jax.grad(lambda f: layers.rotary_embedding(X, frequencies=f).sum())(jnp.asarray(frequencies))
    assert (np.asarray(slope) != 0).all()


def test_half_precision_positions_far_out():
    """Angles are found in float32 or better, whatever the dtype of ``x``."""
    x = jnp.ones((1, 1, 1, 8), jnp.bfloat16)
    wide = layers.rotary_embedding(x.astype(jnp.float32), offset=100_003)
    np.testing.assert_array_equal(layers.rotary_embedding(x, offset=100_003), wide.astype(jnp.bfloat16))


def test_biases_refuse():
    with pytest.raises(ValueError, match="alibi: heads must be at least 1, got 0"):
        layers.alibi(0, 3)
    bias = layers.relative_position_bias
    with pytest.raises(
        ValueError, match=r"relative_position_bias: kernel must be \(buckets, heads\), got \(8,\)"
    ):
        bias(jnp.ones(8), 3)
    for buckets in (2, 7):
        with pytest.raises(ValueError, match=f"buckets must be an even number of at least 4, got {buckets}"):
            bias(jnp.ones((buckets, 2)), 3)
    with pytest.raises(ValueError, match="buckets must be at least 2, got 1"):
        bias(jnp.ones((1, 2)), 3, bidirectional=False)
    with pytest.raises(ValueError, match="max_distance must be above 8, got 8"):
        bias(jnp.ones((32, 2)), 3, max_distance=8)


def test_an_offset_of_a_bias_is_traced():
    """The row of one query at a position of the whole."""
    kernel = jnp.arange(16.0).reshape(8, 2)
    for whole, row in (
        (layers.alibi(2, 6), jax.jit(lambda at: layers.alibi(2, 1, 6, offset=at))),
        (
            layers.relative_position_bias(kernel, 6),
            jax.jit(lambda at: layers.relative_position_bias(kernel, 1, 6, offset=at)),
        ),
    ):
        np.testing.assert_array_equal(row(2)[:, 0], whole[:, 2])
