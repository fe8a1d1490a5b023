"""`minimize` on the classics of Moré, Garbow and Hillstrom and others, beside SciPy.

Starts and minima: Moré, Garbow and Hillstrom, "Testing unconstrained optimization software" (1981), unless it
says otherwise; those of the bounded variants are SciPy's L-BFGS-B's, each a bound that cuts the minimum off.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from axonax import optim


def beale(x):
    return jnp.stack([y - x[0] * (1 - x[1] ** k) for k, y in ((1, 1.5), (2, 2.25), (3, 2.625))])


def biggs_exp6(x):
    t = 0.1 * np.arange(1, 14)
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4]) - y


def booth(x):
    return jnp.stack([x[0] + 2 * x[1] - 7, 2 * x[0] + x[1] - 5])


def box_3d(x):
    t = 0.1 * np.arange(1, 11)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def broyden_tridiagonal(x):
    before, after = jnp.concatenate([jnp.zeros(1), x[:-1]]), jnp.concatenate([x[1:], jnp.zeros(1)])
    return (3 - 2 * x) * x - before - 2 * after + 1


def brown_badly_scaled(x):
    return jnp.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def dixon_price(x):
    rest = jnp.sqrt(np.arange(2.0, len(x) + 1)) * (2 * x[1:] ** 2 - x[:-1])
    return jnp.concatenate([x[:1] - 1, rest])


def freudenstein_roth(x):
    return jnp.stack(
        [
            -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1],
            -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1],
        ]
    )


def gaussian(x):
    y = [0.0009, 0.0044, 0.0175, 0.054, 0.1295, 0.242, 0.3521]
    y = np.array([*y, 0.3989, *reversed(y)])
    t = (8 - np.arange(1, 16)) / 2
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - y


def helical_valley(x):
    turn = jnp.arctan(x[1] / x[0]) / (2 * jnp.pi) + jnp.where(x[0] < 0, 0.5, 0)
    return jnp.stack([10 * (x[2] - 10 * turn), 10 * (jnp.hypot(x[0], x[1]) - 1), x[2]])


def himmelblau(x):
    return jnp.stack([x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7])


def kowalik_osborne(x):
    y = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
    u = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    return np.array(y) - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def powell_singular(x):
    a, b, c, d = x.reshape(-1, 4).T
    parts = [a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2]
    return jnp.concatenate(parts)


def rosenbrock(x):
    return jnp.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def styblinski_tang(x):
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def trigonometric(x):
    n = len(x)
    return n - jnp.sum(jnp.cos(x)) + np.arange(1.0, n + 1) * (1 - jnp.cos(x)) - jnp.sin(x)


def variably_dimensioned(x):
    total = jnp.sum(np.arange(1.0, len(x) + 1) * (x - 1))
    return jnp.concatenate([x - 1, jnp.stack([total, total**2])])


def wood(x):
    a, b, c, d = x
    parts = [10 * (b - a**2), 1 - a, np.sqrt(90) * (d - c**2), 1 - c, np.sqrt(10) * (b + d - 2)]
    return jnp.stack([*parts, (b - d) / np.sqrt(10)])


class Classic(NamedTuple):
    """Residuals (or a scalar), where to start, the values of the minima, bounds."""

    function: object
    x0: list
    minima: list
    bounds: tuple | None = None

    def objective(self, x):
        output = self.function(x)
        return output if output.ndim == 0 else jnp.sum(output**2)


CLASSICS = {
    "beale": Classic(beale, [1.0, 1.0], [0]),
    "biggs_exp6": Classic(biggs_exp6, [1.0, 2, 1, 1, 1, 1], [0, 5.65565e-3, 0.30636677262479]),
    "booth": Classic(booth, [0.0, 0.0], [0]),
    "box_3d": Classic(box_3d, [0.0, 10, 20], [0]),
    "brown_badly_scaled": Classic(brown_badly_scaled, [1.0, 1.0], [0]),
    "broyden_tridiagonal": Classic(broyden_tridiagonal, [-1.0] * 20, [0]),
    "dixon_price": Classic(dixon_price, [1.0] * 5, [0]),
    "extended_powell": Classic(powell_singular, [3.0, -1, 0, 1] * 5, [0]),
    "freudenstein_roth": Classic(freudenstein_roth, [0.5, -2.0], [0, 48.98425]),
    "gaussian": Classic(gaussian, [0.4, 1, 0], [1.12793e-8]),
    "helical_valley": Classic(helical_valley, [-1.0, 0, 0], [0]),
    "himmelblau": Classic(himmelblau, [1.0, 1.0], [0]),
    "kowalik_osborne": Classic(kowalik_osborne, [0.25, 0.39, 0.415, 0.39], [3.07505e-4]),
    "powell_singular": Classic(powell_singular, [3.0, -1, 0, 1], [0]),
    "rosenbrock_2": Classic(rosenbrock, [-1.2, 1.0], [0]),
    "rosenbrock_10": Classic(rosenbrock, [-1.2, 1.0] * 5, [0, 3.98658]),
    "styblinski_tang": Classic(styblinski_tang, [-1.0] * 4, [-4 * 39.16616570377142]),
    "trigonometric": Classic(trigonometric, [0.1] * 10, [0, 2.79506e-5]),
    "variably_dimensioned": Classic(variably_dimensioned, [1 - k / 10 for k in range(1, 11)], [0]),
    "wood": Classic(wood, [-3.0, -1, -3, -1], [0]),
}
BOUNDED = {
    "beale": Classic(beale, [1.0, 1.0], None, (0.0, 2.5)),
    "box_3d": Classic(box_3d, [0.0, 10, 20], None, (0.5, [9.0, 9.0, 15.0])),
    "gaussian": Classic(gaussian, [0.4, 1, 0], None, ([0.398, 0.0, 0.1], None)),
    "helical_valley": Classic(helical_valley, [-1.0, 0, 0], None, (None, [0.8, 1.0, 1.0])),
    "himmelblau": Classic(himmelblau, [1.0, 1.0], None, (None, [2.5, 4.0])),
    "powell_singular": Classic(powell_singular, [3.0, -1, 0, 1], None, (0.1, None)),
    "rosenbrock_2": Classic(rosenbrock, [-1.2, 1.0], None, (None, [0.5, 2.0])),
    "rosenbrock_10": Classic(rosenbrock, [-1.2, 1.0] * 5, None, (-0.5, 0.8)),
    "styblinski_tang": Classic(styblinski_tang, [-1.0] * 4, None, (-2.5, [1.0, 2.0, 3.0, 4.0])),
    "variably_dimensioned": Classic(variably_dimensioned, [0.5] * 10, None, (None, [0.9] * 5 + [2.0] * 5)),
    "wood": Classic(wood, [-3.0, -1, -3, -1], None, (-10.0, [0.5, 10.0, 10.0, 10.0])),
}


SCIPY = {"bfgs": "BFGS", "lbfgs": "L-BFGS-B", "nonlinear_cg": "CG"}
SINGLE = ("beale", "dixon_price", "himmelblau", "rosenbrock_10", "styblinski_tang", "trigonometric", "wood")
WIDTH = 20
NAMES = tuple(CLASSICS)
SQUARES = ("gauss_newton", "levenberg_marquardt")


def pad(x, value=0.0):
    xp = jnp if isinstance(x, jax.Array) else np
    return xp.pad(x, (0, WIDTH - len(x)), constant_values=value)


# What pads x has no part in a function: all of them are one program, which compiles once for a method.
# Each is differentiated by itself: a derivative of the switch would carry what all of them remember.
def together(functions, derivative):
    def cut(name):
        return lambda x: functions[name](x[: len(CLASSICS[name].x0)])

    def switch(wanted):
        return lambda x, index: jax.lax.switch(index, [wanted(cut(name)) for name in NAMES], x)

    function = jax.custom_jvp(switch(lambda each: each), nondiff_argnums=(1,))
    both = switch(lambda each: lambda x: (each(x), derivative(each)(x)))

    @function.defjvp
    def push(index, primals, tangents):
        output, slope = both(*primals, index)
        return output, slope @ tangents[0]

    return function, jax.jit(both)


SCALARS = {name: classic.objective for name, classic in CLASSICS.items()}
VECTORS = {name: lambda x, f=each.function: pad(jnp.atleast_1d(f(x))) for name, each in CLASSICS.items()}
objective, value_and_gradient = together(SCALARS, jax.grad)
residuals, residuals_and_jacobian = together(VECTORS, jax.jacfwd)


def limits(classic):
    """SciPy's bounds and a start within them."""
    x0 = np.array(classic.x0)
    if classic.bounds is None:
        return None, x0
    sides = zip(classic.bounds, (-np.inf, np.inf), strict=True)
    lower, upper = (np.broadcast_to(open if side is None else side, x0.shape) for side, open in sides)
    return scipy.optimize.Bounds(lower, upper), np.clip(x0, lower, upper)


@pytest.fixture
def ours(quick):
    """Our result on a classic, its padding cut off; one program a method."""

    @functools.partial(quick, static_argnums=(0, 1))
    def solve(method, tolerance, x0, index, bounds):
        function = residuals if method in SQUARES else objective
        return optim.minimize(function, x0, method, args=(index,), bounds=bounds, tolerance=tolerance)

    def run(name, method, table=CLASSICS, dtype=np.float64, tolerance=1e-5):
        classic = table[name]
        bounds, _ = limits(classic)
        if bounds is not None:
            bounds = pad(bounds.lb, -np.inf), pad(bounds.ub, np.inf)
        result = solve(method, tolerance, pad(np.array(classic.x0, dtype)), NAMES.index(name), bounds)
        value = result.value * (2 if method in SQUARES else 1)
        return dataclasses.replace(result, x=np.asarray(result.x)[: len(classic.x0)], value=float(value))

    return run


def scipy_minimize(name, method, table=CLASSICS):
    def both(x):
        value, gradient = value_and_gradient(pad(x), NAMES.index(name))
        return float(value), np.asarray(gradient, np.float64)[: len(x)]

    bounds, x0 = limits(table[name])
    # It bounds the largest element of the gradient, we bound its norm.
    options = {
        "gtol": 1e-5 / np.sqrt(len(x0)),
        "maxiter": 5000,
        **({"ftol": 0.0} if method == "L-BFGS-B" else {}),
    }
    with np.errstate(over="ignore"):  # its line search casts to float32
        return scipy.optimize.minimize(both, x0, jac=True, method=method, bounds=bounds, options=options)


def scipy_squares(name, method, table=CLASSICS):
    """SciPy's result for a sum of squares: its ``nfev`` counts the residuals."""
    bounds, x0 = limits(table[name])

    def part(number):
        def evaluate(x):
            both = residuals_and_jacobian(pad(x), NAMES.index(name))
            return np.asarray(both[number])[..., : len(x)] if number else np.asarray(both[0])

        return evaluate

    within = {} if bounds is None else {"bounds": bounds}
    return scipy.optimize.least_squares(
        part(0), x0, part(1), method=method, gtol=1e-5, ftol=None, xtol=None, **within
    )


def scipys(name, method, table=CLASSICS):
    """The result of the SciPy method that is nearest to ours."""
    if method in SQUARES:
        return scipy_squares(name, "trf", table)
    return scipy_minimize(name, SCIPY[method] if table is CLASSICS else "L-BFGS-B", table)


def is_a_minimum(name, result):
    """Whether the value is that of a known minimum, to 1e-6."""
    value = value_and_gradient(pad(result.x), NAMES.index(name))[0]
    assert result.value == pytest.approx(float(value), rel=1e-6, abs=1e-12)
    return min(abs(result.value - each) / max(1, abs(each)) for each in CLASSICS[name].minima) < 1e-6


def by_night(*case):
    """Every program takes some seconds to compile: what a session leaves out, the nightly one runs."""
    return pytest.param(*case, marks=pytest.mark.slow)


def share(counts):
    """Our evaluations by SciPy's, over all problems."""
    return sum(ours for ours, _ in counts.values()) / sum(theirs for _, theirs in counts.values())


@pytest.mark.parametrize(
    ("method", "together", "each"),
    [
        ("lbfgs", 1.05, 1.6),
        ("levenberg_marquardt", 1.0, 1.9),
        by_night("bfgs", 1.0, 2.3),
        by_night("nonlinear_cg", 1.2, 2.6),
        by_night("gauss_newton", 2.0, 6.0),
    ],
)
def test_every_classic_beside_scipy(method, together, each, ours):
    """Each ends in a known minimum; all together take about as many evaluations as SciPy takes."""
    counts = {}
    with jax.enable_x64(True):
        for name in CLASSICS:
            if method in SQUARES and name == "styblinski_tang":
                continue
            found = ours(name, method)
            assert found.converged, name
            assert is_a_minimum(name, found), (name, found.value)
            counts[name] = int(found.evaluations), scipys(name, method).nfev
    assert share(counts) < together, counts
    assert max(ours / theirs for ours, theirs in counts.values()) < each, counts


@pytest.mark.parametrize(
    ("method", "together"),
    [
        ("lbfgs", 1.2),
        by_night("levenberg_marquardt", 1.2),
        by_night("bfgs", 1.1),
        by_night("nonlinear_cg", 1.9),
    ],
)
def test_bounded_classics_beside_scipy(method, together, ours):
    """Each ends where SciPy ends; it has L-BFGS-B for all but sums of squares."""
    counts = {}
    with jax.enable_x64(True):
        for name, classic in BOUNDED.items():
            if method in SQUARES and name == "styblinski_tang":
                continue
            found = ours(name, method, BOUNDED)
            theirs = scipy_minimize(name, "L-BFGS-B", BOUNDED)
            assert found.converged, name
            bounds, _ = limits(classic)
            assert np.all((bounds.lb <= found.x) & (found.x <= bounds.ub)), name
            assert found.value == pytest.approx(theirs.fun, rel=1e-6, abs=1e-9), name
            np.testing.assert_allclose(found.x, theirs.x, atol=1e-3, err_msg=name)
            counts[name] = int(found.evaluations), scipys(name, method, BOUNDED).nfev
    assert share(counts) < together, counts


@pytest.mark.parametrize("method", ["lbfgs", by_night("bfgs"), by_night("nonlinear_cg")])
def test_float32_does_not_stall_where_scipy_does_not(method, ours):
    """SciPy is given the same float32 function; we end as low, and do not fail where it ends well."""
    for name in SINGLE:
        found = ours(name, method, dtype=np.float32, tolerance=1e-4)
        theirs = scipy_minimize(name, SCIPY[method])
        assert found.converged or not theirs.success, (name, found.reason)
        low = min(abs(found.value - each) for each in CLASSICS[name].minima) < 1e-5 * max(1, abs(theirs.fun))
        assert low or found.value <= theirs.fun + 1e-6, (name, found.value)
