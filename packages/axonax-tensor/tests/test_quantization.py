"""Quantized kernels: what is refused, and how they travel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers, trees

KERNEL = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)
HELD = layers.quantize(KERNEL)


def held(values, scale, bits=8):
    return layers.QuantizedKernel(values=jnp.zeros(values, jnp.int8), scale=jnp.ones(scale), bits=bits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.quantize(KERNEL[0]), r"quantize: kernel must be floats .*, got float32 \(3,\)"),
        (
            lambda: layers.quantize(jnp.ones((2, 2), int)),
            r"quantize: kernel must be floats .*, got int32 \(2, 2\)",
        ),
        (lambda: layers.quantize(KERNEL, bits=5), "quantize: bits must be 8 or 4, got 5"),
        (lambda: layers.quantize(KERNEL[:7], bits=4), "quantize: inputs of 4 bits share a byte, .*, got 7"),
        (lambda: layers.quantize(KERNEL, group=3), "quantize: group must divide 8 inputs, got 3"),
        (lambda: layers.quantize(KERNEL, group=0), "quantize: group must divide 8 inputs, got 0"),
        (lambda: layers.quantize(KERNEL, group=2.0), "quantize: group must divide 8 inputs, got 2.0"),
        (
            lambda: layers.dequantize(KERNEL),
            "dequantize: kernel must be a QuantizedKernel, as of quantize, got Array",
        ),
        (
            lambda: layers.dequantize(held((8, 3), (1, 2))),
            r"scale \(1, 2\) does not fit values \(8, 3\) of 8 bits",
        ),
        (
            lambda: layers.dequantize(held((8, 3), (3, 3))),
            r"scale \(3, 3\) does not fit values \(8, 3\) of 8 bits",
        ),
        (lambda: layers.dequantize(held((8, 3), (3,))), r"scale \(3,\) does not fit values \(8, 3\)"),
        (lambda: layers.dequantize(held((2, 8, 3), (1, 1, 3))), r"scale \(1, 1, 3\) does not fit values"),
        (lambda: layers.dequantize(held((8, 3), (1, 3), 5)), "does not fit values .* of 5 bits"),
        (
            lambda: layers.quantized_dense(jnp.ones((1, 8)), KERNEL),
            "quantized_dense: kernel must be a QuantizedKernel, as of quantize, got Array",
        ),
        (
            lambda: layers.quantized_dense(jnp.ones((1, 7)), HELD),
            r"quantized_dense: kernel \(8, 3\) does not fit input \(1, 7\)",
        ),
        (
            lambda: layers.quantized_dense(jnp.ones(8), layers.quantize(KERNEL[None])),
            r"quantized_dense: kernel \(1, 8, 3\) does not fit input \(8,\)",
        ),
        (
            lambda: layers.quantized_dense(jnp.ones(8, int), HELD),
            "quantized_dense: input must be floats, got int32",
        ),
        (lambda: layers.quantized_dense(jnp.ones(8), HELD, jnp.ones(2)), r"bias \(2,\) does not fit 3 units"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("bits", "group"), [(8, None), (8, 2), (4, None), (4, 4)])
def test_half_a_step_off_at_most(bits, group):
    found = layers.quantize(KERNEL, bits=bits, group=group)
    steps = jnp.repeat(found.scale, 8 // found.scale.shape[0], 0)
    assert (jnp.abs(layers.dequantize(found) - KERNEL) <= steps * 0.50001).all()


def test_stacked_layers_are_those_of_each():
    stacked = jnp.stack([KERNEL, KERNEL * 2])
    found = layers.quantize(stacked, bits=4, group=4)
    assert found.shape == (2, 8, 3)
    for index in range(2):
        one = layers.quantize(stacked[index], bits=4, group=4)
        np.testing.assert_array_equal(found.values[index], one.values)
        np.testing.assert_array_equal(layers.dequantize(found)[index], layers.dequantize(one))
    _, ys = jax.lax.scan(lambda carry, each: (carry, layers.quantized_dense(jnp.ones(8), each)), 0, found)
    np.testing.assert_allclose(ys, layers.dequantize(found).sum(1), rtol=1e-5)


def test_a_tree_of_two_leaves():
    assert set(trees.flatten({"dense_0": HELD})) == {"dense_0/values", "dense_0/scale"}
    assert jax.tree.map(lambda leaf: leaf, HELD).bits == 8


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_sums_in_float32(dtype):
    """A running sum in float16 overflows, and in bfloat16 stands still."""
    kernel = layers.QuantizedKernel(
        values=jnp.full((2048, 1), 100, jnp.int8), scale=jnp.full((1, 1), 1e-3), bits=8
    )
    found = layers.quantized_dense(jnp.ones((1, 2048), dtype), kernel)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), 204.8, rtol=float(jnp.finfo(dtype).eps))


def test_gradients_reach_the_input_and_the_bias():
    x, bias = jnp.ones((2, 8)), jnp.zeros(3)
    of_x, of_bias = jax.grad(lambda x, bias: layers.quantized_dense(x, HELD, bias).sum(), (0, 1))(x, bias)
    np.testing.assert_allclose(of_x[0], layers.dequantize(HELD).sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(of_bias, [2, 2, 2])
