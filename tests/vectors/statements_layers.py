"""The sentences of the vectors about layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops import programs

from axonax.tensor import initializers
from axonax.tensor import layers as eager

layers = programs.module(eager)


def dense_min_rank() -> None:
    assert layers.dense(jnp.ones((2, 3, 4)), jnp.ones((4, 5))).shape == (2, 3, 5)


def conv_cross_correlation() -> None:
    found = layers.conv(jnp.arange(4.0).reshape(1, 4, 1), jnp.array([[[1.0]], [[10.0]]]))
    assert found.ravel().tolist() == [10.0, 21.0, 32.0]


def conv_transpose_kernel() -> None:
    found = layers.conv_transpose(jnp.eye(3)[None, :1], jnp.arange(6.0).reshape(1, 3, 2))
    assert found.tolist() == [[[0.0, 1.0]]], "in before out"
    found = layers.conv_transpose(jnp.ones((1, 1, 1)), jnp.array([[[1.0]], [[10.0]]]))
    assert found.ravel().tolist() == [10.0, 1.0], "not flipped"


def separable_stages() -> None:
    x = jax.random.normal(jax.random.key(0), (1, 5, 6, 2))
    kernels = jnp.ones((3, 1, 1, 4)), jnp.arange(8.0).reshape(1, 2, 1, 4)
    given = {"strides": (1, 2), "padding": 1, "kernel_dilation": (1, 2)}
    inner = layers.depthwise_conv(x, kernels[0], **given)
    expected = layers.depthwise_conv(inner, kernels[1], **given)
    np.testing.assert_allclose(layers.separable_conv2d(x, *kernels, **given), expected, rtol=1e-6)


def bn_train_update() -> None:
    x = jnp.array([[1.0], [3.0]])
    y, mean, var = layers.batch_norm(x, jnp.zeros(1), jnp.ones(1), train=True, momentum=0.25, eps=0.0)
    assert (y.ravel().tolist(), mean.tolist(), var.tolist()) == ([-1.0, 1.0], [1.5], [1.0])


def bn_inference() -> None:
    y, mean, var = layers.batch_norm(jnp.array([[5.0]]), jnp.array([1.0]), jnp.array([4.0]), eps=0.0)
    assert (y.item(), mean.item(), var.item()) == (2.0, 1.0, 4.0)


def bn_axes() -> None:
    y, *_ = layers.batch_norm(jnp.arange(24.0).reshape(2, 3, 4), jnp.zeros(4), jnp.ones(4), train=True)
    np.testing.assert_allclose(y.mean((0, 1)), 0, atol=1e-6)


def group_norm_axes() -> None:
    y = layers.group_norm(jnp.arange(48.0).reshape(2, 4, 6) ** 2, groups=2)
    np.testing.assert_allclose(y.reshape(2, 4, 2, 3).mean((1, 3)), 0, atol=1e-6)


def global_pool_keep() -> None:
    x = jnp.arange(12.0).reshape(1, 2, 3, 2)
    assert layers.global_avg_pool(x).tolist() == [[5, 6]]
    assert layers.global_max_pool(x, keep_axes=True).shape == (1, 1, 1, 2)


def norms_of_magnitudes() -> None:
    """Ours by policy: a norm is of absolute values, so that odd exponents are defined below zero."""
    found = layers.lp_pool(jnp.array([-1.0, 1.0]).reshape(1, 2, 1), window=2, norm=3)
    np.testing.assert_allclose(found.item(), 2 ** (1 / 3), rtol=1e-6)


def windows_cover_all() -> None:
    """Ours by policy: PyTorch's windows, of which none leaves an input out."""
    found = layers.adaptive_avg_pool(jnp.arange(5.0).reshape(1, 5, 1), output_size=3)
    assert found.ravel().tolist() == [0.5, 2, 3.5]


def keeps_mean_and_variance() -> None:
    """Ours by policy: the affine map of the paper, after which mean 0 and variance 1 stay."""
    x = jax.random.normal(jax.random.key(0), (300, 200))
    found = np.asarray(layers.alpha_dropout(x, 0.4, key=jax.random.key(1)))
    np.testing.assert_allclose([found.mean(), found.var()], [0, 1], atol=0.03)


def maps_are_dropped_whole() -> None:
    """Ours by policy: feature maps rather than positions (Tompson et al.; Keras and PyTorch alike)."""
    found = np.asarray(layers.spatial_dropout(jnp.ones((4, 5, 8)), 0.5, key=jax.random.key(0)))
    assert (found == found[:, :1]).all()


def resize_nearest_rule() -> None:
    found = layers.resize(jnp.arange(7.0).reshape(1, 7, 1), 4).ravel()
    assert found.tolist() == [int((i + 0.5) * 7 / 4) for i in range(4)]


def resize_half_pixel() -> None:
    x = jnp.array([0.0, 1.0, 4.0, 9.0]).reshape(1, 4, 1)
    wide = np.array([[0.75, 0.75, 0.25, 0], [0, 0.25, 0.75, 0.75]]) / 1.75
    narrow = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    found = layers.resize(x, 2, method="bilinear").ravel()
    np.testing.assert_allclose(found, wide @ [0, 1, 4, 9], rtol=1e-6)
    found = layers.resize(x, 2, method="bilinear", antialias=False).ravel()
    np.testing.assert_allclose(found, narrow @ [0, 1, 4, 9], rtol=1e-6)
    cubic = np.array([-1 / 16, 9 / 16, 9 / 16, -1 / 16])  # a = -0.5, halfway between samples
    found = layers.resize(x, 2, method="bicubic", antialias=False).ravel()
    np.testing.assert_allclose(
        found,
        [(cubic[1:] @ [0, 1, 4]) / cubic[1:].sum(), (cubic[:3] @ [1, 4, 9]) / cubic[:3].sum()],
        rtol=1e-6,
    )


def resizes_any_axes() -> None:
    """Ours by policy: one, two or three spatial axes, as in jax.image and PyTorch."""
    for axes in (1, 2, 3):
        x = jnp.ones((2, *(4,) * axes, 3))
        assert layers.resize(x, 5, method="bilinear").shape == (2, *(5,) * axes, 3)


def rounding() -> None:
    kernel = jnp.array([[127.5, 127.5], [0.5, -0.5], [2.5, -2.5]])
    assert layers.quantize(kernel).values.tolist() == [[127, 127], [1, -1], [3, -3]]


def small_channels_keep_their_precision() -> None:
    """Ours by policy: the scale is max / 127.5, but at least the smallest normal number rather than the
    eps: a channel whose weights are all below 1e-7 is not lost."""
    kernel = jnp.array([[12.75, 1e-9], [-5.0, -0.5e-9]])
    found = layers.quantize(kernel)
    np.testing.assert_allclose(found.scale, [[0.1, 1e-9 / 127.5]], rtol=1e-6)
    assert found.values.tolist() == [[127, 127], [-50, -64]]


def layer_inits() -> None:
    kernel = jax.jit(lambda key: layers.quantize(initializers.glorot_uniform()(key, (4, 3))))(
        jax.random.key(0)
    )
    assert layers.quantized_dense(jnp.ones((2, 4)), kernel, jnp.zeros(3)).shape == (2, 3)


def recurrent_params() -> dict[str, jax.Array]:
    shapes = {"kernel": (2, 12), "recurrent_kernel": (3, 12), "bias": (12,)}
    key = jax.random.key(0)
    return {name: jax.random.normal(key, shape) for name, shape in shapes.items()}


def mask_meaning() -> None:
    """Ours is true where a step counts, Axon's 1 where it does not; no mask masks nothing."""
    x = jax.random.normal(jax.random.key(1), (2, 3, 2))
    mask = jnp.array([[True, True, False], [True, True, True]])
    _, (_, h) = layers.lstm(x, recurrent_params(), mask=mask)
    whole, _ = layers.lstm(x, recurrent_params())
    np.testing.assert_allclose(h, jnp.stack([whole[0, 1], whole[1, 2]]), rtol=1e-6)


def unroll_equal() -> None:
    x = jax.random.normal(jax.random.key(1), (2, 3, 2))

    def every(params: dict[str, jax.Array], mode: str, mask: jax.Array | None) -> tuple[jax.Array, object]:
        found = layers.lstm(x, params, mask=mask, mode=mode)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(found)), found

    for mask in (None, jnp.array([[True, False, True], [True, True, False]])):
        scan, static = (
            jax.grad(every, has_aux=True)(recurrent_params(), mode, mask) for mode in ("scan", "static")
        )
        jax.tree.map(
            lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6), scan, static
        )


def masks_are_whole() -> None:
    """Ours by policy: a mask is of (batch, time), and any other shape an error rather than broadcast."""
    with pytest.raises(ValueError, match="mask must be bool"):
        layers.lstm(jnp.ones((2, 3, 2)), recurrent_params(), mask=jnp.zeros((), bool))
