"""Accuracy: its forms, its errors, and that cutting a pass into batches changes nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from axonax.functional import metrics

pytestmark = pytest.mark.smoke

RNG = np.random.default_rng(3)
SCORES = RNG.random((40, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 40)
ONE_HOT = np.eye(5, dtype=np.int32)[LABELS]
BINARY = RNG.integers(0, 2, 40)
WEIGHTS = RNG.random(40).astype(np.float32)
FORMS = {
    "sparse": (LABELS, SCORES, accuracy_score(LABELS, SCORES.argmax(-1))),
    "sparse uint8": (LABELS.astype(np.uint8), SCORES, accuracy_score(LABELS, SCORES.argmax(-1))),
    "one-hot": (ONE_HOT, SCORES, accuracy_score(LABELS, SCORES.argmax(-1))),
    "binary": (BINARY, SCORES[:, 0], accuracy_score(BINARY, SCORES[:, 0] > 0.5)),
    "binary bool": (BINARY.astype(bool), SCORES[:, 0], accuracy_score(BINARY, SCORES[:, 0] > 0.5)),
    "binary column": (BINARY[:, None], SCORES[:, :1], accuracy_score(BINARY, SCORES[:, 0] > 0.5)),
    "hard predictions": (LABELS, SCORES.argmax(-1), accuracy_score(LABELS, SCORES.argmax(-1))),
    "positions": (LABELS.reshape(8, 5), SCORES.reshape(8, 5, 5), accuracy_score(LABELS, SCORES.argmax(-1))),
    "one example": (LABELS[0], SCORES[0], float(LABELS[0] == SCORES[0].argmax())),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_shapes_say_what_is_compared(name):
    y_true, y_pred, expected = FORMS[name]
    metric = metrics.accuracy()
    np.testing.assert_allclose(metric(y_true, y_pred), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(metric)(y_true, y_pred), expected, rtol=1e-6)


OPTIONS = {
    "threshold": ({"threshold": 0.8}, BINARY, SCORES[:, 0], accuracy_score(BINARY, SCORES[:, 0] > 0.8)),
    "strictly above": ({}, [1, 0], [0.5, 0.5], 0.5),
    "logits": ({"from_logits": True}, [1, 0, 1, 0], [2.0, -1.5, -0.3, 0.2], 0.5),
    "logits, threshold": ({"from_logits": True, "threshold": 0.75}, [1, 0], [1.0986, 1.0987], 0.0),
    "logits, all": ({"from_logits": True, "threshold": 0}, [1, 0], [-9.0, -90.0], 0.5),
    "logits, none": ({"from_logits": True, "threshold": 1}, [1, 0], [9.0, 90.0], 0.5),
    "axis": ({"axis": 0}, LABELS, SCORES.T, accuracy_score(LABELS, SCORES.argmax(-1))),
    "sparse column": ({"sparse": True}, LABELS[:, None], SCORES, accuracy_score(LABELS, SCORES.argmax(-1))),
    "one-hot alone": ({"sparse": False}, [0, 1, 0], [0.1, 0.7, 0.2], 1.0),
    "ignore": (
        {"ignore_index": 2},
        LABELS,
        SCORES,
        accuracy_score(LABELS[LABELS != 2], SCORES[LABELS != 2].argmax(-1)),
    ),
    "ignore outside": ({"ignore_index": -100}, [0, -100], [[0.9, 0.1], [0.9, 0.1]], 1.0),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    options, y_true, y_pred, expected = OPTIONS[name]
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    np.testing.assert_allclose(jax.jit(metrics.accuracy(**options))(y_true, y_pred), expected, rtol=1e-6)


def test_ties_go_to_the_first_and_nan_is_wrong():
    metric = metrics.accuracy()
    assert metric(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]])) == 0.5
    assert metric(np.array([0, 1]), np.array([[np.nan, 0.5], [0.1, np.nan]])) == 0
    assert metric(np.array([0, 1]), np.array([np.nan, np.nan])) == 0


def test_half_precision_is_compared_exactly():
    # bfloat16 holds 0.30078125 next to 0.3; compared in bfloat16 it would not be above.
    assert metrics.accuracy(threshold=0.3)(jnp.array([1]), jnp.array([0.30078125], jnp.bfloat16)) == 1


def test_weights_masks_and_both():
    right = SCORES.argmax(-1) == LABELS
    kept = RNG.random(40) < 0.6
    metric = metrics.accuracy()
    for weights, where in [(WEIGHTS, None), (None, kept), (WEIGHTS, kept)]:
        effective = (1 if weights is None else weights) * (1 if where is None else where) * np.ones(40)
        expected = np.sum(effective * right) / np.sum(effective)
        np.testing.assert_allclose(metric(LABELS, SCORES, weights=weights, where=where), expected, rtol=1e-6)
    broken = np.where(kept[:, None], SCORES, np.nan)
    labels, weights = np.where(kept, LABELS, 99), np.where(kept, WEIGHTS, np.nan)
    np.testing.assert_allclose(metric(labels, broken, weights=weights, where=kept), expected, rtol=1e-6)


def test_nothing_to_count_is_zero():
    metric = metrics.accuracy()
    assert metric.compute(metric.init(LABELS, SCORES)) == 0
    assert metric(LABELS, SCORES, where=np.zeros(40, bool)) == 0
    assert metric(LABELS, SCORES, weights=np.zeros(40)) == 0
    assert metric(LABELS[:0], SCORES[:0]) == 0


def test_init_reads_shapes_alone_and_the_state_keeps_its_form():
    metric = metrics.accuracy()
    abstract = jax.ShapeDtypeStruct((8,), jnp.int32), jax.ShapeDtypeStruct((8, 5), jnp.bfloat16)
    state = metric.init(*abstract)
    like = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    again = jax.eval_shape(metric.update, state, *abstract)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), again) == like
    assert metric.name == "accuracy"
    with pytest.raises(ValueError, match="y_true must have"):
        metric.init(jax.ShapeDtypeStruct((7,), jnp.int32), abstract[1])
    with pytest.raises(ValueError, match="must hold integer class indices, got float32"):
        metric.init(jax.ShapeDtypeStruct((8,), jnp.float32), abstract[1])


def test_a_whole_pass_in_one_scan():
    metric = metrics.accuracy()
    batches = (LABELS.reshape(8, 5), SCORES.reshape(8, 5, 5), WEIGHTS.reshape(8, 5))
    start = metric.init(LABELS, SCORES)

    def step(state, batch):
        return metric.update(state, batch[0], batch[1], weights=batch[2]), None

    state = jax.jit(lambda: jax.lax.scan(step, start, batches)[0])()
    expected = accuracy_score(LABELS, SCORES.argmax(-1), sample_weight=WEIGHTS)
    np.testing.assert_allclose(metric.compute(state), expected, rtol=1e-6)


@pytest.mark.parametrize("labels", [[5, 0], [-1, 0]])
def test_a_label_out_of_range(labels):
    metric, scores = metrics.accuracy(), np.full((2, 5), 0.2)
    with pytest.raises(ValueError, match=rf"class indices must be in \[0, 5\), got {labels[0]}"):
        metric(np.array(labels), scores)
    assert jnp.isnan(jax.jit(metric)(np.array(labels), scores))
    masked = functools.partial(jax.jit(metric), where=np.array([False, True]))
    assert masked(np.array(labels), scores) == 1


def test_a_binary_label_other_than_zero_and_one():
    metric, scores = metrics.accuracy(), np.array([0.2, 0.9])
    with pytest.raises(ValueError, match="binary labels must be 0 or 1, got 2; class indices need"):
        metric(np.array([0, 2]), scores)
    with pytest.raises(ValueError, match=r"binary labels must be 0 or 1, got 0\.5"):
        metric(np.array([0, 0.5]), scores)
    assert jnp.isnan(jax.jit(metric)(np.array([0, 2]), scores))
    assert metric(np.array([0, 2]), scores, where=np.array([True, False])) == 1


ERRORS = {
    "(B,) against (B, 1)": ({}, np.ones(3, int), np.ones((3, 1)), r"same shape.*take y_pred\[..., 0\]"),
    "(B, 1) against (B,)": ({}, np.ones((3, 1), int), np.ones(3), r"got \(3, 1\) and \(3,\)"),
    "(B, 1) against (B, K)": ({}, np.ones((3, 1), int), np.ones((3, 4)), "y_true must have"),
    "float labels": ({}, np.ones(3), np.ones((3, 4)), "accuracy: .* integer class indices, got float64"),
    "axis": ({"axis": 5}, np.ones(3, int), np.ones((3, 4)), "axis must be a dimension of y_pred"),
    "ignore binary": ({"ignore_index": 0}, np.ones(3, int), np.ones(3), "ignore_index needs class indices"),
    "ignore one-hot": ({"ignore_index": 0}, np.ones((3, 4)), np.ones((3, 4)), "ignore_index needs integer"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_arguments_are_named(name):
    options, y_true, y_pred, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(**options)(y_true, y_pred)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match=r"accuracy: threshold must be in \[0, 1\], got 2"):
        metrics.accuracy(from_logits=True, threshold=2)
    with pytest.raises(ValueError, match=r"accuracy: weights must have the shape \(40,\)"):
        metrics.accuracy()(LABELS, SCORES, weights=np.ones(3))
    with pytest.raises(ValueError, match="where must be boolean"):
        metrics.accuracy()(LABELS, SCORES, where=np.ones(40))


METRIC = metrics.accuracy()
LENGTH = 6
# Padded to one length and jitted, 200 examples of hypothesis take a second.
UPDATES = {
    (True, True): jax.jit(lambda state, y, p, w, m: METRIC.update(state, y, p, weights=w, where=m)),
    (False, True): jax.jit(lambda state, y, p, w, m: METRIC.update(state, y, p, where=m)),
}
COMPUTE, MERGE = jax.jit(METRIC.compute), jax.jit(METRIC.merge)


def consume(rows, weights, pieces):
    """The state after the rows, cut into batches of the sizes in ``pieces``."""
    state, start = METRIC.init(LABELS, SCORES), 0
    for size in [*pieces, *[LENGTH] * len(rows)]:
        chunk = rows[start : start + min(size, LENGTH)]
        if len(chunk) == 0:
            break
        padded = np.resize(chunk, LENGTH)
        batch = LABELS[padded], SCORES[padded], np.ones(LENGTH) if weights is None else weights[padded]
        state = UPDATES[weights is not None, True](state, *batch, np.arange(LENGTH) < len(chunk))
        start += len(chunk)
    return state


def value(rows, weights=None, pieces=()):
    return float(COMPUTE(consume(np.asarray(rows, int), weights, pieces)))


ROWS = st.lists(st.integers(0, 39), min_size=1, max_size=20)
PIECES = st.lists(st.integers(1, LENGTH), max_size=20)


@settings(max_examples=60, deadline=None)
@given(ROWS, PIECES, PIECES, st.booleans(), st.randoms(use_true_random=False))
def test_any_split_order_and_merge_give_the_same(rows, one, two, weighted, random):
    weights = WEIGHTS if weighted else None
    expected = accuracy_score(
        LABELS[rows], SCORES[rows].argmax(-1), sample_weight=WEIGHTS[rows] if weighted else None
    )
    assert value(rows, weights, one) == pytest.approx(expected, abs=1e-6)
    shuffled = random.sample(rows, len(rows))
    assert value(shuffled, weights, two) == pytest.approx(expected, abs=1e-6)
    cut = random.randint(0, len(rows))
    parts = [consume(np.asarray(part, int), weights, two) for part in (rows[:cut], rows[cut:])]
    assert float(COMPUTE(MERGE(*parts))) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=40, max_size=40), PIECES)
def test_weight_k_is_k_copies(copies, pieces):
    copied = value(np.repeat(np.arange(40), copies), None, pieces)
    assert value(np.arange(40), np.asarray(copies, np.float32), pieces) == pytest.approx(copied, abs=1e-6)


def test_batches_with_and_without_weights_alternate():
    state = METRIC.update(METRIC.init(LABELS, SCORES), LABELS[:20], SCORES[:20])
    state = METRIC.update(state, LABELS[20:], SCORES[20:], weights=WEIGHTS[20:])
    weights = np.append(np.ones(20), WEIGHTS[20:])
    expected = accuracy_score(LABELS, SCORES.argmax(-1), sample_weight=weights)
    np.testing.assert_allclose(METRIC.compute(state), expected, rtol=1e-6)
