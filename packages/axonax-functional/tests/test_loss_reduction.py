"""Weights, masks and reductions mean the same for every loss: repeated and deleted examples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from axonax.functional import losses

RNG = np.random.default_rng(11)
PREDICTIONS = RNG.uniform(0.1, 0.9, (5, 3)).astype(np.float32)
CASES = {
    "mean_squared_error": (losses.mean_squared_error, RNG.normal(size=(5, 3)).astype(np.float32), {}),
    "binary": (losses.binary_cross_entropy, RNG.integers(0, 2, (5, 3)), {"from_logits": True}),
    "binary_vector": (losses.binary_cross_entropy, RNG.integers(0, 2, (5, 3)), {"positive_weight": 2.0}),
    "categorical": (losses.categorical_cross_entropy, RNG.integers(0, 3, 5), {"from_logits": True}),
    "class_weights": (
        losses.categorical_cross_entropy,
        RNG.integers(0, 3, 5),
        {"from_logits": True, "class_weights": np.array([0.5, 2.0, 1.0])},
    ),
}


def call(name, rows=slice(None), predictions=PREDICTIONS, **options):
    """One program a call: the losses themselves are run operation by operation by other tests."""
    loss, targets, extra = CASES[name]
    loss = jax.jit(functools.partial(loss, **extra), static_argnames="reduction")
    if name == "binary_vector":
        return loss(targets[rows, 0], predictions[rows, 0], **options)
    return loss(targets[rows], predictions[rows], **options)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_weight_k_is_k_copies(name, reduction):
    copies = np.array([0, 3, 1, 2, 0])
    got = call(name, weights=copies, reduction=reduction)
    expected = call(name, np.repeat(np.arange(5), copies), reduction=reduction)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_mask_is_deletion_in_value_and_gradient(name, reduction):
    kept = np.array([True, False, True, True, False])
    broken = np.where(kept[:, None], PREDICTIONS, np.nan)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda x: call(name, predictions=x, where=kept, reduction=reduction).sum())
    )(broken)
    expected, slope = jax.jit(
        jax.value_and_grad(lambda x: call(name, kept, predictions=x, reduction=reduction))
    )(PREDICTIONS)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "empty", [{"where": np.zeros(5, bool)}, {"weights": np.zeros(5)}], ids=["where", "weights"]
)
def test_nothing_left_is_zero_with_gradient_zero(name, empty):
    value, gradient = jax.jit(
        jax.value_and_grad(lambda x: call(name, predictions=x, reduction="mean", **empty))
    )(PREDICTIONS)
    assert value == 0
    assert (gradient == 0).all()
    assert (call(name, **empty) == 0).all()
    assert call(name, slice(0, 0), reduction="mean") == 0


@pytest.mark.parametrize("name", CASES)
def test_unreduced_values_are_weighed_and_masked(name):
    weights, kept = np.array([1.0, 2.0, 0.5, 0.0, 3.0], np.float32), np.array([True, True, False, True, True])
    got = call(name, weights=weights, where=kept)
    np.testing.assert_allclose(got, call(name) * weights * kept, rtol=1e-6)
    np.testing.assert_allclose(call(name, weights=weights, where=kept, reduction="sum"), got.sum(), rtol=1e-6)


def test_weight_zero_removes_an_infinite_loss():
    y_true, y_pred = jnp.zeros(2), jnp.array([1.0, jnp.inf])
    got = losses.mean_squared_error(y_true, y_pred, weights=jnp.array([1.0, 0.0]), reduction="mean")
    assert got == 1


def test_weights_of_the_examples_reach_every_position():
    y_true, y_pred = np.zeros((2, 3, 4)), np.ones((2, 3, 4)) * np.array([1.0, 2.0])[:, None, None]
    got = losses.mean_squared_error(y_true, y_pred, weights=np.array([1.0, 3.0]), reduction="mean")
    np.testing.assert_allclose(got, (1 + 3 * 4) / 4)
    got = losses.mean_squared_error(y_true, y_pred, weights=2.0, reduction="sum")
    np.testing.assert_allclose(got, 2 * 3 * (1 + 4))


def test_a_smaller_last_batch_counts_by_its_rows():
    y_pred = np.append(np.zeros(64), 10.0)
    np.testing.assert_allclose(
        losses.mean_squared_error(np.zeros(65), y_pred, reduction="mean"), 1.5385, rtol=1e-4
    )


def test_weights_are_differentiable():
    weights = jnp.array([1.0, 0.0, 2.0, 1.0, 1.0])
    gradient = jax.jit(jax.grad(lambda w: call("categorical", weights=w, reduction="sum")))(weights)
    np.testing.assert_allclose(gradient, call("categorical"), rtol=1e-6)


def test_masked_targets_may_hold_anything():
    kept = np.array([True, False])
    nan = np.array([1.0, np.nan])
    assert losses.mean_squared_error(nan, np.zeros(2), where=kept, reduction="mean") == 1
    assert np.isfinite(losses.binary_cross_entropy(nan, np.full(2, 0.5), where=kept)).all()
    probabilities = np.full((2, 3), 1 / 3)
    got = losses.categorical_cross_entropy(np.array([1, 99]), probabilities, where=kept, reduction="mean")
    np.testing.assert_allclose(got, np.log(3), rtol=1e-6)
    soft = np.array([[0, 1, 0], [np.nan] * 3])
    np.testing.assert_allclose(
        losses.categorical_cross_entropy(soft, probabilities, where=kept, reduction="mean"),
        np.log(3),
        rtol=1e-6,
    )


FINITE = st.floats(-1e4, 1e4, width=32)
UNIT = st.floats(0, 1, width=32)


@jax.jit
def all_losses(x, p, y, labels):
    rows = p / jnp.maximum(p.sum(-1, keepdims=True), 1e-3)
    return [
        losses.mean_squared_error(y, x),
        losses.binary_cross_entropy(y, x, from_logits=True, label_smoothing=0.1),
        losses.binary_cross_entropy(y, p),
        losses.categorical_cross_entropy(labels, x, from_logits=True, label_smoothing=0.1),
        losses.categorical_cross_entropy(labels, rows),
        losses.categorical_cross_entropy(rows, x, from_logits=True),
    ]


slopes = jax.jit(
    jax.grad(lambda x, p, y, labels: sum(each.sum() for each in all_losses(x, p, y, labels)), argnums=(0, 1))
)


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float32, (4, 3), elements=FINITE),
    arrays(np.float32, (4, 3), elements=UNIT),
    arrays(np.float32, (4, 3), elements=UNIT),
    arrays(np.int32, (4,), elements=st.integers(0, 2)),
)
def test_value_and_gradient_are_finite_on_the_domain(x, p, y, labels):
    for value in all_losses(x, p, y, labels):
        assert np.isfinite(value).all()
        assert (np.asarray(value) >= 0).all()
    for gradient in slopes(x, p, y, labels):
        assert np.isfinite(gradient).all()
