"""Edges that others get wrong: each by value and gradient, in every float dtype that it can be told in."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.functional import losses, metrics
from axonax.tensor import activations, layers
from ops.programs import as_users

HALVES = (jnp.float16, jnp.bfloat16)
FLOATS = (*HALVES, jnp.float32)
each_float = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)


def value_and_slope(function: Any, *arrays: Any) -> tuple[np.ndarray, np.ndarray]:
    """A compiled function and its gradient in the first array, as float64."""

    @as_users
    def both(*arrays: Any) -> tuple[Any, Any]:
        value, pull = jax.vjp(lambda x: function(x, *arrays[1:]), arrays[0])
        return value, pull(jnp.ones_like(value))[0]

    value, slope = both(*arrays)
    return np.asarray(value, np.float64), np.asarray(slope, np.float64)


@each_float
def test_binary_cross_entropy_of_logits_of_1e4(dtype):
    logits, labels = jnp.array([1e4, -1e4, 1e4, -1e4], dtype), jnp.array([0, 1, 1, 0])
    value, slope = value_and_slope(lambda x: losses.binary_cross_entropy(labels, x, from_logits=True), logits)
    assert value.tolist() == [float(dtype(1e4))] * 2 + [0, 0]
    assert slope.tolist() == [1, -1, 0, 0]


@each_float
def test_binary_cross_entropy_of_an_infinite_logit(dtype):
    logits, labels = jnp.array([jnp.inf, -jnp.inf], dtype), jnp.array([1, 0])
    value, slope = value_and_slope(lambda x: losses.binary_cross_entropy(labels, x, from_logits=True), logits)
    assert value.tolist() == [0, 0]
    assert slope.tolist() == [0, 0]


@each_float
def test_binary_cross_entropy_of_probabilities_of_0_and_1(dtype):
    certain, labels = jnp.array([0, 1, 0, 1], dtype), jnp.array([0, 1, 1, 0])
    value, slope = value_and_slope(lambda p: losses.binary_cross_entropy(labels, p), certain)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    assert (value[2:] > 4).all()


@each_float
@pytest.mark.parametrize("label", [np.array([2]), np.array([[0.0, 0.0, 1.0]])], ids=["index", "one-hot"])
def test_softmax_cross_entropy_with_a_masked_class(dtype, label):
    logits = jnp.array([[1.0, -jnp.inf, 0.5]], dtype)
    value, slope = value_and_slope(
        lambda x: losses.categorical_cross_entropy(label, x, from_logits=True), logits
    )
    np.testing.assert_allclose(value, np.log1p(np.exp(0.5)), rtol=2 * float(jnp.finfo(dtype).eps))
    p = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(slope, [[p, 0, -p]], rtol=2 * float(jnp.finfo(dtype).eps))


@each_float
@pytest.mark.parametrize("label", [3, 4, -1, -3])
def test_an_index_out_of_range(dtype, label):
    """NaN on the device, its gradient NaN or 0; an error on the host. -1 is no alias of the last class."""

    def loss(x: Any, y: Any) -> Any:
        return losses.categorical_cross_entropy(y, x, from_logits=True)

    logits, label = jnp.zeros((1, 3), dtype), jnp.array([label])
    value, slope = value_and_slope(loss, logits, label)
    assert np.isnan(value).all()
    assert (np.isnan(slope) | (slope == 0)).all()
    with pytest.raises(ValueError, match=r"must be in \[0, 3\)"):
        loss(logits, label)


@each_float
@pytest.mark.parametrize("from_logits", [True, False])
def test_all_labels_ignored(dtype, from_logits):
    def loss(x: Any) -> Any:
        y, options = jnp.array([-100, -100]), {"from_logits": from_logits, "reduction": "mean"}
        return losses.categorical_cross_entropy(y, x, ignore_index=-100, **options)

    value, slope = value_and_slope(loss, jnp.full((2, 3), jnp.nan, dtype))
    assert value == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("name", ["mean_squared_error", "binary_cross_entropy", "hinge", "huber"])
def test_a_column_against_a_vector(name):
    for shapes in (((4,), (4, 1)), ((4, 1), (4,))):
        with pytest.raises(ValueError, match="must have the same shape"):
            getattr(losses, name)(*(jnp.zeros(shape) for shape in shapes))
    with pytest.raises(ValueError, match="must have the same shape"):
        metrics.mean_squared_error()(jnp.zeros(4), jnp.zeros((4, 1)))


@each_float
def test_kl_divergence_with_a_target_of_0(dtype):
    target, p = jnp.array([[0.0, 1.0]], dtype), jnp.array([[0.25, 0.75]], dtype)
    value, by_target = value_and_slope(losses.kl_divergence, target, p)
    _, by_prediction = value_and_slope(lambda p, y: losses.kl_divergence(y, p), p, target)
    np.testing.assert_allclose(value, -np.log(0.75), rtol=float(jnp.finfo(dtype).eps))
    assert np.isfinite(by_target).all()
    np.testing.assert_allclose(by_prediction, [[0, -1 / 0.75]], rtol=float(jnp.finfo(dtype).eps))


@each_float
def test_cosine_similarity_at_zero(dtype):
    value, slope = value_and_slope(
        lambda x: losses.cosine_similarity(jnp.ones((1, 3), dtype), x), jnp.zeros((1, 3), dtype)
    )
    assert value == 0
    assert (slope == 0).all()


@each_float
@pytest.mark.parametrize("place", [0, 1, 2])
def test_norms_of_differences_of_zero(dtype, place):
    """The distances of the triplet, the pair and the contrast at equal embeddings: gradient 0, not NaN."""
    same = jnp.ones((1, 3), dtype)

    def triplet(x: Any) -> Any:
        return losses.triplet_margin(None, tuple(x if each == place else same for each in range(3)))

    for loss in (triplet, lambda x: losses.contrastive(jnp.array([0]), (x, same))):
        value, slope = value_and_slope(loss, same)
        assert value.tolist() == [1.0]
        assert np.isfinite(slope).all()


NORMS = {
    "layer": layers.layer_norm,
    "group": lambda x: layers.group_norm(x, groups=4),
    "batch": lambda x: layers.batch_norm(x, jnp.zeros(64), jnp.ones(64), train=True)[0],
    "instance": lambda x: layers.instance_norm(x, train=True)[0],
}
AXES = {"layer": -1, "batch": 0, "group": -1, "instance": 1}


def normalized(kind: str, x: np.ndarray) -> np.ndarray:
    """In float64, with the same eps."""
    shaped = x.reshape(*x.shape[:-1], 4, -1) if kind == "group" else x
    over = (1, 3) if kind == "group" and x.ndim == 3 else AXES[kind]
    mean, var = (f(shaped, axis=over, keepdims=True) for f in (np.mean, np.var))
    return ((shaped - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)


@pytest.mark.parametrize("kind", NORMS)
def test_norms_of_numbers_far_from_zero(kind):
    shape = (4, 128, 64) if kind == "instance" else (128, 64)
    x = (1e4 + np.random.default_rng(3).normal(size=shape)).astype(np.float32)
    found = jax.jit(NORMS[kind])(x)
    assert np.abs(found - normalized(kind, x.astype(np.float64))).max() <= 2e-3


@each_float
@pytest.mark.parametrize("kind", NORMS)
def test_norms_of_constant_rows(kind, dtype):
    shape = (2, 8, 64) if kind == "instance" else (8, 64)
    x = jnp.full(shape, 1234.5, dtype)
    value, slope = value_and_slope(NORMS[kind], x)
    assert (value == 0).all()
    assert np.isfinite(slope).all()


@each_float
def test_softmax_over_nothing_allowed(dtype):
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]], dtype)
    where = jnp.array([[False, False], [True, False]])
    for function in (activations.softmax, activations.sparsemax):
        value, slope = value_and_slope(lambda x, f=function: f(x, where=where), x)
        assert value.tolist() == [[0, 0], [1, 0]]
        assert np.isfinite(slope).all()


@each_float
def test_mean_over_nothing(dtype):
    """Weight 0: neither the loss nor a metric sees what is not there."""

    def loss(x: Any) -> Any:
        return losses.mean_squared_error(x * 0, x, weights=jnp.zeros(2), reduction="mean")

    value, slope = value_and_slope(loss, jnp.ones((2, 3), dtype))
    assert value == 0
    assert (slope == 0).all()
    metric = metrics.mean_absolute_error()
    zeros = jnp.zeros(2, dtype)
    state = metric.init(zeros, zeros)
    nothing = metric.update(state, zeros, jnp.array([jnp.nan, 3.0], dtype), where=jnp.zeros(2, bool))
    assert metric.compute(nothing) == 0
    both = metric.merge(nothing, metric.update(state, zeros, jnp.array([2.0, 4.0], dtype)))
    assert metric.compute(both) == 3


@each_float
@pytest.mark.parametrize("index", [5, 6, -1])
def test_embedding_of_an_index_out_of_range(dtype, index):
    kernel = jnp.arange(10, dtype=dtype).reshape(5, 2)
    found = jax.jit(layers.embedding)(jnp.array([0, index]), kernel)
    assert found[0].tolist() == [0, 1]
    assert np.isnan(found[1].astype(jnp.float32)).all()


def test_a_smaller_last_batch():
    """64 rows of 0 and one of 100: 1.5385, not the 50 of a mean of means."""
    batches = [np.zeros(64, np.float32), np.full(1, 100, np.float32)]
    for metric in (metrics.mean_absolute_error(), metrics.from_function(losses.mean_absolute_error)):
        state = metric.init(batches[0], batches[0])
        for batch in batches:
            state = metric.update(state, 0 * batch, batch)
        assert float(metric.compute(state)) == pytest.approx(100 / 65, rel=1e-6)
    whole = np.concatenate(batches)
    loss = losses.mean_absolute_error(0 * whole, whole, reduction="mean")
    padded, mask = np.pad(whole, (0, 63), constant_values=np.nan), np.arange(128) < 65
    same = losses.mean_absolute_error(np.zeros(128, np.float32), padded, where=mask, reduction="mean")
    assert [float(loss), float(same)] == pytest.approx([1.5385] * 2, abs=5e-5)


@each_float
def test_dropout_of_rate_1(dtype):
    value, slope = value_and_slope(
        lambda x: layers.dropout(x, 1.0, key=jax.random.key(0)), jnp.array([1.0, jnp.inf, jnp.nan], dtype)
    )
    assert value.tolist() == [0, 0, 0]
    assert slope.tolist() == [0, 0, 0]


@each_float
def test_ctc_that_cannot_fit(dtype):
    log_p = jnp.log(jnp.full((2, 2, 3), 1 / 3)).astype(dtype)
    target = (jnp.array([2, 1]), jnp.array([[1, 1], [2, 0]]))

    def loss(x: Any) -> Any:
        return losses.connectionist_temporal_classification(target, x)

    value, slope = value_and_slope(loss, log_p)
    assert value[0] == np.inf
    assert np.isfinite(value[1])
    assert (slope[0] == 0).all()
    assert np.abs(slope[1]).sum() > 0
