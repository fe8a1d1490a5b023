"""Losses say what their predictions are, and that ``from_logits`` applies just that."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.functional import losses
from axonax.tensor.contracts import Closing, expected

LABELS = np.array([[2, 0, 1], [1, 1, 0]], np.int32)
SHARES = np.array([[[0.2, 0.5, 0.3]], [[1.0, 0.0, 0.0]]], np.float32).repeat(3, axis=1)
BITS = (SHARES > 0.4).astype(np.float32)
SEQUENCES = (np.array([1, 2]), np.array([[1, 1], [2, 1]]))
SCORES = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
SOFTMAX, SIGMOID = Closing("softmax"), Closing("sigmoid")

CASES = {
    "binary_cross_entropy": (BITS, {}, SIGMOID),
    "categorical_cross_entropy": (LABELS, {}, SOFTMAX),
    "categorical_cross_entropy of shares": (SHARES, {"label_smoothing": 0.1}, SOFTMAX),
    "categorical_cross_entropy on axis": (LABELS, {"axis": 1}, Closing("softmax", 1)),
    "connectionist_temporal_classification": (SEQUENCES, {}, Closing("log_softmax")),
    "focal": (BITS, {}, SIGMOID),
    "focal of labels": (LABELS, {}, SOFTMAX),
    "focal of categories": (BITS, {"kind": "categorical"}, SOFTMAX),
    "kl_divergence": (SHARES, {}, SOFTMAX),
    "poly": (LABELS, {}, SOFTMAX),
    "js_divergence": (SHARES, {}, SOFTMAX),
    "dice": (BITS, {}, SIGMOID),
    "iou": (BITS, {}, SIGMOID),
    "tversky": (BITS, {}, SIGMOID),
}


def of(case):
    return getattr(losses, case.split()[0])


def takes_logits(loss):
    return "from_logits" in inspect.signature(loss).parameters


@pytest.mark.smoke
def test_every_loss_that_takes_logits_or_probabilities_says_so():
    public = [getattr(losses, name) for name in dir(losses) if not name.startswith("_")]
    functions = [each for each in public if callable(each)]
    assert {each for each in functions if takes_logits(each)} <= {of(case) for case in CASES}
    declared = {each for each in functions if hasattr(each, "closing")}
    assert declared == {of(case) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_what_a_loss_expects_is_told_from_shapes(case):
    targets, options, closing = CASES[case]
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (targets, SCORES))
    assert expected(of(case), *shapes, **options) == closing


def test_smoothed_targets_are_of_the_shape_of_the_predictions():
    smooth = losses.label_smoothing
    assert expected(smooth(losses.focal), LABELS, SCORES) == SIGMOID
    assert expected(smooth(losses.poly), LABELS, SCORES) == SOFTMAX
    assert expected(smooth(losses.hinge), LABELS, SCORES) is None


@pytest.mark.parametrize("case", [case for case in CASES if takes_logits(of(case))])
def test_from_logits_applies_what_is_expected(case):
    targets, options, closing = CASES[case]
    wide = SCORES.astype(np.float64)
    shares = np.exp(wide) / np.exp(wide).sum(closing.axis, keepdims=True)
    closed = {"softmax": shares, "log_softmax": np.log(shares), "sigmoid": 1 / (1 + np.exp(-wide))}
    predictions = jnp.asarray(closed[closing.activation], jnp.float32)
    got = of(case)(targets, SCORES, from_logits=True, **options)
    np.testing.assert_allclose(got, of(case)(targets, predictions, **options), rtol=2e-5, atol=1e-6)
