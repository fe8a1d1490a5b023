"""Activations against float64 NumPy, at the edges, and in half precision."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from axonax.tensor import activations

X = np.concatenate([np.linspace(-30, 30, 241), np.logspace(-6, 1.9, 40), -np.logspace(-6, 1.9, 40)]).astype(
    np.float32
)


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def softplus(x):
    return np.logaddexp(0, x)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def sparse_plus(x):
    return np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))


def hard_sigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def gelu_tanh(x):
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


ORACLES = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": lambda x: np.clip(x + 1, 0, 2) / 2,
    "exp": np.exp,
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: -softplus(-x),
    "tanh": np.tanh,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "squareplus": lambda x: np.where(x > 0, (x + np.sqrt(x * x + 4)) / 2, 2 / (np.sqrt(x * x + 4) - x)),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "gelu": np.vectorize(lambda x: x * math.erfc(-x / math.sqrt(2)) / 2),
    "elu": elu,
    "celu": elu,
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "tanh_shrink": lambda x: np.where(np.abs(x) < 0.01, x**3 / 3 - 2 * x**5 / 15, x - np.tanh(x)),
    "threshold": lambda x: np.maximum(x, 0),
    "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
}
ALIASES = {"swish": "silu", "hard_swish": "hard_silu", "log_sumexp": "logsumexp"}
GATED = {"glu", "swiglu", "geglu", "reglu"}
SIMPLEX = {"softmax", "softmin", "sparsemax", "gumbel_softmax"}
ALONG_AN_AXIS = {*GATED, *SIMPLEX, "log_softmax", "logsumexp", "standardize"}


def test_the_table_is_complete():
    assert set(activations.available()) == {*ORACLES, *ALIASES, *ALONG_AN_AXIS}
    for alias, name in ALIASES.items():
        assert activations.by_name(alias) is activations.by_name(name)
    assert all(activations.by_name(name) is getattr(activations, name) for name in activations.available())


def of_all(names, change, *arguments):
    """What ``change`` makes of each activation, at the arguments: all of them in one program."""
    functions = {name: change(activations.by_name(name)) for name in names}
    return jax.device_get(jax.jit(lambda *a: {name: f(*a) for name, f in functions.items()})(*arguments))


@functools.cache
def values(dtype):
    x = np.asarray(X if dtype == jnp.float32 else X[np.abs(X) <= 8], dtype)
    return x, of_all(ORACLES, lambda f: f, x)


@functools.cache
def slopes():
    """Of each, between and far out."""
    between, far = np.array([-7.3, -2.3, -0.6, 0.4, 1.7, 7.9]), np.array([-80, -20, -0.0, 0, 20, 80])
    points = np.concatenate([between, far]).astype(np.float32)
    return between, of_all(ORACLES, lambda f: jax.vmap(jax.grad(f)), points)


@functools.cache
def changed():
    """Of each: as it stands, mapped over rows, and of whole numbers."""
    names, x = {*ORACLES, *ALONG_AN_AXIS}, np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    plain, mapped = (of_all(names, change, x) for change in (lambda f: f, jax.vmap))
    return plain, mapped, of_all(names, lambda f: f, np.array([1, 2]))


@pytest.mark.parametrize("name", ORACLES)
def test_float32_is_right_to_a_few_units_in_the_last_place(name):
    expected = ORACLES[name](X.astype(np.float64))
    got = values(jnp.float32)[1][name]
    assert (got.dtype, got.shape) == (jnp.float32, X.shape)
    # The tail of erf is off by up to 1e-5 of itself.
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-12 if name == "gelu" else 1e-34)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ORACLES)
def test_half_precision_stays_and_is_right_to_its_own(name, dtype):
    x, found = values(dtype)
    expected, got = ORACLES[name](x.astype(np.float64)), found[name]
    assert got.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=8 * eps, atol=eps)


@pytest.mark.parametrize("name", ORACLES)
def test_gradients_are_finite_far_out_and_right_between(name):
    between, found = slopes()
    oracle, gradient = ORACLES[name], found[name]
    expected = (oracle(between + 1e-6) - oracle(between - 1e-6)) / 2e-6
    np.testing.assert_allclose(gradient[: len(between)], expected, rtol=1e-4, atol=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_the_gradient_of_a_rectifier_at_zero_is_zero(name):
    assert jax.grad(activations.by_name(name))(0.0) == 0


@pytest.mark.parametrize("name", sorted({*ORACLES, *ALONG_AN_AXIS}))
def test_vmap_changes_nothing_and_integers_are_taken(name):
    plain, mapped, of_integers = changed()
    np.testing.assert_allclose(mapped[name], plain[name], rtol=1e-6)
    assert np.isfinite(of_integers[name]).all()


def test_jit_changes_nothing():
    x = jnp.linspace(-3, 3, 12).reshape(3, 4)
    for name in ("gelu", "softmax"):
        np.testing.assert_allclose(changed()[0][name], activations.by_name(name)(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "oracle"),
    [
        ("leaky_relu", {"negative_slope": 0.3}, lambda x: np.where(x > 0, x, 0.3 * x)),
        ("elu", {"alpha": 0.5}, lambda x: elu(x, 0.5)),
        ("celu", {"alpha": 2.0}, lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2))),
        ("gelu", {"approximate": True}, gelu_tanh),
        ("squareplus", {"b": 0.0}, lambda x: np.maximum(x, 0)),
    ],
)
def test_options(name, options, oracle):
    got = activations.by_name(name)(X, **options)
    np.testing.assert_allclose(got, oracle(X.astype(np.float64)), rtol=5e-6, atol=1e-7)


def numpy_softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


@pytest.mark.parametrize("axis", [-1, 0, (0, 1), (-1, -2)])
def test_softmax_and_its_kin_along_axes(axis):
    x = np.random.default_rng(0).normal(size=(3, 4)) * 20
    p = numpy_softmax(x, axis)
    narrow = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(activations.softmax(narrow, axis=axis), p, rtol=2e-5, atol=1e-30)
    np.testing.assert_allclose(activations.log_softmax(narrow, axis=axis), np.log(p), rtol=1e-5, atol=1e-5)
    total = np.log(np.exp(x - x.max()).sum(axis)) + x.max()
    np.testing.assert_allclose(activations.logsumexp(narrow, axis=axis), total, rtol=1e-5)
    kept = activations.logsumexp(narrow, axis=axis, keepdims=True)
    assert kept.shape == x.sum(axis, keepdims=True).shape
    z = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)
    np.testing.assert_allclose(activations.standardize(narrow, axis=axis), z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "standardize"])
def test_a_mask_is_as_good_as_a_smaller_array(name):
    f = activations.by_name(name)
    x = jnp.array([3.0, -1.0, jnp.nan, 0.5])
    where = jnp.array([True, True, False, True])
    alone = f(x[where])
    got = f(x, where=where)
    if name != "logsumexp":
        hidden = {"softmax": 0.0, "log_softmax": -np.inf}.get(name, np.nan)
        np.testing.assert_array_equal(got[2], hidden)
        got = got[where]
    np.testing.assert_allclose(got, alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("softmax", 0.0), ("log_softmax", -np.inf), ("logsumexp", -np.inf)]
)
@pytest.mark.parametrize("hide", ["where", "-inf"])
def test_a_row_with_nothing_allowed(name, value, hide):
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    where = jnp.array([[True, True], [False, False]])
    if hide == "-inf":
        x, where = jnp.where(where, x, -jnp.inf), None
    f = jax.jit(activations.by_name(name))
    np.testing.assert_array_equal(np.ravel(f(x, where=where)[1]), value)
    weights = jnp.array([0.3, 0.7])

    def total(x):
        y = f(x, where=where)
        return jnp.sum(jnp.where(jnp.isfinite(y), y * (weights if y.ndim == 1 else weights[:, None]), 0))

    gradient = jax.jit(jax.grad(lambda x: total(x) + f(x, where=where)[1].sum()))(x)
    np.testing.assert_array_equal(gradient[1], 0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "standardize", "glu"])
def test_gradients_along_an_axis(name):
    x = jnp.array([[0.3, -1.2, 2.0, 0.1], [1.5, 0.2, -0.4, 3.0]])
    check_grads(jax.jit(activations.by_name(name)), (x,), order=1, rtol=2e-2, eps=1e-2)


@functools.cache
def along_an_axis(dtype):
    """Of each along an axis: at numbers of ``dtype``, and at the same in float32."""
    x = np.linspace(-4, 4, 64).astype(dtype)
    return tuple(of_all(ALONG_AN_AXIS, lambda f: f, each) for each in (x, x.astype(np.float32)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", sorted(ALONG_AN_AXIS))
def test_half_precision_along_an_axis_rounds_once(name, dtype):
    found, wide = along_an_axis(dtype)
    assert found[name].dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(found[name].astype(np.float32), wide[name], rtol=eps, atol=1e-6)


def test_scores_too_large_for_exp():
    x = jnp.array([1e4, 1e4 - 1, -1e4, -jnp.inf])
    expected = numpy_softmax(np.array([0.0, -1.0, -2e4, -np.inf]), -1)
    np.testing.assert_allclose(activations.softmax(x), expected, rtol=1e-6)
    np.testing.assert_allclose(activations.logsumexp(x), 1e4 + np.log1p(np.exp(-1)), rtol=1e-7)
    assert activations.log_softmax(x)[2] == -2e4 - np.float32(np.log1p(np.exp(-1)))


def test_standardize_far_from_zero():
    x = (1e4 + np.random.default_rng(0).normal(size=(4, 100))).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    np.testing.assert_allclose(activations.standardize(x, eps=0.0), exact, atol=1e-5)


def test_glu_halves_an_axis():
    x = np.random.default_rng(0).normal(size=(4, 6, 2)).astype(np.float32)
    expected = x[:, :3] * sigmoid(x[:, 3:].astype(np.float64))
    np.testing.assert_allclose(activations.glu(x, axis=1), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: activations.celu(X, alpha=0), "celu: alpha must not be 0, got 0"),
        (
            lambda: activations.glu(jnp.ones((2, 3))),
            r"glu: axis -1 must have an even size, got 3 in \(2, 3\)",
        ),
        (
            lambda: activations.hard_shrink(X, threshold=-1),
            "hard_shrink: threshold must not be negative, got -1",
        ),
        (
            lambda: activations.soft_shrink(X, threshold=-1),
            "soft_shrink: threshold must not be negative, got -1",
        ),
        (
            lambda: activations.prelu(jnp.ones((2, 3)), jnp.ones(2)),
            r"prelu: alpha \(2,\) does not broadcast to input \(2, 3\)",
        ),
        (
            lambda: activations.prelu(jnp.ones(2), jnp.ones((1, 2))),
            r"prelu: alpha \(1, 2\) does not broadcast",
        ),
        (
            lambda: activations.swiglu(jnp.ones((3, 2)), axis=0),
            r"swiglu: axis 0 must have an even size, got 3 in \(3, 2\)",
        ),
        (
            lambda: activations.gumbel_softmax(X, temperature=0.0),
            "gumbel_softmax: temperature must be above 0, got 0.0",
        ),
        (lambda: activations.hard_sigmoid(X, slope=0.0), "hard_sigmoid: slope must be above 0, got 0.0"),
        (lambda: activations.by_name("rellu"), 'unknown activation "rellu": did you mean "relu'),
        (lambda: activations.by_name(None), "must be a name or a callable, got None of type NoneType"),
        (lambda: activations.by_name(3), "must be a name or a callable, got 3 of type int"),
        (lambda: activations.softmax(jnp.ones((2, 3)), axis=2), "axis 2 is out of bounds"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_score_of_minus_infinity_moves_nothing_in_log_softmax():
    slopes = jax.jacobian(activations.log_softmax)(jnp.array([0.0, -jnp.inf, 0.0]))
    np.testing.assert_allclose(slopes[:, 1], 0)
    np.testing.assert_allclose(slopes[0], [0.5, 0, -0.5], rtol=1e-6)
