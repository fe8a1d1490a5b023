"""Batch and layer normalization against float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from axonax.tensor import layers

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def normalized(x, axes, eps=1e-5):
    x = np.asarray(x, np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def on(vector, ndim, axis):
    shape = [1] * ndim
    shape[axis] = -1
    return np.asarray(vector, np.float64).reshape(shape)


@pytest.mark.parametrize(("shape", "axis"), [((6, 3), -1), ((4, 5, 2, 3), 3), ((4, 3, 2), 1), ((3, 4), 0)])
def test_batch_norm_in_training(shape, axis):
    x = 3 * draw(*shape) + 5
    channels = shape[axis]
    mean, var, scale, offset = draw(channels), draw(channels) ** 2, draw(channels), draw(channels)
    train = functools.partial(layers.batch_norm, train=True, momentum=0.9, eps=1e-3, axis=axis)
    y, new_mean, new_var = jax.jit(train)(x, mean, var, scale, offset)
    axes = tuple(each for each in range(x.ndim) if each != axis % x.ndim)
    expected = normalized(x, axes, 1e-3) * on(scale, x.ndim, axis) + on(offset, x.ndim, axis)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(new_mean, 0.9 * mean + 0.1 * exact.mean(axes), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new_var, 0.9 * var + 0.1 * exact.var(axes), rtol=1e-5)


def test_batch_norm_in_inference_uses_the_running_statistics():
    x, mean, var, scale = draw(5, 3), draw(3), draw(3) ** 2, draw(3)
    y, same_mean, same_var = jax.jit(layers.batch_norm)(x, mean, var, scale)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5) * scale, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(same_mean, mean)
    np.testing.assert_array_equal(same_var, var)


@pytest.mark.parametrize(
    "where", [np.array([1, 0, 1, 1, 0], bool), np.array([1, 0, 1, 1, 0], bool)[:, None, None]]
)
def test_masked_examples_do_not_count(where):
    x = draw(5, 4, 2)
    kept = where.ravel()
    spoiled = x.copy()
    spoiled[~kept] = np.nan
    arguments = (jnp.zeros(2), jnp.ones(2))
    train = jax.jit(lambda x, where: layers.batch_norm(x, *arguments, train=True, where=where))
    y, mean, var = train(spoiled, where)
    alone = train(x[kept], None)
    np.testing.assert_allclose(y[kept], alone[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, alone[1], rtol=1e-5)
    np.testing.assert_allclose(var, alone[2], rtol=1e-5)


def test_nothing_left_leaves_the_statistics_as_they_were():
    mean, var = draw(2), draw(2) ** 2
    nothing = jnp.zeros(3, bool)

    def total(x):
        y, *running = layers.batch_norm(x, mean, var, train=True, where=nothing)
        return jnp.sum(jnp.where(nothing[:, None], y, 0)), running

    gradient, running = jax.jit(jax.grad(total, has_aux=True))(draw(3, 2))
    np.testing.assert_array_equal(running[0], mean)
    np.testing.assert_array_equal(running[1], var)
    np.testing.assert_array_equal(gradient, 0)


def test_running_statistics_keep_their_dtype_and_carry_no_gradient():
    x = draw(4, 2)
    mean, var = jnp.zeros(2, jnp.bfloat16), jnp.ones(2, jnp.bfloat16)
    y, new_mean, _ = layers.batch_norm(jnp.asarray(x, jnp.float16), mean, var, train=True)
    assert (y.dtype, new_mean.dtype) == (jnp.float16, jnp.bfloat16)
    moved = lambda x: layers.batch_norm(x, mean, var, train=True)[1].sum().astype(jnp.float32)  # noqa: E731
    gradient = jax.jit(jax.grad(moved))(x)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_gradients(train):
    def f(x, scale, offset):
        return layers.batch_norm(x, jnp.zeros(2), jnp.ones(2), scale, offset, train=train, eps=0.1)[0]

    check_grads(jax.jit(f), (draw(4, 2), draw(2), draw(2)), order=1, rtol=2e-2, eps=1e-2)


def test_batch_norm_under_jit_and_vmap():
    x, mean, var = draw(3, 4, 2), jnp.zeros(2), jnp.ones(2)
    f = jax.jit(lambda x: layers.batch_norm(x, mean, var, train=True))
    for one, several in zip(f(x[1]), jax.vmap(f)(x), strict=True):
        np.testing.assert_allclose(several[1], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), (-1, -2), 0])
def test_layer_norm(axis):
    x = 2 * draw(3, 4, 5) - 1
    axes = (axis,) if isinstance(axis, int) else axis
    sizes = tuple(x.shape[each] for each in sorted(each % 3 for each in axes))
    scale, offset = draw(*sizes), draw(*sizes)
    full = tuple(n if i in {each % 3 for each in axes} else 1 for i, n in enumerate(x.shape))
    expected = normalized(x, axes, 1e-3) * scale.reshape(full) + offset.reshape(full)
    y = jax.jit(functools.partial(layers.layer_norm, axis=axis, eps=1e-3))(x, scale, offset)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_gradients():
    f = jax.jit(lambda *a: layers.layer_norm(*a, eps=0.1))
    check_grads(f, (draw(2, 4), draw(4), draw(4)), order=1, rtol=2e-2, eps=1e-2)


@pytest.mark.parametrize("size", [10, 1000])
def test_data_far_from_zero(size):
    x = (1e4 + RNG.normal(size=(4, size))).astype(np.float32)
    got = jax.jit(functools.partial(layers.layer_norm, eps=0.0))(x)
    np.testing.assert_allclose(got, normalized(x, 1, 0.0), atol=1e-4)
    train = functools.partial(layers.batch_norm, train=True, momentum=0.0, eps=0.0)
    y, _, var = jax.jit(train)(x.T, jnp.zeros(4), jnp.zeros(4))
    np.testing.assert_allclose(y, normalized(x, 1, 0.0).T, atol=1e-4)
    np.testing.assert_allclose(var, x.astype(np.float64).var(1), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_computes_in_float32(dtype):
    x = np.asarray(200 + draw(8, 64), dtype)
    y = jax.jit(layers.layer_norm)(x)
    assert y.dtype == dtype
    expected = normalized(x, 1)
    np.testing.assert_allclose(
        np.asarray(y, np.float64), expected, rtol=float(jnp.finfo(dtype).eps), atol=1e-3
    )


def test_integers_give_float32():
    assert layers.layer_norm(jnp.arange(6).reshape(2, 3)).dtype == jnp.float32


ONE, TWO = jnp.ones(1), jnp.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: layers.batch_norm(jnp.ones((5, 2)), ONE, TWO),
            r"batch_norm: mean \(1,\) does not fit input \(5, 2\): it must be \(2,\) for axis -1",
        ),
        (
            lambda: layers.batch_norm(jnp.ones((5, 2)), TWO, TWO, ONE),
            r"batch_norm: scale \(1,\) does not fit",
        ),
        (
            lambda: layers.batch_norm(jnp.ones((5, 2)), TWO, TWO, axis=2),
            r"axis must be within the 2 axes of input \(5, 2\), got 2",
        ),
        (
            lambda: layers.batch_norm(jnp.ones((5, 2)), TWO, TWO, momentum=1.5),
            r"momentum must be in \[0, 1\], got 1.5",
        ),
        (
            lambda: layers.batch_norm(jnp.ones((5, 2)), TWO, TWO, eps=-1.0),
            "batch_norm: eps must not be negative, got -1.0",
        ),
        (
            lambda: layers.batch_norm(jnp.ones((5, 2)), TWO, TWO, train=True, where=jnp.ones(4, bool)),
            r"batch_norm: where \(4,\) does not fit input \(5, 2\)",
        ),
        (
            lambda: layers.batch_norm(
                jnp.ones((5, 2)), TWO, TWO, train=True, where=jnp.ones((5, 2, 1), bool)
            ),
            r"batch_norm: where \(5, 2, 1\) does not fit input \(5, 2\)",
        ),
        (
            lambda: layers.layer_norm(jnp.ones((5, 2)), ONE),
            r"layer_norm: scale \(1,\) does not fit input \(5, 2\)",
        ),
        (
            lambda: layers.layer_norm(jnp.ones((5, 2)), axis=()),
            r"layer_norm: axis must be within the 2 axes .* got \(\)",
        ),
        (lambda: layers.layer_norm(jnp.ones((5, 2)), eps=-1), "layer_norm: eps must not be negative, got -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
