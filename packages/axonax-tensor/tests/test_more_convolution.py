"""Transposed, depthwise and separable convolutions, patches, and what convolutions become by platform."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers
from axonax.tensor.layers import _lowering

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("size", "kernel", "stride"), [*itertools.product((1, 4), (1, 2, 3, 5), (1, 2, 3))])
def test_transposed_sizes_are_those_of_keras(size, kernel, stride):
    def positions(padding):
        op = lambda x, k: layers.conv_transpose(x, k, strides=stride, padding=padding)  # noqa: E731
        return jax.eval_shape(op, jnp.ones((1, size, 1)), jnp.ones((kernel, 1, 1))).shape[1]

    assert positions("same") == size * stride
    assert positions("valid") == size * stride + max(kernel - stride, 0)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_is_what_jax_has(padding):
    x, kernel = draw(2, 4, 5, 3), draw(3, 2, 3, 4)
    expected = jax.lax.conv_transpose(
        x, kernel, (2, 3), padding.upper(), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = layers.conv_transpose(x, kernel, strides=(2, 3), padding=padding)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_flipped_it_is_the_gradient_of_a_convolution():
    kernel, y = draw(3, 2, 4), draw(1, 3, 4)
    _, pull = jax.vjp(lambda x: layers.conv(x, kernel, strides=2), jnp.zeros((1, 7, 2)))
    flipped = jnp.flip(kernel, 0).swapaxes(-1, -2)
    np.testing.assert_allclose(layers.conv_transpose(y, flipped, strides=2), pull(y)[0], rtol=1e-5, atol=1e-5)


def test_a_separable_convolution_is_rounded_once():
    x, kernels = draw(1, 6, 6, 2), (draw(3, 1, 1, 4), draw(1, 3, 1, 4))
    halves = [jnp.asarray(each, jnp.bfloat16) for each in (x, *kernels)]
    found = layers.separable_conv2d(*halves)
    wide = layers.separable_conv2d(*(each.astype(jnp.float32) for each in halves))
    assert found.dtype == jnp.bfloat16
    assert (found == wide.astype(jnp.bfloat16)).all()


def test_folding_counts_how_often_each_input_is_seen():
    seen = layers.unfold(jnp.ones((1, 4, 1), jnp.int32), window=3)
    folded = layers.fold(seen, output_size=4, window=3)
    assert (folded.dtype, folded.ravel().tolist()) == (jnp.int32, [1, 2, 2, 1])


def of(*shapes, **options):
    return tuple(jnp.ones(shape) for shape in shapes), options


@pytest.mark.parametrize(
    ("op", "call", "message"),
    [
        ("conv_transpose", of((1, 3), (1, 3)), r"conv_transpose: input must be .* got input \(1, 3\)"),
        ("conv_transpose", of((1, 3, 2), (1, 3, 4)), r"kernel \(1, 3, 4\) does not fit .* in 1 groups"),
        ("conv_transpose", of((1, 3, 2), (1, 1, 3), groups=2), "groups: it must be .* dividing both"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), groups=0), "conv_transpose: groups must be integers"),
        ("conv_transpose", of((1, 0, 2), (1, 2, 4)), r"spatial axes must not be empty, got \(1, 0, 2\)"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), padding="causal"), "unknown conv_transpose padding"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), padding=-1), "padding must not be negative, got -1"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), strides=0), "strides must be integers of at least 1"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), output_padding=-1), "output_padding must be .* least 0"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), kernel_dilation=0), "kernel_dilation must be integers"),
        ("conv_transpose", of((1, 3, 2), (1, 2, 4), (3,)), r"bias \(3,\) does not fit 4 units"),
        ("depthwise_conv", of((1, 3), (1, 3)), r"depthwise_conv: input must be .* got input \(1, 3\)"),
        ("depthwise_conv", of((1, 3, 2), (1, 1, 1, 2)), r"and kernel \(1, 1, 1, 2\)"),
        ("depthwise_conv", of((1, 3, 2), (1, 2, 2)), r"kernel \(1, 2, 2\) does not fit .* a multiple of 2\)"),
        ("depthwise_conv", of((1, 3, 2), (1, 1, 3)), r"kernel \(1, 1, 3\) does not fit input \(1, 3, 2\)"),
        (
            "separable_conv2d",
            of((1, 3, 2), (1, 1, 2), (1, 1, 2)),
            r"\(batch, 2 spatial axes, channels\), got",
        ),
        (
            "separable_conv2d",
            of((1, 3, 3, 1), (2, 2, 1, 1), (1, 1, 1, 1)),
            "kernel_1 .* spatial axis 0 alone",
        ),
        ("separable_conv2d", of((1, 3, 3, 1), (2, 1, 1, 1), (2, 1, 1, 1)), r"kernel_2 .* got \(2, 1, 1, 1\)"),
        ("separable_conv2d", of((1, 3, 3, 1), (2, 1, 1), (1, 2, 1, 1)), r"kernel_1 .* got \(2, 1, 1\)"),
        ("separable_conv3d", of((1, 3, 3, 1), *[(1, 1, 1, 1)] * 3), "separable_conv3d: input must be"),
        ("unfold", ((jnp.ones((2, 3)),), {"window": 1}), r"unfold: input must be .* got \(2, 3\)"),
        ("unfold", of((1, 3, 1), window=0), "unfold: window must be integers of at least 1, got 0"),
        ("unfold", of((1, 3, 1), window=4), r"unfold: window \(4,\) does not fit"),
        ("fold", of((2, 3), window=1, output_size=3), r"fold: input must be .* got \(2, 3\)"),
        ("fold", of((1, 3, 3), window=2, output_size=4), "a multiple of 2 elements .* got .1, 3, 3."),
        ("fold", of((1, 3, 2), window=2, output_size=5), r"must be \(1, 4, 2\) for output_size \(5,\)"),
        ("fold", of((1, 3, 2), window=2, output_size=0), "output_size must be integers of at least 1"),
    ],
)
def test_bad_input(op, call, message):
    args, options = call
    with pytest.raises(ValueError, match=message):
        getattr(layers, op)(*args, **options)


def gradient(**options):
    def call(x, kernel):
        y = layers.conv(x, kernel, **options)
        return jnp.vdot(y, jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return jax.grad(call, (0, 1))


KINDS = [
    ((2, 8, 8, 4), (3, 3, 4, 6), {}),
    ((2, 8, 8, 4), (1, 1, 4, 6), {"strides": 2}),
    ((2, 8, 8, 4), (3, 3, 1, 8), {"groups": 4, "kernel_dilation": 2}),
    ((2, 8, 8, 4), (3, 3, 2, 6), {"groups": 2, "padding": 1}),
    ((4, 8, 8, 4), (3, 3, 4, 6), {"batch_groups": 2}),
    ((1, 4, 5, 4, 3), (2, 3, 2, 3, 4), {"strides": (1, 2, 1), "padding": "same", "input_dilation": 2}),
]


@pytest.mark.parametrize(("came", "held", "options"), KINDS)
def test_what_runs_on_a_cpu_equals_xlas_own(came, held, options):
    x, kernel = draw(*came), draw(*held)
    ours = jax.jit(gradient(**options))(x, kernel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lowering, "_on_cpu", _lowering._plain)
        jax.clear_caches()
        plain = jax.jit(gradient(**options))(x, kernel)
    jax.clear_caches()
    for one, two in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_get_plain_convolutions(platform):
    for came, held, options in KINDS:
        traced = jax.jit(gradient(**options)).trace(jnp.ones(came), jnp.ones(held))
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.convolution") == 2, "one for each gradient"
        assert "stablehlo.slice" not in text


def test_on_a_cpu_gradients_have_the_layout_that_is_fast_within_loops():
    traced = jax.jit(gradient()).trace(jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6)))
    text = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert text.count("dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]") == 2


def test_gradients_keep_nothing_but_the_arguments():
    def kept(came, held, **options):
        x, kernel = jnp.ones(came), jnp.ones(held)
        _, pull = jax.vjp(lambda *each: layers.conv(*each, **options), x, kernel)
        return sum(leaf.size for leaf in jax.tree.leaves(pull)) - x.size - kernel.size

    assert kept((2, 8, 8, 4), (3, 3, 4, 6)) <= 1
    assert kept((2, 8, 8, 4), (3, 3, 1, 8), groups=4) <= 1
