"""What the methods of `minimize` share: trees, bounds, batches, starts, one compile; and their refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim
from axonax.tensor import plugins

SMOOTH = ["bfgs", "lbfgs", "nonlinear_cg"]
SQUARES = ["gauss_newton", "levenberg_marquardt"]
START = {"a": jnp.full((2, 2), 3.0), "b": [jnp.asarray(-1.0), None]}


def residuals(x, center=1.0):
    return {"a": 2 * (x["a"] - center), "b": x["b"][0] - 3 * center + 0.1 * x["a"][0] ** 2}


def squares(x, center=1.0):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(residuals(x, center))) / 2


def objective_of(method):
    return residuals if method in SQUARES else squares


@pytest.mark.parametrize("method", [*SMOOTH, *SQUARES])
def test_trees_bounds_aux_and_history(method, minimize):
    function = objective_of(method)

    def objective(x):
        return function(x), jnp.sum(x["a"])

    bounds = ({"a": -1.0, "b": None}, {"a": jnp.array([0.5, 9.0]), "b": [2.0, None]})
    result = minimize(
        objective, START, method, bounds=bounds, has_aux=True, history=True, max_steps=100, tolerance=1e-4
    )
    assert result.converged, result.reason
    assert jax.tree.structure(result.x) == jax.tree.structure(START)
    np.testing.assert_allclose(result.x["a"], [[0.5, 1.0466], [0.5, 1.0]], atol=1e-3)
    np.testing.assert_array_equal(result.x["a"][:, 0], 0.5)
    assert float(result.x["b"][0]) == 2.0
    np.testing.assert_allclose(result.aux, jnp.sum(result.x["a"]))
    values = result.history["value"][: int(result.steps) + 1]
    assert bool(jnp.all(jnp.diff(values) <= 0))
    assert float(values[-1]) == float(result.value)


def test_an_optimizer_within_bounds_ends_on_them(minimize):
    result = minimize(
        lambda x: jnp.sum((x - jnp.array([2.0, 0.3])) ** 2),
        jnp.array([5.0, 5.0]),
        optim.adam(0.05),
        bounds=(0, 1),
    )
    assert result.converged
    np.testing.assert_allclose(result.x, [1.0, 0.3], atol=1e-4)


@pytest.mark.parametrize("method", ["bfgs", "levenberg_marquardt"])
def test_many_starts_agree_with_each_alone(method, quick):
    def solve(start):
        return optim.minimize(
            objective_of(method), {"a": start, "b": [start[0, 0], None]}, method, tolerance=1e-4
        )

    starts = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)
    together = quick(jax.vmap(solve))(starts)
    assert together.converged.tolist() == [True] * 3
    alone = quick(solve)(starts[1])
    assert int(alone.evaluations) == int(together.evaluations[1])
    np.testing.assert_allclose(together.x["a"][1], alone.x["a"], atol=1e-4)


@pytest.mark.parametrize("made", [lambda: optim.bfgs(memory=3), optim.levenberg_marquardt])
def test_one_compile_for_equal_methods(made):
    traces = []

    def objective(x, center):
        traces.append(None)
        return objective_of(made().name)(x, center)

    def solve(center, tolerance):
        return optim.minimize(objective, START, made(), args=(center,), tolerance=tolerance)

    counts = []
    for center in (1.0, 2.0, 3.0):
        jax.eval_shape(functools.partial(solve, tolerance=1e-3 * center), center)
        counts.append(len(traces))
    assert counts[0] == counts[1] == counts[2]


AVERAGES = {
    "ema": lambda: optim.chain(optim.sgd(0.1), optim.ema(0.99)),
    "lookahead": lambda: optim.lookahead(optim.sgd(0.1)),
    "schedule_free": lambda: optim.schedule_free(0.1),
    "swa": lambda: optim.chain(optim.sgd(0.1), optim.swa(100)),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_an_average_is_what_comes_back(name, minimize):
    def objective(x, key):
        return jnp.sum((x - 1.0 + jax.random.normal(key, (4,))) ** 2)

    seen = []
    result = minimize(
        objective,
        jnp.zeros(4),
        AVERAGES[name](),
        key=jax.random.key(0),
        max_steps=500,
        callback=seen.append,
        every=500,
    )
    last = seen[0].x
    assert bool(jnp.all(result.x != last))
    if name != "lookahead":
        assert float(jnp.linalg.norm(result.x - 1)) < 0.9 * float(jnp.linalg.norm(last - 1))
    wanted = objective(result.x, jax.random.fold_in(jax.random.key(0), 500))
    np.testing.assert_allclose(result.value, wanted, rtol=1e-5)


def test_what_has_converged_is_better_than_an_average(minimize):
    result = minimize(squares, START, AVERAGES["ema"](), tolerance=1e-3, bounds=(None, 2.0))
    assert result.converged
    assert float(result.gradient_norm) <= 1e-3
    limited = minimize(squares, START, AVERAGES["ema"](), max_steps=5, bounds=(None, 2.0))
    assert float(limited.x["a"][1, 1]) > float(result.x["a"][1, 1]) + 0.1
    assert float(limited.value) == pytest.approx(float(squares(limited.x)))


def test_an_optimizer_that_accumulates_has_not_arrived(minimize):
    for test in ("step", "value"):
        result = minimize(
            lambda x: jnp.sum((x - 1.0) ** 2),
            jnp.zeros(2),
            optim.accumulate(optim.sgd(0.1), 4),
            tolerance=optim.Tolerance(gradient=None, **{test: 1e-4}),
        )
        assert result.reason.startswith(f"converged: the {test}")
        np.testing.assert_allclose(result.x, 1.0, atol=2e-2)


@pytest.mark.parametrize("method", [*SMOOTH, *SQUARES, "adam"])
def test_float32_stays_where_the_objective_is_in_float64(method, minimize):
    with jax.enable_x64(True):
        data = np.array([0.25, 3.0])
        residual = lambda x: x - data  # noqa: E731
        half = lambda x: jnp.sum(residual(x) ** 2) / 2  # noqa: E731
        objective = residual if method in SQUARES else half
        start = {"x0": jnp.zeros(2, jnp.float32), "method": optim.adam(0.1) if method == "adam" else method}
        result = minimize(objective, **start, bounds=(None, 1.0), tolerance=1e-3)
        assert result.x.dtype == jnp.float32
        assert result.converged
    np.testing.assert_allclose(result.x, [0.25, 1.0], atol=1e-3)


NAMES = tuple(sorted(plugins.available("optimizer")))
USUAL = ("sam", "schedule_free", "soap", "nonlinear_cg", "gauss_newton")


@pytest.mark.parametrize(
    "method",
    [
        name if name in USUAL else pytest.param(name, marks=pytest.mark.slow)
        for name in (*NAMES, "bfgs", "nonlinear_cg", *SQUARES)
    ],
)
def test_every_method_by_name_under_vmap_beside_a_start_that_fails_and_its_derivative(method, quick):
    matrix, vector = np.array([[3.0, 1.0], [1.0, 2.0]], np.float32), np.array([1.0, -1.0], np.float32)
    root = np.linalg.cholesky(matrix)

    def objective(x, vector):
        if method in SQUARES:
            return root.T @ x - np.linalg.inv(root) @ vector
        return x @ matrix @ x / 2 - vector @ x

    def solve(x0, vector):
        return optim.minimize(objective, x0, method, args=(vector,), max_steps=20, tolerance=1e-4)

    starts = np.array([[0.5, 2.0], [np.nan, 0.0], [-1.0, 1.0]], np.float32)
    together, each = quick(jax.vmap(solve, (0, None)))(starts, vector), quick(solve)
    assert together.reason[1].startswith("not finite")
    for index in (0, 2):
        alone = each(starts[index], vector)
        np.testing.assert_allclose(together.x[index], alone.x, rtol=1e-3, atol=1e-4)
        assert together.reason[index] == alone.reason
    # A quadratic has one Hessian, so its derivative is exact before the minimum is.
    slope = quick(jax.jacrev(lambda vector: solve(starts[0], vector).x))(vector)
    np.testing.assert_allclose(slope, np.linalg.inv(matrix), rtol=1e-4, atol=1e-6)


def test_all_the_names():
    assert len(NAMES) == 27


def test_evaluations_are_counted(minimize):
    calls = []

    def objective(x):
        jax.debug.callback(calls.append, x)
        return jnp.sum((x - 1) ** 2 + (x - 1) ** 4)

    result = minimize(objective, jnp.zeros(2) + 5, "bfgs", tolerance=1e-4)
    assert len(calls) == int(result.evaluations)


@pytest.mark.parametrize("how", ["stacked", "function"])
@pytest.mark.parametrize("method", ["adam", "lbfgs", "levenberg_marquardt"])
def test_batches_are_taken_in_turn(method, how, minimize):
    data = jnp.arange(6.0).reshape(3, 2)
    batches = data if how == "stacked" else lambda step: data[step % 3]

    def objective(x, *, batch):
        distance = x - batch
        return distance if method == "levenberg_marquardt" else jnp.sum(distance**2) / 2

    result = minimize(objective, jnp.zeros(2), method, batches=batches, max_steps=4, history=True)
    assert int(result.steps) == 4
    at_zero = [0.5, 6.5, 20.5]
    assert float(result.history["value"][0]) == at_zero[0]
    if method != "adam":
        # Each step ends at its batch's mean, and the next batch is 2 away in both elements.
        np.testing.assert_allclose(result.history["value"], [0.5, 4, 4, 16, 4], rtol=1e-2)


def test_relative_tolerances(minimize):
    scaled = lambda x: 1e6 * jnp.sum((x - 3.0) ** 2) + 1e6  # noqa: E731
    only = optim.Tolerance(gradient=None, value=1e-3, relative=True)
    assert minimize(scaled, jnp.zeros(2), "bfgs", tolerance=only).reason.startswith("converged: the value")
    only = optim.Tolerance(gradient=None, step=1e-2, relative=True)
    assert minimize(scaled, jnp.zeros(2), "bfgs", tolerance=only).reason.startswith("converged: the step")
    only = optim.Tolerance(gradient=1e-3, relative=True)
    assert minimize(scaled, jnp.zeros(2), "bfgs", tolerance=only).converged


def test_a_wall_of_nan_is_backed_away_from(minimize):
    result = minimize(lambda x: jnp.sum(x - jnp.log(x)), jnp.full(3, 0.05), "lbfgs", tolerance=1e-3)
    assert result.converged
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


def test_what_float32_cannot_reach_ends_soon(minimize):
    def objective(x):
        return 1e4 + jnp.sum((x - 0.1) ** 2) + jnp.sum((x[1:] - x[:-1]) ** 4)

    for method in SMOOTH:
        result = minimize(objective, jnp.linspace(-2.0, 2.0, 8), method, tolerance=0.0)
        assert result.reason.startswith(("no progress", "converged"))
        assert int(result.evaluations) < 200
        np.testing.assert_allclose(result.x, 0.1, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "x0", "options", "message"),
    [
        (
            "levenberg_marquardt",
            jnp.ones(2),
            {},
            r"levenberg_marquardt minimizes a sum of squares: .* got a scalar",
        ),
        ("gauss_newton", jnp.ones(2), {}, r'got a scalar; for a scalar objective choose "lbfgs" or "bfgs"'),
        ("lbfgs", jnp.ones(2), {"bounds": 3.0}, r"bounds must be a pair \(lower, upper\), .*, got 3.0"),
        ("lbfgs", jnp.ones(2), {"bounds": [(0, 1), (0, 1)]}, r"a tree like x0, got \[\(0, 1\), \(0, 1\)\]"),
        ("lbfgs", jnp.ones(2), {"bounds": (1.0, [2.0, 0.0])}, r"got lower 1 and upper 0 at x0\[1\]"),
        ("lbfgs", jnp.ones(2), {"bounds": (None, jnp.nan)}, r"must not cross or be NaN"),
        ("lbfgs", jnp.ones(2), {"bounds": (None, jnp.ones(3))}, r"the upper bound \(first\) does not fit x0"),
        ("lbfgs", jnp.ones(2), {"bounds": (jnp.inf, None)}, r"lie beyond all numbers, got lower inf"),
        ("lbfgs", jnp.ones(2), {"bounds": ("a", None)}, r"the lower bound must be real numbers, got 'a'"),
        ("lbfgs", jnp.ones(2), {"bounds": (None, 1j)}, r"the upper bound must be real numbers, got 1j"),
        ("lbfgs", {"w": 1.0}, {"bounds": ({"v": 0.0}, None)}, r"the lower bound .* v: only in the first"),
        ("lbfgs", jnp.ones(2), {"batches": {}}, r"batches must be arrays stacked .* got an empty tree"),
        (
            "lbfgs",
            jnp.ones(2),
            {"batches": {"x": jnp.ones((3, 2)), "y": jnp.ones(2)}},
            r"of one length .* got x: \(3,\), y: \(2,\)",
        ),
        ("lbfg", jnp.ones(2), {}, r'unknown method "lbfg": did you mean "lbfgs"'),
    ],
)
def test_refusals(method, x0, options, message):
    with pytest.raises(ValueError, match=message):
        optim.minimize(lambda x: jnp.sum(jax.tree.leaves(x)[0] ** 2), x0, method, **options)


def test_residual_refusals():
    with pytest.raises(ValueError, match=r"residuals must be floating point, got int32"):
        optim.minimize(lambda x: jnp.arange(3), jnp.ones(2), "gauss_newton")
    with pytest.raises(ValueError, match=r"gauss_newton needs residuals, got an empty dict"):
        optim.minimize(lambda x: {}, jnp.ones(2), "gauss_newton")
    with pytest.raises(ValueError, match=r"finite at x0, got nan at the residuals/b\[1\]"):
        optim.minimize(lambda x: {"a": x, "b": jnp.sqrt(x)}, jnp.array([1.0, -1.0]), "gauss_newton")
    with pytest.raises(ValueError, match=r'got shape \(2,\); for residuals choose "levenberg_marquardt"'):
        optim.minimize(lambda x: x, jnp.ones(2), "bfgs")


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (optim.bfgs, {"memory": 0}, r"bfgs: memory must be a whole number of at least 1, got 0"),
        (optim.bfgs, {"memori": 5}, r'bfgs: unknown option "memori": did you mean "memory"'),
        (optim.nonlinear_cg, {"beta": "polak"}, r'unknown beta "polak"'),
        (
            optim.levenberg_marquardt,
            {"damping": -1.0},
            r"levenberg_marquardt: damping must be at least 0, got -1",
        ),
    ],
)
def test_refused_options(factory, options, message):
    with pytest.raises(ValueError, match=message):
        factory(**options)


def test_hestenes_stiefel(minimize):
    method = optim.nonlinear_cg(beta="hestenes_stiefel")
    result = minimize(squares, START, method, tolerance=1e-3)
    assert result.converged
    np.testing.assert_allclose(result.x["a"][1], 1.0, atol=1e-3)


@pytest.mark.parametrize("method", [optim.lbfgs, optim.lbfgs(), optim.lbfgs(1.0, line_search=True)])
def test_lbfgs_is_one_method_by_name_by_factory_and_by_value(method):
    expected = optim.minimize(squares, START, "lbfgs", tolerance=1e-3)
    got = optim.minimize(squares, START, method, tolerance=1e-3)
    assert int(got.evaluations) == int(expected.evaluations)
    jax.tree.map(np.testing.assert_array_equal, got.x, expected.x)


def test_lbfgs_takes_its_memory_along(minimize):
    few, same = (
        minimize(squares, START, each) for each in (optim.lbfgs(memory_size=2), optim.bfgs(memory=2))
    )
    assert int(few.evaluations) == int(same.evaluations)
    jax.tree.map(np.testing.assert_array_equal, few.x, same.x)


def test_lbfgs_with_options_of_its_own_is_the_transformation(minimize):
    result = minimize(squares, START, optim.lbfgs(0.1, line_search=False), max_steps=500, tolerance=1e-3)
    assert result.converged
    assert int(result.evaluations) == int(result.steps) + 1


def test_a_traced_rate_of_lbfgs(quick):
    def solve(rate):
        return optim.minimize(squares, START, optim.lbfgs(rate, line_search=False), max_steps=3).value

    values = quick(jax.vmap(solve))(np.array([0.01, 0.05], np.float32))
    assert values[1] < values[0]
