"""A class that `ignore_index` names takes no part in averages over classes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from axonax.functional import metrics

RNG = np.random.default_rng(10)
K, IGNORED = 5, 2
TRUE, PREDICTED = RNG.integers(0, K, (2, 60))
SCORES = np.eye(K, dtype=np.float32)[PREDICTED] + RNG.random((60, K)).astype(np.float32) / 2
WEIGHTS = RNG.integers(0, 4, 60).astype(np.float32)


def specificity(true, predicted, *, labels, average, sample_weight, zero_division):
    """The share of each class that is not true and not predicted; scikit-learn has none."""
    shares = []
    for each in labels:
        weight = sample_weight * (true != each)
        shares.append(np.sum(weight * (predicted != each)) / np.sum(weight))
    return np.mean(shares) if average == "macro" else np.array(shares)


ORACLES = {
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "sensitivity": sk.recall_score,
    "specificity": specificity,
    "f_beta": functools.partial(sk.fbeta_score, beta=2.0),
    "f1_score": sk.f1_score,
    "dice": sk.f1_score,
    "iou": sk.jaccard_score,
}
OPTIONS = {"f_beta": {"beta": 2.0}}
SMALL = {
    # of true (0, 0, 1, 1) and predicted (0, 0, 0, 1) without the examples of class 0: class 1 alone
    "precision": 1.0,
    "recall": 0.5,
    "sensitivity": 0.5,
    "specificity": 0.0,
    "f_beta": 5 / 9,
    "f1_score": 2 / 3,
    "dice": 2 / 3,
    "iou": 0.5,
}


def kept(weights):
    """What scikit-learn is given: the examples that exist, and the classes but for the ignored one."""
    exist = TRUE != IGNORED
    labels = np.setdiff1d(np.arange(K), [IGNORED])
    return (TRUE[exist], PREDICTED[exist]), {
        "labels": labels,
        "sample_weight": (np.ones(60) if weights is None else weights)[exist],
        "zero_division": 0,
    }


@pytest.mark.parametrize("name", ORACLES)
def test_the_smallest_case(name):
    metric = getattr(metrics, name)(classes=2, ignore_index=0, **OPTIONS.get(name, {}))
    true, predicted = jnp.array([0, 0, 1, 1]), jnp.array([0, 0, 0, 1])
    np.testing.assert_allclose(metric(true, predicted), SMALL[name], rtol=1e-6)
    by_class = getattr(metrics, name)(classes=2, ignore_index=0, average="none", **OPTIONS.get(name, {}))
    np.testing.assert_allclose(by_class(true, predicted), [np.nan, SMALL[name]], rtol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ORACLES)
def test_as_scikit_learn_without_the_class(name, weights):
    """In one batch, and in parts that are merged."""
    pair, given = kept(weights)
    for average in ("macro", "none"):
        metric = getattr(metrics, name)(average=average, ignore_index=IGNORED, **OPTIONS.get(name, {}))
        expected = ORACLES[name](*pair, average=None if average == "none" else average, **given)
        if average == "none":
            expected = np.insert(expected, IGNORED, np.nan)
        state = metric.init(TRUE, SCORES)
        parts = [
            metric.update(state, TRUE[part], SCORES[part], weights=None if weights is None else weights[part])
            for part in (slice(7), slice(7, 40), slice(40, None))
        ]
        merged = functools.reduce(metric.merge, parts)
        np.testing.assert_allclose(metric.compute(merged), expected, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(metric)(TRUE, SCORES, weights=weights), expected, rtol=1e-6)


def test_a_class_with_no_index_of_its_own_changes_no_average():
    padded = np.where(np.arange(60) % 7 == 0, -100, TRUE)
    exist = padded != -100
    for average in ("macro", "micro", "weighted", "none"):
        got = metrics.f1_score(average=average, ignore_index=-100)(padded, SCORES)
        np.testing.assert_array_equal(got, metrics.f1_score(average=average)(TRUE[exist], SCORES[exist]))
    # -1 is a label of padding, not the last class.
    padded = np.where(exist, TRUE, -1)
    got = metrics.recall(average="none", ignore_index=-1)(padded, SCORES)
    np.testing.assert_array_equal(got, metrics.recall(average="none")(TRUE[exist], SCORES[exist]))


@pytest.mark.parametrize("name", ["precision", "recall", "f1_score"])
def test_the_score_of_all_cells_counts_a_prediction_of_the_ignored_class_as_wrong(name):
    """It is accuracy then too, as without an ignored class."""
    options = {"ignore_index": IGNORED}
    got = getattr(metrics, name)(average="micro", **options)(TRUE, SCORES)
    np.testing.assert_allclose(got, metrics.accuracy(**options)(TRUE, SCORES), rtol=1e-6)


def test_with_nothing_but_the_ignored_class_the_mean_is_zero():
    metric = metrics.recall(classes=2, ignore_index=0)
    assert float(metric(jnp.array([0, 0]), jnp.array([0, 1]))) == 0
    assert float(metric(jnp.array([1, 1]), jnp.array([0, 0]))) == 0


def test_a_wrong_label_still_shows_under_jit():
    metric = metrics.recall(classes=3, ignore_index=0)
    assert np.isnan(jax.jit(metric)(jnp.array([1, 7]), jnp.array([1, 1])))


def test_each_class_alone_and_in_a_collection():
    """`per_class` asks the metric of the examples of each class; a collection shares its statistics."""
    true, predicted = jnp.array([0, 0, 1, 1]), jnp.array([0, 0, 0, 1])
    recall = metrics.recall(classes=2, ignore_index=0)
    assert metrics.per_class(recall, classes=2)(true, predicted).tolist() == [0.0, 0.5]
    both = metrics.collection({"ignored": recall, "all": metrics.recall(classes=2)})
    assert {name: float(each) for name, each in both(true, predicted).items()} == {
        "ignored": 0.5,
        "all": 0.75,
    }
