"""Values and gradients of the losses against float64 NumPy and scikit-learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.metrics import log_loss, mean_squared_error

from axonax.functional import losses

RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(6, 4)).astype(np.float32) * 3
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
LABELS = np.array([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
SOFT = RNG.dirichlet(np.ones(4), size=6).astype(np.float32)
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25])
BINARY = (RNG.random((6, 4)) < 0.4).astype(np.int32)
DTYPES = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}


def categorical_oracle(targets, logits, *, class_weights=1.0, label_smoothing=0.0):
    logits = np.asarray(logits, np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    smooth = targets * (1 - label_smoothing) + label_smoothing / targets.shape[-1]
    return -(smooth * class_weights * log_p).sum(-1)


def binary_oracle(y_true, logits, *, positive_weight=1.0, negative_weight=1.0, label_smoothing=0.0):
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    y = y_true * (1 - label_smoothing) + label_smoothing / 2
    return (-positive_weight * y * np.log(p) - negative_weight * (1 - y) * np.log(1 - p)).mean(-1)


CATEGORICAL_OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"class_weights": CLASS_WEIGHTS},
    {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.3},
]
BINARY_OPTIONS = [
    {},
    {"label_smoothing": 0.2},
    {"positive_weight": 3.0},
    {"negative_weight": 0.25},
    {"positive_weight": np.array([1.0, 2.0, 0.5, 3.0]), "negative_weight": 0.5, "label_smoothing": 0.1},
]


@pytest.mark.parametrize("options", CATEGORICAL_OPTIONS)
@pytest.mark.parametrize("targets", [LABELS, ONE_HOT, SOFT], ids=["indices", "one_hot", "soft"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_categorical_cross_entropy_is_the_formula(targets, options, from_logits):
    full = ONE_HOT if targets is LABELS else targets
    loss = functools.partial(losses.categorical_cross_entropy, from_logits=from_logits, **options)
    got = jax.jit(loss)(targets, LOGITS if from_logits else PROBABILITIES)
    expected = categorical_oracle(full.astype(np.float64), LOGITS, **options)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("options", BINARY_OPTIONS)
@pytest.mark.parametrize("from_logits", [True, False])
def test_binary_cross_entropy_is_the_formula(options, from_logits):
    y_pred = LOGITS if from_logits else 1 / (1 + np.exp(-LOGITS))
    loss = functools.partial(losses.binary_cross_entropy, from_logits=from_logits, **options)
    got = jax.jit(loss)(BINARY, y_pred)
    np.testing.assert_allclose(got, binary_oracle(BINARY, LOGITS, **options), rtol=5e-6, atol=1e-6)


def test_losses_agree_with_scikit_learn():
    weights = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.25])
    options = {"reduction": "mean", "weights": weights}
    got = losses.categorical_cross_entropy(LABELS, PROBABILITIES, **options)
    exact = PROBABILITIES.astype(np.float64)
    exact /= exact.sum(-1, keepdims=True)
    np.testing.assert_allclose(got, log_loss(LABELS, exact, sample_weight=weights), rtol=1e-6)
    got = losses.binary_cross_entropy(BINARY[:, 0], PROBABILITIES[:, 0], **options)
    np.testing.assert_allclose(got, log_loss(BINARY[:, 0], exact[:, 0], sample_weight=weights), rtol=1e-6)
    got = losses.mean_squared_error(SOFT, LOGITS, **options)
    np.testing.assert_allclose(got, mean_squared_error(SOFT, LOGITS, sample_weight=weights), rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (5,), (5, 3), (2, 5, 3), (5, 0), (0, 3)], ids=str)
def test_losses_of_features_keep_the_dimensions_of_the_examples(shape):
    y_true, y_pred = RNG.random(shape), RNG.random(shape)
    squares = (y_true - y_pred) ** 2
    expected = squares.sum(-1) / max(shape[-1], 1) if len(shape) > 1 else squares
    got = jax.jit(losses.mean_squared_error)(y_true, y_pred)
    assert got.shape == shape[:-1] if len(shape) > 1 else got.shape == shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert jax.eval_shape(losses.binary_cross_entropy, y_true, y_pred).shape == got.shape


@pytest.mark.parametrize("gap", [1.0, 10.0, 20.0, 40.0, 80.0])
@pytest.mark.parametrize("from_one_hot", [True, False])
def test_a_nearly_certain_prediction_has_a_loss_right_to_a_few_ulp(gap, from_one_hot):
    logits, labels = np.array([[gap, 0.0, 0.0], [gap, gap, 0.0]], np.float32), np.array([0, 1])
    targets = np.eye(3)[labels] if from_one_hot else labels
    got = losses.categorical_cross_entropy(targets, logits, from_logits=True)
    small = np.exp(-np.float64(gap))
    np.testing.assert_allclose(got, [np.log1p(2 * small), np.log1p(1 + small)], rtol=5e-7)


@pytest.mark.parametrize("axis", [0, 1, -2, 2])
def test_categorical_cross_entropy_takes_any_class_axis(axis):
    logits, labels = RNG.normal(size=(3, 5, 4)), RNG.integers(0, 4, size=(3, 5))
    moved = np.moveaxis(logits, -1, axis)
    loss = jax.jit(functools.partial(losses.categorical_cross_entropy, axis=axis, from_logits=True))
    got = loss(labels, moved)
    np.testing.assert_allclose(got, categorical_oracle(np.eye(4)[labels], logits), rtol=1e-5)
    one_hot = np.moveaxis(np.eye(4)[labels], -1, axis)
    np.testing.assert_allclose(loss(one_hot, moved), got, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, np.uint32])
def test_categorical_cross_entropy_takes_any_integer_as_index(dtype):
    got = losses.categorical_cross_entropy(LABELS.astype(dtype), PROBABILITIES)
    np.testing.assert_allclose(got, losses.categorical_cross_entropy(LABELS, PROBABILITIES))


def test_one_example_alone_is_a_scalar():
    got = losses.categorical_cross_entropy(LABELS[1], LOGITS[1], from_logits=True)
    assert got.shape == ()
    each = jax.vmap(lambda y, x: losses.categorical_cross_entropy(y, x, from_logits=True))(LABELS, LOGITS)
    np.testing.assert_allclose(each, categorical_oracle(ONE_HOT, LOGITS), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_half_precision_is_computed_in_float32(dtype, reduction):
    logits = jnp.asarray(LOGITS, dtype)
    exact = np.asarray(logits.astype(jnp.float32))
    finish = {"none": lambda x: x, "mean": np.mean, "sum": np.sum}[reduction]
    got = losses.categorical_cross_entropy(LABELS, logits, from_logits=True, reduction=reduction)
    assert got.dtype == (dtype if reduction == "none" else "float32")
    tolerance = DTYPES[dtype] if reduction == "none" else 1e-6
    np.testing.assert_allclose(
        np.asarray(got, np.float64), finish(categorical_oracle(ONE_HOT, exact)), rtol=tolerance
    )


def test_the_result_has_the_promoted_dtype():
    half = jnp.asarray(SOFT, jnp.bfloat16)
    assert losses.mean_squared_error(BINARY, half).dtype == jnp.bfloat16
    assert losses.mean_squared_error(SOFT, half).dtype == jnp.float32
    assert losses.mean_squared_error(half, half.astype(jnp.float16)).dtype == jnp.float32
    assert losses.mean_squared_error(BINARY, BINARY).dtype == jnp.float32


SMOOTH = {
    "mean_squared_error": lambda x: losses.mean_squared_error(SOFT, x),
    "binary": lambda x: losses.binary_cross_entropy(BINARY, x, from_logits=True, positive_weight=2.0),
    "binary_probabilities": lambda x: losses.binary_cross_entropy(BINARY, jax.nn.sigmoid(x)),
    "categorical": lambda x: losses.categorical_cross_entropy(
        LABELS, x, from_logits=True, class_weights=CLASS_WEIGHTS, label_smoothing=0.1, reduction="mean"
    ),
    "categorical_probabilities": lambda x: losses.categorical_cross_entropy(SOFT, jax.nn.softmax(x)),
    "soft_targets": lambda x: losses.categorical_cross_entropy(jax.nn.softmax(x), LOGITS, from_logits=True),
}


def every_loss(x):
    """All of `SMOOTH` in one program: compiling takes the time, not running."""
    return {name: loss(x) for name, loss in SMOOTH.items()}


@pytest.mark.parametrize("mode", ["rev", pytest.param("fwd", marks=pytest.mark.slow)])
def test_gradients_of_order_two(mode):
    with jax.enable_x64(True):
        check_grads(jax.jit(every_loss), (jnp.asarray(LOGITS, jnp.float64),), order=2, modes=[mode])


def test_the_same_under_transformations():
    expected = {name: loss(jnp.asarray(LOGITS)) for name, loss in SMOOTH.items()}
    mapped = jax.jit(jax.vmap(every_loss))(LOGITS[None])
    _, scanned = jax.jit(lambda: jax.lax.scan(lambda c, x: (c, every_loss(x)), 0, LOGITS[None]))()
    abstract = jax.eval_shape(every_loss, jax.ShapeDtypeStruct(LOGITS.shape, LOGITS.dtype))
    compiled = jax.jit(every_loss)(LOGITS)
    for name, value in expected.items():
        for got in (compiled[name], mapped[name][0], scanned[name][0]):
            np.testing.assert_allclose(got, value, rtol=1e-6)
        assert (abstract[name].shape, abstract[name].dtype) == (value.shape, value.dtype)


def test_rematerialized_gradients_are_the_same():
    def total(x, transform):
        return sum(each.sum() for each in transform(every_loss)(x).values())

    slope = jax.jit(jax.grad(lambda x: total(x, lambda f: f)))(LOGITS)
    again = jax.jit(jax.grad(lambda x: total(x, jax.checkpoint)))(LOGITS)
    np.testing.assert_allclose(again, slope, rtol=1e-5, atol=1e-6)


def test_a_second_call_does_not_compile():
    # A function of its own: JAX counts the programs of one function together, whoever compiled them.
    loss = jax.jit(functools.partial(losses.categorical_cross_entropy, from_logits=True, reduction="mean"))
    for shift in range(3):
        loss(jnp.asarray(LABELS), jnp.asarray(LOGITS) + shift)
    assert loss._cache_size() == 1
