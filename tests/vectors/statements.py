"""The sentences of the vectors as tests."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops import rows_initializers as draws

from axonax.functional import losses, metrics
from axonax.tensor import activations, initializers
from vectors import statements_layers as on_layers
from vectors import statements_loop as on_loop
from vectors import statements_optim as on_optim

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
    on_layers.dense_min_rank,
    on_layers.conv_cross_correlation,
    on_layers.conv_transpose_kernel,
    on_layers.separable_stages,
    on_layers.bn_train_update,
    on_layers.bn_inference,
    on_layers.bn_axes,
    on_layers.global_pool_keep,
    on_layers.group_norm_axes,
    reduction_modes,
    bce_shape,
    cce_weight_mean,
    cce_zero_times_log,
    label_smoothing_rule,
    label_smoothing_wrapper,
    poisson_eps,
    threshold_strict,
    running_average,
    on_layers.resize_nearest_rule,
    on_layers.resize_half_pixel,
    on_layers.rounding,
    on_layers.layer_inits,
    on_layers.mask_meaning,
    on_layers.unroll_equal,
    *on_loop.PASSING,
    *(on_optim.pair, on_optim.apply_updates, on_optim.containers, on_optim.schedule_count),
    *(on_optim.rms_defaults, on_optim.trust_ratio_defaults, on_optim.clip_defaults, on_optim.centralize_rank),
    *(on_optim.lr_schedule, on_optim.callable, on_optim.exponential_defaults),
)

POLICY: dict[str, Callable[[], None]] = {
    "unroll_mask_shape_limit": on_layers.masks_are_whole,
    "adaptive_pool_rule": on_layers.windows_cover_all,
    "lp_pool_formula": on_layers.norms_of_magnitudes,
    "alpha_dropout_formula": on_layers.keeps_mean_and_variance,
    "spatial_dropout_shape": on_layers.maps_are_dropped_whole,
    "bce_eps": clips_by_the_own_eps,
    "bce_weights_scalar": weights_honour_reduction,
    "cosine_is_similarity": loss_is_the_negative_similarity,
    "per_sample": one_value_an_example,
    "cce_from_softmax": logits_are_asked_for,
    "counts_type": counts_are_floats,
    "resize_rank": on_layers.resizes_any_axes,
    "scale_rule": on_layers.small_channels_keep_their_precision,
    "state_order": on_optim.state_order,
    "radam_rho": on_optim.radam_rho,
    "noise_defaults": on_optim.noise_defaults,
    "lr_state": on_optim.lr_state,
    "triple": on_loop.four_functions,
    "nan_is_finite": on_loop.nan_is_an_overflow,
}
"""Sentences that we differ from on purpose, each with what holds instead."""

BY_CASES = {
    "conv_layouts": "the relations between channels first and last",
    "conv_same_padding": "the policy on same padding with strides",
}
"""Sentences that other cases hold in full."""


def outcome(area: str, name: str) -> tuple[str, str]:
    """``(what became of a sentence, what is wrong with it)``."""
    if BY_CASES.get(name):
        return "passed", ""
    held = {each.__name__: each for each in PASSING}
    if name not in held | POLICY:
        return "failed", f"the sentence {area}/{name} is in no table"
    (held | POLICY)[name]()
    return ("passed" if name in held else "disputed"), ""
