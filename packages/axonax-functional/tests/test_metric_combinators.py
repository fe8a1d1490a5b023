"""Collections, metrics by class, metrics of functions: what they share, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.functional import metrics

Y = np.array([0, 1, 2, 2, 1, 0])
SCORES = np.random.default_rng(1).random((6, 3)).astype(np.float32)
REAL = np.float32([1, 2, 4])


def test_a_collection_shares_statistics():
    parts = {"p": metrics.precision(), "r": metrics.recall(average="none"), "iou": metrics.iou()}
    shared = metrics.collection({**parts, "kappa": metrics.cohen_kappa()})
    state = jax.jit(lambda: shared.update(shared.init(Y, SCORES), Y, SCORES))()
    assert len(state) == 2
    names = []

    @jax.jit
    def computed(state):
        values = shared.compute(shared.merge(state, state))
        names.extend(values)
        return values

    values = computed(state)
    assert names == ["p", "r", "iou", "kappa"]
    alone = jax.jit(lambda: {name: part(Y, SCORES) for name, part in parts.items()})()
    for name, value in alone.items():
        np.testing.assert_array_equal(values[name], value)
    other = metrics.collection({"p": metrics.precision(), "q": metrics.precision(ignore_index=1)})
    assert len(other.init(Y, SCORES)) == 2
    errors = {"mse": metrics.mean_squared_error(), "rmse": metrics.root_mean_squared_error()}
    assert len(metrics.collection(errors).init(REAL, REAL)) == 1


def test_a_collection_merges_where_all_do():
    assert metrics.collection({"a": metrics.mean(), "b": metrics.running_mean()}).merge is None
    with pytest.raises(ValueError, match="at least one metric"):
        metrics.collection({})


def test_per_class_is_the_metric_on_each_class():
    by_class = metrics.per_class(metrics.accuracy())
    value = jax.jit(by_class)(Y, SCORES)
    alone = jax.jit(metrics.accuracy())
    expected = [alone(Y[each == Y], SCORES[each == Y]) for each in range(3)]
    np.testing.assert_allclose(value, expected)

    @jax.jit
    def twice():
        states = [by_class.update(by_class.init(Y, SCORES), Y, SCORES) for _ in range(2)]
        return by_class.compute(by_class.merge(*states))

    np.testing.assert_allclose(twice(), expected)
    binary = metrics.per_class(metrics.mean())(np.array([0, 1, 1]), np.float32([1, 2, 4]))
    assert binary.tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        metrics.per_class(metrics.mean(), classes=0)


def test_arithmetic_on_metrics():
    p, r = metrics.precision(average="none"), metrics.recall(average="none")
    harmonic = 2 * p * r / (p + r + 1e-9)
    whole = metrics.f1_score(average="none")
    got, expected = jax.jit(lambda: (harmonic(Y, SCORES), whole(Y, SCORES)))()
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_function_gives_its_name():
    def bias(y_true, y_pred):
        return y_pred - y_true

    metric = metrics.from_function(bias)
    assert metric.name == "bias"
    assert metric(REAL, REAL + 2, weights=np.float32([1, 2, 3])) == 2


def test_capacity():
    metric = metrics.roc_auc(capacity=4)
    y, scores = np.array([0, 1, 0]), np.float32([0.1, 0.9, 0.4])
    update = jax.jit(metric.update)
    state = update(metric.init(y, scores), y, scores)
    assert metric.compute(state) == 1
    assert metric.compute(update(state, y, scores, where=np.array([False, True, False]))) == 1
    over = update(state, y, scores)
    assert jnp.isnan(jax.jit(metric.compute)(over))
    for call in (lambda: metric.compute(over), lambda: metric.update(state, y, scores)):
        with pytest.raises(ValueError, match="roc_auc: more examples than its capacity of 4"):
            call()
    assert jnp.isnan(jax.jit(metric.compute)(jax.jit(metric.merge)(state, state)))


BAD = {
    "beta must be above 0, got 0": lambda: metrics.f_beta(beta=0),
    "k must be at least 1, got 0": lambda: metrics.top_k_accuracy(k=0),
    'unknown average "macr": did you mean "macro"': lambda: metrics.precision(average="macr"),
    "classes must be at least 2, got 1": lambda: metrics.recall(classes=1),
    "multilabel goes with neither": lambda: metrics.recall(classes=3, multilabel=True),
    "multilabel needs columns": lambda: metrics.recall(multilabel=True)(Y, SCORES[:, 0]),
    "both hold class indices, got y_pred": lambda: metrics.recall(classes=3)(Y, SCORES[:, 0]),
    "no single confusion matrix": lambda: metrics.confusion_matrix(multilabel=True)(Y, SCORES),
    r"class indices must be in \[0, 3\), got 7": lambda: metrics.precision()(Y + 7, SCORES),
    "capacity must be at least 1": lambda: metrics.spearman(capacity=0),
    "spearman: give capacity= \\(exact\\) or bins=, not both": lambda: metrics.spearman(capacity=8, bins=8),
    "spearman: bins must be at least 2, got 1": lambda: metrics.spearman(bins=1),
    "capacity= .exact. or bins=, not both": lambda: metrics.roc_auc(capacity=1, bins=2),
    "roc_auc: bins must be at least 2": lambda: metrics.roc_auc(bins=1),
    "calibration_error: bins must be at least 1": lambda: metrics.calibration_error(bins=0),
    r"recall must be in \[0, 1\]": lambda: metrics.precision_at_recall(recall=2),
    r"precision must be in \[0, 1\]": lambda: metrics.recall_at_precision(precision=-1),
    "eps must be above 0, got 0": lambda: metrics.mean_absolute_percentage_error(eps=0),
    "window must be at least 1": lambda: metrics.running_mean(window=0),
    r"momentum must be in \(0, 1\), got 1": lambda: metrics.exponential_mean(momentum=1),
    "y_true and y_pred must have the same shape": lambda: metrics.r2_score()(REAL, REAL[:2]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


def test_labels_out_of_range_are_nan_under_jit():
    for metric in (metrics.precision(), metrics.cohen_kappa(), metrics.roc_auc(bins=8)):
        assert jnp.isnan(jax.jit(metric)(Y + 1, SCORES))
    assert not jnp.isnan(jax.jit(metrics.precision())(Y + 1, SCORES, where=Y < 2))


def doubled(metric, state, times):
    merge = jax.jit(metric.merge)
    for _ in range(times):
        state = merge(state, state)
    return state


def test_more_than_1e8_updates():
    one = np.float32([1.0, 1.0, 1.0])
    mean = metrics.mean()
    long = doubled(mean, mean.update(mean.init(None, one), None, one * np.float32(0.1)), 27)
    np.testing.assert_allclose(mean.compute(long), np.float32(0.1), rtol=1e-6)
    deviation = metrics.standard_deviation()
    values = np.float32([999.0, 1000.0, 1001.0])
    long = doubled(deviation, deviation.update(deviation.init(None, values), None, values), 27)
    np.testing.assert_allclose(deviation.compute(long), np.sqrt(2 / 3), rtol=1e-6)
    hits = metrics.true_positives(average="none")
    long = doubled(hits, hits.update(hits.init(Y, Y / 2), Y // 2, Y / 2), 27)
    np.testing.assert_allclose(hits.compute(long), 2.0**28, rtol=1e-7)
    long = hits.update(long, Y // 2, Y / 2)
    assert int(long.counts[0, 0]) == 2**28 + 2


def test_a_long_scan_of_a_mean_far_from_zero():
    deviation = metrics.standard_deviation()
    values = jnp.float32([10000.0, 10001.0])
    start = deviation.init(None, values)
    step = jax.jit(
        lambda state: jax.lax.fori_loop(0, 20_000, lambda _, s: deviation.update(s, None, values), state)
    )
    np.testing.assert_allclose(deviation.compute(step(start)), 0.5, rtol=1e-6)


def test_constants_have_no_variation():
    constant = np.full(5, 0.1, np.float32)
    rising = np.arange(5, dtype=np.float32)
    assert metrics.pearson()(constant, rising) == 0
    assert metrics.standard_deviation()(None, constant) == 0
    assert metrics.r2_score()(constant, constant) == 1
    assert metrics.r2_score()(constant, rising) == 0


def test_parts_of_a_mesh_are_merged():
    metric = metrics.collection({"f1": metrics.f1_score(), "auc": metrics.roc_auc(capacity=16)})
    each = jax.jit(jax.vmap(lambda y, p: metric.update(metric.init(y, p), y, p)))
    parts = each(Y.reshape(2, 3), SCORES.reshape(2, 3, 3))
    one, two = (jax.tree.map(lambda leaf, part=part: leaf[part], parts) for part in (0, 1))
    joined, whole = (
        jax.jit(lambda *two: metric.compute(metric.merge(*two)))(one, two),
        jax.jit(metric)(Y, SCORES),
    )
    for name, value in whole.items():
        np.testing.assert_allclose(joined[name], value, rtol=1e-6)
