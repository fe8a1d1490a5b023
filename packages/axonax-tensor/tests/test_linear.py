"""Dense layers, biases and flattening."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from axonax.tensor import layers

RNG = np.random.default_rng(0)


def draw(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("lead", [(5,), (2, 3), (), (0,)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_dense_is_a_product_and_a_sum(lead, with_bias):
    x, kernel, bias = draw(*lead, 4), draw(4, 3), draw(3) if with_bias else None
    expected = x.astype(np.float64) @ kernel + (bias if with_bias else 0)
    np.testing.assert_allclose(layers.dense(x, kernel, bias), expected, rtol=1e-5, atol=1e-6)


def test_dense_gradients():
    check_grads(jax.jit(layers.dense), (draw(2, 3), draw(3, 2), draw(2)), order=1, rtol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_dense_sums_half_precision_in_float32(dtype):
    x, kernel, bias = (jnp.asarray(a, dtype) for a in (draw(4, 2048), draw(2048, 3), draw(3)))
    exact = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64)
    y = layers.dense(x, kernel, bias)
    assert y.dtype == dtype
    np.testing.assert_allclose(np.asarray(y, np.float64), exact, rtol=float(jnp.finfo(dtype).eps), atol=1e-3)
    slope = jax.grad(lambda *a: layers.dense(*a).astype(jnp.float32).sum(), (0, 1, 2))
    gradients = jax.eval_shape(slope, x, kernel, bias)
    assert {gradient.dtype for gradient in gradients} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    ("x", "kernel", "result"),
    [
        (jnp.bfloat16, jnp.float32, jnp.float32),
        (jnp.float16, jnp.bfloat16, jnp.float32),
        (jnp.int32, jnp.bfloat16, jnp.bfloat16),
    ],
)
def test_mixed_dtypes_take_the_one_that_holds_both(x, kernel, result):
    assert layers.dense(jnp.ones((1, 2), x), jnp.ones((2, 1), kernel)).dtype == result


def test_vmap_over_kernels():
    x, kernels = draw(2, 3), draw(4, 3, 5)
    np.testing.assert_allclose(
        jax.vmap(layers.dense, (None, 0))(x, kernels),
        np.einsum("bi,kio->kbo", x, kernels),
        rtol=1e-5,
        atol=1e-6,
    )


def test_bias_adds_along_the_last_axis():
    x, bias = draw(2, 3, 4), draw(4)
    np.testing.assert_array_equal(layers.bias(x, bias), x + bias)
    assert layers.bias(jnp.ones((1, 2), jnp.bfloat16), jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("shape", "flat"), [((2, 3, 4), (2, 12)), ((5,), (5, 1)), ((0, 3, 2), (0, 6)), ((2, 0), (2, 0))]
)
def test_flatten_keeps_the_batch(shape, flat):
    x = draw(*shape)
    np.testing.assert_array_equal(layers.flatten(x), x.reshape(flat))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: layers.dense(draw(5, 33), draw(32, 64)),
            r"dense: kernel \(32, 64\) does not fit input \(5, 33\)",
        ),
        (lambda: layers.dense(np.float32(1), draw(3, 2)), r"dense: kernel \(3, 2\) does not fit input \(\)"),
        (
            lambda: layers.dense(draw(2, 3), draw(3)),
            r"dense: kernel must have 2 axes, \(in, units\), got \(3,\)",
        ),
        (
            lambda: layers.dense(draw(2, 3), draw(3, 2), draw(3)),
            r"dense: bias \(3,\) does not fit 2 units: it must be \(2,\)",
        ),
        (lambda: layers.bias(draw(2, 3), draw(2)), r"bias: bias \(2,\) does not fit input \(2, 3\)"),
        (lambda: layers.bias(draw(2, 3), draw(2, 3)), r"bias: bias \(2, 3\) does not fit input \(2, 3\)"),
        (lambda: layers.flatten(1.0), "flatten: input must have a batch axis, got a scalar"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
