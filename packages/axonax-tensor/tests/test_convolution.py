"""Convolutions against loops in float64."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from axonax.tensor import layers

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def spread(x, dilation):
    """Zeros between the positions of the spatial axes."""
    sizes = [(n - 1) * d + 1 for n, d in zip(x.shape[1:-1], dilation, strict=True)]
    wide = np.zeros((x.shape[0], *sizes, x.shape[-1]))
    wide[(slice(None), *(slice(None, None, d) for d in dilation))] = x
    return wide


def pads_of(padding, sizes, reach, strides):
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "causal":
        return [(reach[0] - 1, 0)]
    if padding == "same":
        totals = [
            max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, reach, strides, strict=True)
        ]
        return [(total // 2, total - total // 2) for total in totals]
    given = [padding] * len(sizes) if isinstance(padding, int) else padding
    return [(each, each) if isinstance(each, int) else each for each in given]


def oracle(x, kernel, *, strides=1, padding="valid", input_dilation=1, kernel_dilation=1, groups=1):
    count = x.ndim - 2
    per = lambda value: (value,) * count if isinstance(value, int) else tuple(value)  # noqa: E731
    strides, dilation, window = per(strides), per(kernel_dilation), kernel.shape[:-2]
    x = spread(x.astype(np.float64), per(input_dilation))
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    x = np.pad(x, [(0, 0), *pads_of(padding, x.shape[1:-1], reach, strides), (0, 0)])
    positions = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], reach, strides, strict=True)]
    share, out = kernel.shape[-2], kernel.shape[-1] // groups
    y = np.zeros((x.shape[0], *positions, kernel.shape[-1]))
    for at in itertools.product(*map(range, positions)):
        for k in itertools.product(*map(range, window)):
            place = tuple(p * s + i * d for p, s, i, d in zip(at, strides, k, dilation, strict=True))
            for g in range(groups):
                seen = x[(slice(None), *place)][:, g * share : (g + 1) * share]
                y[(slice(None), *at)][:, g * out : (g + 1) * out] += (
                    seen @ kernel[k][:, g * out : (g + 1) * out]
                )
    return y


CASES = [
    ((2, 7, 3), (3, 3, 4), {}),
    ((2, 7, 3), (3, 3, 4), {"padding": "causal", "kernel_dilation": 2}),
    ((2, 7, 3), (3, 3, 4), {"padding": "causal", "strides": 2}),
    ((2, 7, 4), (2, 2, 6), {"padding": 2, "groups": 2, "strides": 3}),
    ((1, 5, 6, 2), (3, 2, 2, 3), {"padding": "same"}),
    ((1, 5, 6, 2), (3, 2, 2, 3), {"padding": "same", "strides": (2, 3)}),
    ((1, 5, 6, 2), (2, 2, 2, 3), {"padding": "same", "kernel_dilation": (2, 1), "input_dilation": (1, 2)}),
    ((1, 5, 6, 2), (3, 2, 2, 3), {"padding": ((0, 2), 1), "strides": 2}),
    ((1, 4, 4, 4), (2, 2, 1, 4), {"groups": 4}),
    ((1, 3, 4, 3, 2), (2, 2, 1, 2, 2), {"strides": (1, 2, 1), "padding": "same"}),
]


@pytest.mark.parametrize(("came", "held", "options"), CASES)
def test_conv_is_the_sum_over_its_windows(came, held, options):
    x, kernel, bias = draw(*came), draw(*held), draw(held[-1])
    expected = oracle(x, kernel, **options) + bias
    y = layers.conv(x, kernel, bias, **options)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 6, 7])
def test_same_padding_gives_as_many_positions_as_strides_fit(size, stride):
    y = jax.eval_shape(
        lambda: layers.conv(jnp.ones((1, size, 1)), jnp.ones((4, 1, 1)), padding="same", strides=stride)
    )
    assert y.shape == (1, math.ceil(size / stride), 1)


def test_no_output_of_a_causal_convolution_sees_what_comes_after_it():
    kernel = draw(3, 2, 2)
    reach = jax.jacobian(lambda x: layers.conv(x, kernel, padding="causal", kernel_dilation=2)[0, :, 0])(
        jnp.ones((1, 6, 2))
    )
    seen = np.abs(reach[:, 0]).sum(-1) > 0
    assert not np.triu(seen, 1).any()
    assert seen.diagonal().all()


def test_batch_groups_share_out_the_outputs():
    x, kernel = draw(4, 5, 2), draw(3, 2, 6)
    y = layers.conv(x, kernel, batch_groups=2)
    expected = np.concatenate([oracle(x[:2], kernel[..., :3]), oracle(x[2:], kernel[..., 3:])], -1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_gradients():
    conv = jax.jit(lambda x, kernel, bias: layers.conv(x, kernel, bias, strides=2, padding="same", groups=2))
    check_grads(conv, (draw(1, 4, 3, 2), draw(2, 2, 1, 2), draw(2)), order=1, rtol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_summed_in_float32(dtype):
    x, kernel, bias = (jnp.asarray(a, dtype) for a in (draw(1, 4, 256), draw(3, 256, 2), draw(2)))
    y = layers.conv(x, kernel, bias)
    exact = oracle(np.asarray(x, np.float64), np.asarray(kernel, np.float64)) + np.asarray(bias, np.float64)
    assert y.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(y, np.float64), exact, rtol=2 * float(jnp.finfo(dtype).eps), atol=1e-3
    )
    slope = jax.jit(jax.grad(lambda *a: layers.conv(*a).astype(jnp.float32).sum(), (0, 1, 2)))
    gradients = slope(x, kernel, bias)
    assert {gradient.dtype for gradient in gradients} == {jnp.dtype(dtype)}


def test_vmap_adds_an_axis():
    x, kernel = draw(3, 2, 5, 2), draw(2, 2, 3)
    y = jax.vmap(layers.conv, (0, None))(x, kernel)
    np.testing.assert_allclose(y[1], oracle(x[1], kernel), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("came", "held", "options", "message"),
    [
        ((1, 3), (1, 3), {}, r"conv: input must be .* got input \(1, 3\) and kernel \(1, 3\)"),
        (
            (1, 5, 3),
            (2, 2, 3, 4),
            {},
            r"with 1 to 3 spatial axes, got input \(1, 5, 3\) and kernel \(2, 2, 3, 4\)",
        ),
        ((1, 2, 2, 2, 2, 3), (1, 1, 1, 1, 3, 4), {}, "with 1 to 3 spatial axes"),
        ((1, 5, 3), (2, 4, 4), {}, r"conv: kernel \(2, 4, 4\) does not fit input \(1, 5, 3\)$"),
        (
            (1, 5, 4),
            (2, 4, 4),
            {"groups": 2},
            r"conv: kernel \(2, 4, 4\) does not fit input \(1, 5, 4\) in 2 groups",
        ),
        ((1, 5, 4), (2, 2, 3), {"groups": 2}, "groups must divide the outputs.* got groups 2, .* outputs 3"),
        ((3, 5, 4), (2, 4, 4), {"batch_groups": 2}, "and batch_groups the outputs and the batch, .* batch 3"),
        ((2, 5, 4), (2, 2, 4), {"groups": 2, "batch_groups": 2}, "cannot both be above 1, got 2, 2"),
        ((1, 5, 4), (2, 4, 4), {"groups": 0}, "conv: groups must be integers of at least 1, got 0"),
        (
            (1, 5, 4),
            (2, 4, 4),
            {"batch_groups": 0},
            "conv: batch_groups must be integers of at least 1, got 0",
        ),
        ((1, 5, 4), (2, 4, 4), {"strides": 0}, "conv: strides must be integers of at least 1, got 0"),
        (
            (1, 5, 4),
            (2, 4, 4),
            {"strides": (1, 2)},
            r"strides must have one value or one for each of 1 axes, got \(1, 2\)",
        ),
        ((1, 5, 4), (2, 4, 4), {"kernel_dilation": 1.5}, "conv: kernel_dilation must be .* got 1.5"),
        (
            (1, 5, 4),
            (2, 4, 4),
            {"input_dilation": (0,)},
            "conv: input_dilation must be integers of at least 1",
        ),
        ((1, 5, 4), (2, 4, 4), {"padding": "smae"}, 'unknown conv padding "smae": did you mean "same"'),
        ((1, 5, 5, 4), (2, 2, 4, 4), {"padding": "causal"}, "causal padding is for 1 spatial axis, got 2"),
        (
            (1, 5, 4),
            (2, 4, 4),
            {"padding": (1, 2)},
            r"conv: padding must be .* for each of 1 axes, got \(1, 2\)",
        ),
        ((1, 5, 4), (2, 4, 4), {"padding": ((1, 2, 3),)}, "conv: padding must be"),
        ((1, 5, 4), (2, 4, 4), {"padding": 1.5}, "conv: padding must be .* got 1.5"),
        ((1, 5, 4), (2, 4, 4), {"padding": -1}, "conv: padding must not be negative, got -1"),
        ((1, 3, 3, 1), (5, 5, 1, 1), {}, r"conv: window \(5, 5\) does not fit the padded input \(3, 3\)"),
    ],
)
def test_bad_input(came, held, options, message):
    with pytest.raises(ValueError, match=message):
        layers.conv(jnp.ones(came), jnp.ones(held), **options)


def test_a_bias_that_does_not_fit():
    with pytest.raises(ValueError, match=r"conv: bias \(3,\) does not fit 4 units: it must be \(4,\)"):
        layers.conv(jnp.ones((1, 5, 2)), jnp.ones((2, 2, 4)), jnp.ones(3))
