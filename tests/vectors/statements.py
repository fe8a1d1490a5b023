"""The sentences of the vectors as tests, and those whose operation is not there yet."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops import rows_initializers as draws

from axonax.functional import losses, metrics
from axonax.tensor import activations, initializers, layers

X = jnp.array([[1.0, 2.0, 0.5], [-1.0, 0.25, 3.0]])


def log_sumexp_keeps_axis() -> None:
    assert activations.logsumexp(X, keepdims=True).shape == (2, 1)


def softmax_axis_default() -> None:
    np.testing.assert_allclose(activations.softmax(X).sum(-1), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(activations.log_softmax(X)).sum(-1), [1, 1], rtol=1e-6)


def softmax_bad_axis() -> None:
    for op in (activations.softmax, activations.log_softmax):
        with pytest.raises(ValueError, match="axis 2 is out of bounds"):
            op(X, axis=2)


def celu_alpha_zero() -> None:
    with pytest.raises(ValueError, match="alpha must not be 0"):
        activations.celu(X, alpha=0)


def relu_grad_zero() -> None:
    assert jax.grad(activations.relu)(0.0) == 0


def fan_rule() -> None:
    shape = (3, 3, 8, 24)
    for mode, fan in (("fan_in", 72), ("fan_out", 216)):
        drawn = initializers.variance_scaling(mode=mode)(jax.random.key(0), shape, jnp.float32)
        np.testing.assert_allclose(np.var(drawn), 1 / fan, rtol=0.1)


def uniform_bound() -> None:
    drawn = initializers.lecun_uniform()(jax.random.key(0), (100, 300), jnp.float32)
    np.testing.assert_allclose(np.abs(drawn).max(), np.sqrt(3 / 100), rtol=1e-3)


def normal_sigma() -> None:
    drawn = initializers.variance_scaling()(jax.random.key(0), draws.MATRIX, jnp.float32)
    draws.normal(np.sqrt(1 / draws.MATRIX[0]))(np.asarray(drawn, np.float64))


def vs_default() -> None:
    drawn = initializers.by_name("variance_scaling")(jax.random.key(1), draws.MATRIX, jnp.float32)
    draws.normal(np.sqrt(1 / draws.MATRIX[0]))(np.asarray(drawn, np.float64))


def he() -> None:
    for factory, distribution in (
        (initializers.he_uniform, "uniform"),
        (initializers.he_normal, "truncated"),
    ):
        drawn = factory()(jax.random.key(0), draws.MATRIX, jnp.float32)
        draws.of_variance(distribution, 2 / draws.MATRIX[0])(np.asarray(drawn, np.float64))


def normal_default() -> None:
    drawn = initializers.normal()(jax.random.key(0), draws.MATRIX, jnp.float32)
    draws.normal(0.01)(np.asarray(drawn, np.float64))


def orthogonal_tall() -> None:
    draws.orthonormal()(np.asarray(initializers.orthogonal()(jax.random.key(0), (1, 2, 3, 4, 5)), np.float64))


def orthogonal_wide() -> None:
    draws.orthonormal()(np.asarray(initializers.orthogonal()(jax.random.key(0), (8, 32)), np.float64))


def orthogonal_rank() -> None:
    with pytest.raises(ValueError, match="at least 2 axes"):
        initializers.orthogonal()(jax.random.key(0), (3,))


def prng() -> None:
    with jax.threefry_partitionable(False):
        ours = initializers.glorot_uniform()(jax.random.key(0), (6, 4))
        theirs = jax.nn.initializers.glorot_uniform()(jax.random.key(0), (6, 4))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


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


def reduction_modes() -> None:
    values = losses.mean_squared_error(X, X + 1)
    assert values.tolist() == [1.0, 1.0]
    assert losses.mean_squared_error(X, X + 1, reduction="mean") == 1
    assert losses.mean_squared_error(X, X + 1, reduction="sum") == 2


def clips_by_the_own_eps() -> None:
    """Ours by policy: probabilities are clipped by the eps of their dtype rather than by 1e-7."""
    for dtype in (jnp.float16, jnp.float32):
        found = losses.binary_cross_entropy(jnp.array([1.0], dtype), jnp.zeros(1, dtype))
        np.testing.assert_allclose(found, -np.log(float(jnp.finfo(dtype).eps)), rtol=1e-3)


def weights_honour_reduction() -> None:
    """Ours by policy: with weights too, one value an example."""
    y = jnp.array([[1.0, 0.0]] * 3)
    assert losses.binary_cross_entropy(y, y * 0 + 0.5, positive_weight=2.0).shape == (3,)


def bce_shape() -> None:
    with pytest.raises(ValueError, match="same shape"):
        losses.binary_cross_entropy(jnp.ones(1), jnp.ones((1, 1)))


def cce_weight_mean() -> None:
    p, y, w = jnp.array([[0.25, 0.75], [0.5, 0.5]]), jnp.eye(2), jnp.array([3.0, 1.0])
    found = losses.categorical_cross_entropy(y, p, class_weights=w, reduction="mean")
    np.testing.assert_allclose(found, (3 * np.log(4) + np.log(2)) / 4, rtol=1e-6)


def cce_zero_times_log() -> None:
    assert losses.categorical_cross_entropy(jnp.array([[0.0, 1.0]]), jnp.array([[0.0, 1.0]])).item() == 0


def logits_are_asked_for() -> None:
    """Ours by policy: no output remembers its logits; from logits the loss is finite where p underflows."""
    logits = jnp.array([[0.0, 1000.0]])
    assert losses.categorical_cross_entropy(jnp.array([0]), logits, from_logits=True).item() == 1000


def threshold_strict() -> None:
    y_true, y_pred = jnp.array([1, 1]), jnp.array([0.5, 0.5000001])
    assert metrics.true_positives()(y_true, y_pred) == 1
    assert metrics.true_positives(threshold=0.5000001)(y_true, y_pred) == 0


def running_average() -> None:
    """A running average of values is their mean: Axon's, of one value a step."""
    values = jnp.array([0.25, 1.0, 4.0])
    average = 0.0
    for step, value in enumerate(values):
        average = (average * step + value) / (step + 1)
    np.testing.assert_allclose(metrics.mean()(None, values), average, rtol=1e-6)


def counts_are_floats() -> None:
    """Ours by policy: counted in integers, but weights may be fractions, so the value is a float."""
    y = jnp.array([1, 1])
    assert metrics.true_positives()(y, y, weights=jnp.array([0.5, 0.25])) == 0.75


def label_smoothing_rule() -> None:
    smooth = losses.label_smoothing(lambda y, p: y)
    np.testing.assert_allclose(smooth(jnp.eye(4), jnp.eye(4)), 0.9 * np.eye(4) + 0.025, rtol=1e-6)
    with pytest.raises(ValueError, match="must have the shape"):
        smooth(jnp.ones(4), jnp.ones(4))


def label_smoothing_wrapper() -> None:
    smooth = losses.label_smoothing(losses.categorical_cross_entropy, 0.2)
    expected = losses.categorical_cross_entropy(jnp.eye(3)[:2] * 0.8 + 0.2 / 3, jnp.abs(X))
    np.testing.assert_allclose(smooth(jnp.eye(3)[:2], jnp.abs(X)), expected, rtol=1e-6)


def poisson_eps() -> None:
    np.testing.assert_allclose(losses.poisson(jnp.ones(1), jnp.zeros(1)), -np.log(1e-7), rtol=1e-6)


def loss_is_the_negative_similarity() -> None:
    """Ours by policy: a loss is less where the prediction is better."""
    np.testing.assert_allclose(losses.cosine_similarity(X, X), [-1, -1], rtol=1e-6)


def one_value_an_example() -> None:
    """Ours by policy: of Huber and margin ranking too."""
    assert losses.huber(X, X).shape == losses.margin_ranking(X, (X, X)).shape == (2,)


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


PASSING: tuple[Callable[[], None], ...] = (
    log_sumexp_keeps_axis,
    softmax_axis_default,
    softmax_bad_axis,
    celu_alpha_zero,
    relu_grad_zero,
    fan_rule,
    uniform_bound,
    normal_sigma,
    vs_default,
    he,
    normal_default,
    orthogonal_tall,
    orthogonal_wide,
    orthogonal_rank,
    prng,
    dense_min_rank,
    conv_cross_correlation,
    conv_transpose_kernel,
    separable_stages,
    bn_train_update,
    bn_inference,
    bn_axes,
    global_pool_keep,
    group_norm_axes,
    reduction_modes,
    bce_shape,
    cce_weight_mean,
    cce_zero_times_log,
    label_smoothing_rule,
    label_smoothing_wrapper,
    poisson_eps,
    threshold_strict,
    running_average,
    resize_nearest_rule,
    resize_half_pixel,
    rounding,
    layer_inits,
    mask_meaning,
    unroll_equal,
)

POLICY: dict[str, Callable[[], None]] = {
    "unroll_mask_shape_limit": masks_are_whole,
    "adaptive_pool_rule": windows_cover_all,
    "lp_pool_formula": norms_of_magnitudes,
    "alpha_dropout_formula": keeps_mean_and_variance,
    "spatial_dropout_shape": maps_are_dropped_whole,
    "bce_eps": clips_by_the_own_eps,
    "bce_weights_scalar": weights_honour_reduction,
    "cosine_is_similarity": loss_is_the_negative_similarity,
    "per_sample": one_value_an_example,
    "cce_from_softmax": logits_are_asked_for,
    "counts_type": counts_are_floats,
    "resize_rank": resizes_any_axes,
    "scale_rule": small_channels_keep_their_precision,
}
"""Sentences that we differ from on purpose, each with what holds instead."""

BY_CASES = {
    "conv_layouts": "the relations between channels first and last",
    "conv_same_padding": "the policy on same padding with strides",
}
"""Sentences that other cases hold in full."""

NOT_YET = ""
"""Sentences about operations that are not there yet."""


def outcome(area: str, name: str) -> tuple[str, str]:
    """``(what became of a sentence, what is wrong with it)``."""
    if name in NOT_YET.split():
        return "not yet", ""
    if BY_CASES.get(name):
        return "passed", ""
    held = {each.__name__: each for each in PASSING}
    if name not in held | POLICY:
        return "not yet", f"the sentence {area}/{name} is in no table"
    (held | POLICY)[name]()
    return ("passed" if name in held else "disputed"), ""
