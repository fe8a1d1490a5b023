"""Where losses usually break: infinities, certainties, masked classes, bad labels, bad shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.functional import losses
from axonax.functional.losses import _logarithms

pytestmark = pytest.mark.smoke

FLOATS = ["float16", "bfloat16", "float32"]
BINARY = losses.binary_cross_entropy
CATEGORICAL = losses.categorical_cross_entropy


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("label", "logit", "slope"), [(0, 1e4, 1), (1, -1e4, -1)])
def test_binary_with_huge_wrong_logits_is_linear(dtype, label, logit, slope):
    y_true, y_pred = jnp.array([label]), jnp.array([logit], dtype)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda x: BINARY(y_true, x, from_logits=True).astype(jnp.float32).sum())
    )(y_pred)
    assert value == abs(y_pred[0].astype(jnp.float32))
    assert gradient.tolist() == [slope]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("label", "logit"), [(1, np.inf), (0, -np.inf), (1, 1e4), (0, -1e4)])
def test_binary_with_certain_right_logits_is_zero(dtype, label, logit):

    def loss(x):
        return BINARY(jnp.array([label]), x, from_logits=True, reduction="sum")

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array([logit], dtype))
    assert (value, gradient.tolist()) == (0, [0])


def test_binary_with_certain_wrong_logits_is_infinite():
    assert BINARY(jnp.array([0, 1]), jnp.array([np.inf, -np.inf]), from_logits=True).tolist() == [np.inf] * 2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_binary_of_certain_probabilities_is_finite(dtype, label, probability):

    def loss(p):
        return BINARY(jnp.array([label]), p, reduction="sum")

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array([probability], dtype))
    eps = float(jnp.finfo(dtype).eps)
    right = label == probability
    np.testing.assert_allclose(value, -np.log1p(-eps) if right else -np.log(eps), rtol=1e-5)
    np.testing.assert_allclose(
        gradient.astype(jnp.float32), [(1 - 2 * label) * (1 / (1 - eps) if right else 1 / eps)], rtol=1e-2
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", [1, [0, 1, 0]], ids=["index", "one_hot"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_masked_class_leaves_the_value_of_the_others(dtype, target, smoothing):
    logits = jnp.array([[0.5, 2.0, -jnp.inf]], dtype)

    def loss(x, y):
        return CATEGORICAL(y, x, from_logits=True, label_smoothing=smoothing, reduction="sum")

    value, gradient = jax.jit(jax.value_and_grad(loss))(logits, jnp.array([target]))
    short = target if isinstance(target, int) else target[:2]
    expected, slope = jax.jit(jax.value_and_grad(loss))(logits[:, :2], jnp.array([short]))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert gradient[0, 2] == 0
    np.testing.assert_allclose(
        gradient[:, :2].astype(jnp.float32), slope.astype(jnp.float32), rtol=1e-2, atol=1e-3
    )


def test_a_masked_class_that_is_the_label_is_infinite_with_a_finite_gradient():

    def loss(x):
        return CATEGORICAL(jnp.array([2]), x, from_logits=True).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array([[0.5, 2.0, -jnp.inf]]))
    assert value == jnp.inf
    assert jnp.isfinite(gradient).all()


def test_a_masked_class_without_weight_adds_nothing():
    logits = jnp.array([[0.5, 2.0, -jnp.inf], [0.0, 0.0, -jnp.inf]])
    for targets in (jnp.array([2, 0]), jnp.eye(3)[jnp.array([2, 0])]):
        got = CATEGORICAL(targets, logits, from_logits=True, class_weights=[1.0, 1.0, 0.0], reduction="mean")
        np.testing.assert_allclose(got, np.log(2), rtol=1e-6)


@pytest.mark.parametrize("target", [3, 7, -1, -3])
def test_an_index_out_of_range_is_nan_on_the_device(target):
    logits, labels = jnp.array([[0.5, 2.0, 1.0], [1.0, 0.0, 0.0]]), jnp.array([target, 0])
    loss = jax.jit(lambda y, x: CATEGORICAL(y, x, from_logits=True))
    assert jnp.isnan(loss(labels, logits)).tolist() == [True, False]
    gradient = jax.jit(jax.grad(lambda x, y: loss(y, x).sum()))(logits, labels)
    assert (jnp.isnan(gradient[0]) | (gradient[0] == 0)).all()
    assert jnp.isfinite(gradient[1]).all()


@pytest.mark.parametrize("target", [3, -1])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_an_index_out_of_range_is_an_error_on_the_host(target, kind):
    with pytest.raises(ValueError, match=rf"class indices must be in \[0, 3\), got {target}"):
        CATEGORICAL(kind([0, target]), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="class indices"):
        jax.grad(lambda p: CATEGORICAL(kind([0, target]), p).sum())(jnp.ones((2, 3)))


@pytest.mark.parametrize("index", [-100, -1, 1, 255])
def test_ignored_labels_do_not_exist(index):
    labels, p = jnp.array([0, index, 2]), jax.nn.softmax(jnp.eye(3) * 2)
    options = {"ignore_index": index, "class_weights": [1.0, 2.0, 3.0]}
    assert CATEGORICAL(labels, p, **options)[1] == 0
    for run in (CATEGORICAL, jax.jit(CATEGORICAL, static_argnames=("ignore_index", "reduction"))):
        got = run(labels, p, reduction="mean", ignore_index=index, class_weights=jnp.array([1.0, 2.0, 3.0]))
        kept = CATEGORICAL(
            jnp.array([0, 2]), p[jnp.array([0, 2])], reduction="mean", class_weights=[1.0, 2.0, 3.0]
        )
        np.testing.assert_allclose(got, kept, rtol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_all_labels_ignored_is_zero_with_gradient_zero(from_logits):

    def loss(x):
        return CATEGORICAL(jnp.full(2, -100), x, ignore_index=-100, reduction="mean", from_logits=from_logits)

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array([[0.0, 1.0], [jnp.nan, jnp.inf]]))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_confidently_wrong_softmax_still_learns(dtype):
    # exp(-9) is below the eps of float16 and bfloat16: a clip at eps would stop the gradient.

    def loss(x):
        return CATEGORICAL(jnp.array([1]), jax.nn.softmax(x), reduction="sum")

    gradient = jax.jit(jax.grad(loss))(jnp.array([[9.0, 0.0]], dtype))
    np.testing.assert_allclose(gradient.astype(jnp.float32), [[1.0, -1.0]], rtol=2e-2)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_probability_of_zero_is_finite(dtype):

    def loss(p):
        return CATEGORICAL(jnp.array([1]), p, reduction="sum")

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.array([[1.0, 0.0]], dtype))
    tiny = float(jnp.finfo(dtype).tiny)
    np.testing.assert_allclose(value, -np.log(tiny), rtol=1e-6)
    np.testing.assert_allclose(gradient.astype(jnp.float32), [[0, -min(1 / tiny, 2.0**100)]], rtol=1e-2)


def test_weights_do_not_break_the_gradient_of_a_softmax_that_underflows():
    logits = jnp.array([[300.0, 0.0], [90.0, 0.0], [80.0, 0.0]])

    def loss(x):
        return 2.0**15 * CATEGORICAL(
            jnp.array([1, 1, 1]), jax.nn.softmax(x), class_weights=[1.0, 50.0], reduction="sum"
        )

    assert jnp.isfinite(jax.jit(jax.grad(loss))(logits)).all()


SHAPES = {
    "(N,) against (N, 1), mse": (
        lambda: losses.mean_squared_error(np.ones(3), np.ones((3, 1))),
        "same shape",
    ),
    "(N, 1) against (N,), mse": (
        lambda: losses.mean_squared_error(np.ones((3, 1)), np.ones(3)),
        "same shape",
    ),
    "(N,) against (N, 1), bce": (lambda: BINARY(np.ones(3), np.ones((3, 1))), r"take y_pred\[..., 0\]"),
    "(N, 1) against (N,), bce": (lambda: BINARY(np.ones((3, 1)), np.ones(3)), r"take y_true\[..., 0\]"),
    "(N,) against (N, 1), cce": (lambda: CATEGORICAL(np.ones(3, int), np.ones((3, 1))), "same shape"),
    "(N, 1) against (N, K)": (
        lambda: CATEGORICAL(np.zeros((3, 1), int), np.ones((3, 4))),
        r"the shape \(3,\) \(integer class indices\) or the shape \(3, 4\) of y_pred .*, got \(3, 1\)",
    ),
    "another batch": (lambda: CATEGORICAL(np.zeros(2, int), np.ones((3, 4))), r"got \(2,\) and \(3, 4\)"),
    "sparse": (
        lambda: CATEGORICAL(np.zeros((3, 4), int), np.ones((3, 4)), sparse=True),
        r"must have the shape \(3,\) \(integer class indices\), got \(3, 4\)",
    ),
    "dense": (
        lambda: CATEGORICAL(np.zeros(3, int), np.ones((3, 4)), sparse=False),
        r"must have the shape \(3, 4\) of y_pred",
    ),
    "float labels": (
        lambda: CATEGORICAL(np.zeros(3, np.float32), np.ones((3, 4))),
        r"y_true of shape \(3,\) against 4 classes must hold integer class indices, got float32",
    ),
    "bool labels": (
        lambda: CATEGORICAL(np.zeros(3, bool), np.ones((3, 2))),
        "integer class indices, got bool",
    ),
    "axis": (lambda: CATEGORICAL(np.zeros(3, int), np.ones((3, 4)), axis=2), r"axis must be .*, got 2"),
    "class weights": (
        lambda: CATEGORICAL(np.zeros(3, int), np.ones((3, 4)), class_weights=[1.0, 2.0]),
        r"class_weights must have shape \(4,\), one for each class, got \(2,\)",
    ),
    "smoothing": (
        lambda: CATEGORICAL(np.zeros(3, int), np.ones((3, 4)), label_smoothing=1.5),
        r"label_smoothing must be in \[0, 1\], got 1.5",
    ),
    "binary smoothing": (lambda: BINARY(np.ones(3), np.ones(3), label_smoothing=-0.1), "label_smoothing"),
    "ignore one-hot": (
        lambda: CATEGORICAL(np.ones((3, 4)), np.ones((3, 4)), ignore_index=0),
        "ignore_index needs integer class indices",
    ),
    "positive weight": (
        lambda: BINARY(np.ones((2, 3)), np.ones((2, 3)), positive_weight=np.ones(2)),
        r"positive_weight must be a number or have one for each feature .*\(2, 3\), got shape \(2,\)",
    ),
    "negative weight": (
        lambda: BINARY(np.ones(3), np.ones(3), negative_weight=np.ones(3)),
        "negative_weight",
    ),
    "complex": (
        lambda: losses.mean_squared_error(np.ones(3), 1j * np.ones(3)),
        "must be real, got .*complex64",
    ),
    "reduction": (
        lambda: losses.mean_squared_error(np.ones(3), np.ones(3), reduction="men"),
        'unknown reduction "men": did you mean "mean"',
    ),
    "weights": (
        lambda: losses.mean_squared_error(np.ones((3, 2)), np.ones((3, 2)), weights=np.ones(2)),
        r"mean_squared_error: weights must have the shape \(3,\) of the examples .*, got \(2,\)",
    ),
    "where": (
        lambda: losses.mean_squared_error(np.ones((3, 2)), np.ones((3, 2)), where=np.ones((3, 2), bool)),
        r"where must have the shape \(3,\)",
    ),
    "where of floats": (
        lambda: losses.mean_squared_error(np.ones(3), np.ones(3), where=np.ones(3)),
        r"where must be boolean \(True counts\), got float64; numbers go to weights=",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_bad_arguments_are_named(name):
    call, message = SHAPES[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("top", [0.0, -6e-8, -2e-7])
def test_a_sum_of_exponentials_takes_a_rounded_largest(top):
    """Logits that a fused loop computes anew may differ from their own largest by a rounding."""
    shifted = jnp.array([top, -0.9, -20.0])
    expected = np.log(np.sum(np.exp(np.asarray(shifted, np.float64))))
    np.testing.assert_allclose(_logarithms.sum_exp(shifted), expected, rtol=1e-6)


def test_vectors_of_the_largest_and_the_smallest_numbers_have_a_direction():
    """Neither squares nor inverses overflow or vanish; 0 has none, and no gradient."""
    x = jnp.float32([[3e38, 3e38], [1e-30, 1e-30], [0, 0]])
    y = jnp.float32([[1, 0]] * 3)
    value, pull = jax.vjp(jax.jit(lambda x: losses.cosine_similarity(y, x)), x)
    np.testing.assert_allclose(value, [-np.sqrt(0.5), -np.sqrt(0.5), 0], rtol=1e-6)
    assert pull(jnp.ones(3))[0][2].tolist() == [0, 0]
    far = losses.triplet_margin(None, (x[:1], x[:1] / 3, x[:1]), margin=0.0)
    np.testing.assert_allclose(far, [2e38 * np.sqrt(2)], rtol=1e-6)


@pytest.mark.parametrize("certainty", [17, 20, 50])
def test_a_small_loss_of_one_hot_targets_is_not_zero(certainty):
    """With ties, masked classes beside it, and where several are as likely."""
    logits = jnp.float32([[certainty, 0, 0, -jnp.inf]])
    hot = jnp.float32([[1, 0, 0, 0]])
    expected = np.log1p(2 * np.exp(-float(certainty)))
    np.testing.assert_allclose(CATEGORICAL(hot, logits, from_logits=True), [expected], rtol=1e-6)
    ties = jnp.zeros((1, 1000)).at[0, :3].set(certainty)
    expected = np.log(3 + 997 * np.exp(-float(certainty)))
    found = CATEGORICAL(jax.nn.one_hot(jnp.array([1]), 1000), ties, from_logits=True)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)
    assert CATEGORICAL(hot[:, ::-1], logits, from_logits=True).tolist() == [np.inf]
