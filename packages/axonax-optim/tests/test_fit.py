"""`fit` beside `scipy.optimize.curve_fit`, and its refusals."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from axonax import optim

DRAW = np.random.default_rng(0)
X = np.linspace(0.0, 4.0, 50)
SIGMA = 0.05 + 0.1 * DRAW.random(50)
Y = 2.5 * np.exp(-1.3 * X) + 0.5 + SIGMA * DRAW.normal(size=50)
COVARIANCE = np.diag(SIGMA**2) + 0.002 * np.exp(-np.abs(X[:, None] - X[None, :]))
START = {"rate": 1.0, "size": np.ones(2)}


@pytest.fixture
def fit(quick):
    """`optim.fit` within one program that compiles fast."""

    def run(f, xdata, ydata, p0, **options):
        return quick(lambda xdata, ydata: optim.fit(f, xdata, ydata, p0, **options))(xdata, ydata)

    return run


def decay(x, params):
    return params["size"][0] * jnp.exp(-params["rate"] * x) + params["size"][1]


def scipy_decay(x, rate, size, offset):
    return size * np.exp(-rate * x) + offset


@pytest.mark.parametrize(
    ("method", "sigma", "absolute"),
    [
        ("levenberg_marquardt", None, False),
        ("levenberg_marquardt", SIGMA, False),
        ("levenberg_marquardt", SIGMA, True),
        ("levenberg_marquardt", COVARIANCE, True),
        ("gauss_newton", COVARIANCE, False),
        ("bfgs", SIGMA, False),
        ("lbfgs", None, False),
    ],
)
def test_agrees_with_scipy(method, sigma, absolute, fit):
    with jax.enable_x64(True):
        ours = fit(decay, X, Y, START, sigma=sigma, absolute_sigma=absolute, method=method)
        assert ours.converged
    theirs, covariance = scipy.optimize.curve_fit(
        scipy_decay, X, Y, np.ones(3), sigma=sigma, absolute_sigma=absolute, xtol=1e-14, ftol=1e-14
    )
    params = [ours.params["rate"], *ours.params["size"]]
    np.testing.assert_allclose(params, theirs, rtol=1e-6)
    np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-5)
    errors = [ours.standard_errors["rate"], *ours.standard_errors["size"]]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=1e-5)
    np.testing.assert_allclose(ours.residual, Y - scipy_decay(X, *theirs), atol=1e-6)


def test_float32_is_as_near_as_it_can_be(fit):
    ours = fit(decay, X, Y, START, sigma=SIGMA)
    assert ours.converged
    assert ours.params["size"].dtype == jnp.float32
    theirs, covariance = scipy.optimize.curve_fit(scipy_decay, X, Y, np.ones(3), sigma=SIGMA)
    np.testing.assert_allclose([ours.params["rate"], *ours.params["size"]], theirs, rtol=1e-4)
    np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-3)


def test_bounds_agree_with_scipy(fit):
    bounds = ({"rate": 0.0, "size": np.zeros(2)}, {"rate": 1.1, "size": np.inf})
    with jax.enable_x64(True):
        ours = fit(decay, X, Y, START, bounds=bounds)
    theirs, covariance = scipy.optimize.curve_fit(
        scipy_decay, X, Y, np.ones(3), bounds=([0, 0, 0], [1.1, np.inf, np.inf]), xtol=1e-14, ftol=1e-14
    )
    assert float(ours.params["rate"]) == 1.1
    np.testing.assert_allclose(ours.params["size"], theirs[1:], rtol=1e-6)
    np.testing.assert_allclose(ours.covariance, covariance, rtol=1e-5)


def test_what_the_data_do_not_determine_has_an_infinite_error(fit):
    def line(x, params):
        return params[0] * x[0] + params[1] * x[1]

    def errors(rows, columns, absolute):
        found = fit(line, columns, Y[:rows], jnp.ones(2), sigma=0.1, absolute_sigma=absolute)
        assert found.converged
        return found.covariance

    assert bool(jnp.all(jnp.isinf(errors(3, (X[:3], X[:3]), True))))
    assert bool(jnp.all(jnp.isinf(errors(2, (X[:2], np.ones(2)), False))))
    assert bool(jnp.all(jnp.isfinite(errors(2, (X[:2], np.ones(2)), True))))
    assert bool(jnp.all(jnp.isinf(errors(1, (X[1:2], np.ones(1)), True))))


def test_where_it_started_does_not_end_it(fit):
    """From afar, where the gradient is 1e12, SciPy finds nothing: we must not claim to."""
    far = {"rate": -3.0, "size": np.array([1.0, 0.0])}
    with jax.enable_x64(True):
        lost = fit(decay, X, Y, far)
        assert not lost.converged
        near = fit(decay, X, Y, {"rate": 10.0, "size": np.array([100.0, -50.0])})
        assert near.converged
    np.testing.assert_allclose(near.params["rate"], 1.2473, atol=1e-3)


@pytest.mark.parametrize("size", [(1.0, 0.0), (10.0, 1.0), (-1.0, 1.0)])
@pytest.mark.parametrize("rate", [-2.0, -3.0, -5.0, -10.0])
def test_a_far_start_in_float32_does_not_claim_to_have_arrived(rate, size):
    """The sum of squares is flat there for float32: its gradient, in float64, is not zero."""
    far = {"rate": jnp.float32(rate), "size": jnp.array(size, jnp.float32)}
    found = optim.fit(decay, X, Y, far)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), found.params)
        residual = decay(X, params) - Y
        slope = jax.jacfwd(lambda p: decay(X, p))(params)["rate"]
        cosine = float(jnp.abs(residual @ slope) / jnp.linalg.norm(residual) / jnp.linalg.norm(slope))
    assert cosine < 2e-3 if found.converged else cosine > 1e-4
    assert found.converged or found.reason.startswith("no progress")


def test_a_tolerance_of_ones_own_is_taken_at_its_word():
    far = {"rate": jnp.float32(-3.0), "size": jnp.array([1.0, 0.0], jnp.float32)}
    assert optim.fit(decay, X, Y, far, tolerance=optim.Tolerance(value=1e-6, relative=True)).converged


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_of_half_precision_is_no_gradient(dtype):
    start = {"rate": jnp.asarray(1.0, dtype), "size": jnp.ones(2, dtype)}
    assert optim.fit(decay, X.astype(np.float32), Y.astype(np.float32), start).converged


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("unit", [1.0, 1e-10])
def test_an_exact_fit_with_a_zero_and_units_of_any_size(x64, unit, fit):
    with jax.enable_x64(x64):
        found = fit(lambda x, p: p[0] / unit * x + p[1], X, 2 * X, np.array([unit, 1.0]))
    assert found.converged
    assert int(found.result.evaluations) < 10
    np.testing.assert_allclose(
        np.asarray(found.params) / np.array([unit, 1.0]),
        [2.0, 0.0],
        rtol=1e-5,
        atol=1e-5 if not x64 else 1e-12,
    )


def test_errors_of_small_numbers_do_not_underflow(fit):
    small = fit(lambda x, p: p[0] * 1e10 * x + p[1], X, 1e-13 * Y, np.array([1e-22, 1e-12]))
    plain = fit(lambda x, p: p[0] * x + p[1], X, Y, np.array([1.0, 1.0]))
    ratio = plain.standard_errors[0] / small.standard_errors[0]
    np.testing.assert_allclose(ratio / 1e23, 1.0, rtol=1e-3)
    np.testing.assert_allclose(plain.result.value, jnp.sum(plain.residual**2) / 2, rtol=1e-5)


def test_many_data_sets_under_vmap_and_one_compile(quick):
    traces = []

    def line(x, params):
        traces.append(None)
        return params[0] * x + params[1]

    slopes = jnp.array([1.0, 2.0, 3.0])
    together = jax.vmap(lambda slope: optim.fit(line, jnp.asarray(X, float), slope * X + 0.5, jnp.zeros(2)))
    found = quick(together)(slopes)
    np.testing.assert_allclose(found.params[:, 0], slopes, rtol=1e-4)
    assert found.converged.tolist() == [True] * 3
    for turn in range(3):
        optim.fit(line, X, turn * X, jnp.zeros(2))
        traces = traces[:0] if turn == 0 else traces
    assert len(traces) <= 4  # two a call: the check of its shape and the residual, no program


def test_parameters_follow_the_data(quick):
    def slope(y):
        return optim.fit(lambda x, p: p * x, jnp.arange(1.0, 4.0), y, 1.0).params

    np.testing.assert_allclose(
        quick(jax.grad(slope))(jnp.array([1.0, 2.5, 2.0])), np.arange(1, 4) / 14, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ydata": [1.0, np.nan, 2.0]}, r"ydata must be finite, got nan at ydata\[1\]"),
        ({"ydata": []}, r"ydata must hold observations, got shape \(0,\)"),
        ({"ydata": [1j, 1, 1]}, r"ydata must be an array of real numbers, got complex64"),
        (
            {"sigma": [1.0, 2.0]},
            r"sigma must be a number, of the shape of ydata, \(3,\), .* got shape \(2,\)",
        ),
        ({"ydata": ["b", "b", "b"]}, r"ydata must be an array of real numbers: "),
        ({"sigma": "b"}, r"sigma must be an array of real numbers: "),
        ({"sigma": 1j}, r"sigma must be an array of real numbers, got complex64"),
        ({"sigma": [1.0, 0.0, 1.0]}, r"sigma must be positive and finite, got 0 at sigma\[1\]"),
        ({"sigma": -np.eye(3)}, r"sigma must be positive definite, got -1 at sigma\[0, 0\]"),
        ({"f": lambda x, p: p[0]}, r"f must return the shape of ydata, \(3,\), got \(\)"),
        ({"f": lambda x, p: (x, p)}, r"f must return the shape of ydata, \(3,\), got a tuple"),
        ({"f": 3}, r"f must be a function, got 3"),
        ({"p0": [1]}, r"p0/0 must be real floating point, got int32"),
        ({"p0": []}, r"p0 has no leaves"),
        ({"bounds": ([2.0], [1.0])}, r"must not cross or be NaN .*, got lower 2 and upper 1 at p0/0"),
        ({"bounds": ([2.0, 1.0], None)}, r"the lower bound \(first\) does not fit p0 \(second\): 1: only in"),
        ({"sigmas": 1.0}, r'unknown option "sigmas": did you mean "sigma"'),
    ],
)
def test_refusals(changes, message):
    given = {
        "f": lambda x, p: p[0] * x,
        "xdata": jnp.ones(3),
        "ydata": [1.0, 2.0, 3.0],
        "p0": [1.0],
        **changes,
    }
    with pytest.raises(ValueError, match=f"fit: .*{message}"):
        optim.fit(**given)


def test_an_unknown_method():
    with pytest.raises(ValueError, match=r'unknown method "levenberg": did you mean "levenberg_marquardt"'):
        optim.fit(lambda x, p: p * x, jnp.ones(3), jnp.ones(3), 1.0, method="levenberg")


def test_printed(fit):
    x = jnp.arange(5.0)
    found = fit(lambda x, p: p["a"] * x + p["b"], x, 2 * x + 0.1 * x**2, {"a": 1.0, "b": jnp.zeros(1)})
    a, b, reason, numbers = str(found).splitlines()
    # The last digits are rounding, which hangs on the machine.
    assert re.fullmatch(r"a: 2\.\d+ ± 0\.0\d+", a)
    assert re.fullmatch(r"b: \[-0\.\d+\] ± \[0\.1\d+\]", b)
    assert reason == found.reason
    assert re.fullmatch(r"value 0\.0\d+, gradient norm \S+, \d+ steps, \d+ evaluations", numbers)
    one = fit(lambda x, p: p * x, x, 2 * x, 1.0)
    assert re.match(r"parameter: \S+ ± ", str(one))
    assert str(jax.eval_shape(lambda: found)).startswith("Fit(")


def test_many_results_printed(quick):
    many = quick(jax.vmap(lambda x0: optim.minimize(lambda x: jnp.sum(x**2), x0, "bfgs")))(jnp.ones((3, 2)))
    assert str(many) == "3 x converged: the gradient norm is within its tolerance"
    shown = []
    jax.jit(lambda result: shown.append(str(result)))(many)
    assert shown[0].startswith("Result(x=")
