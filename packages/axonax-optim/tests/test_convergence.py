"""Every named optimizer, to the minimum of three problems in float64.

A quadratic whose curvatures lie between 1 and 100, Rosenbrock's valley in two dimensions, and logistic
regression, whose optimum is scikit-learn's. The parameters end within 1e-6 of the minimum, or within a bound
whose reason is given; a rate falls by so many decades where the method needs that.
"""

import functools
import tomllib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from axonax import optim

SETTINGS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
NAMES = SETTINGS["project"]["entry-points"]["axonax.optimizers"]
TOLERANCE = 1e-6
FEW = ("adam", "rmsprop", "schedule_free", "sgd")


class Problem(NamedTuple):
    """What to minimize, from where, and where the minimum is."""

    objective: object
    start: object
    minimum: object


def quadratic():
    curvatures = jnp.array([[1.0, 4.0, 20.0], [100.0, 2.0, 50.0]])
    minimum = jnp.array([[1.0, -2.0, 0.5], [-1.0, 1.5, -0.5]])
    return Problem(lambda x: jnp.sum(curvatures * (x - minimum) ** 2) / 2, jnp.full((2, 3), 0.1), minimum)


def rosenbrock():
    start, minimum = jnp.array([-1.2, 1.0]), jnp.ones(2)
    return Problem(lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, start, minimum)


def logistic():
    """With scikit-learn's penalty, 1/2 of the squared coefficients, the intercept left out."""
    draw, size = np.random.default_rng(1), 60
    x = draw.normal(size=(size, 3))
    y = (x @ [1.0, -2.0, 0.5] + 0.3 + draw.logistic(size=size) > 0).astype(int)
    fitted = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(x, y)

    def objective(params):
        logits = jnp.dot(x, params["kernel"])[:, 0] + params["bias"]
        losses = jnp.logaddexp(0, logits) - y * logits
        return jnp.mean(losses) + jnp.sum(params["kernel"] ** 2) / (2 * size)

    start = {"kernel": jnp.full((3, 1), 0.1), "bias": jnp.full(1, 0.1)}
    return Problem(objective, start, {"kernel": fitted.coef_.T, "bias": fitted.intercept_})


class Run(NamedTuple):
    """The first rate, the decades by which it falls, the steps, and how near it ends."""

    rate: float
    decades: float = 0.0
    steps: int = 4000
    bound: float = TOLERANCE
    reason: str = ""


LONG = 20_000
NOISE = "the variance of what is added to the gradient fades hardly faster than 1 / sqrt(step)"
OPTIONS = {
    "adafactor": {"min_dim_size_to_factor": 2},
    "lars": {"trust_coefficient": 1.0},
    "lion": {"weight_decay": 0.0},
    "muon": {"adam_b2": 0.99},
    "nadam": {"b2": 0.99},
    "nadamw": {"b2": 0.99, "weight_decay": 0.0},
    "radam": {"b2": 0.99},
    "rmsprop": {"momentum": 0.9},
    "sam": {"inner": functools.partial(optim.sgd, momentum=0.9)},
    "schedule_free": {"b1": 0.95, "b2": 0.99},
    "sgd": {"momentum": 0.9},
    "soap": {"weight_decay": 0.0},
    "sophia": {"b1": 0.9, "gamma": 1.0, "weight_decay": 0.0},
}
# On the quadratic, on Rosenbrock's valley, on logistic regression. The steps of fromage, lamb, lars, lion,
# muon and soap are as long near the minimum as far from it: their rate has to fall.
RUNS = {
    "adabelief": (Run(0.01), Run(0.03), Run(0.01)),
    "adadelta": (Run(1.0), Run(1.0, 3, LONG), Run(10.0)),
    "adafactor": (Run(0.1, 7), Run(0.02, 3, LONG), Run(0.1, 4)),
    "adagrad": (Run(3.0), Run(1.0, steps=LONG), Run(3.0)),
    "adam": (Run(0.03), Run(0.01, 2, LONG), Run(0.03)),
    "adamax": (Run(0.03), Run(0.1), Run(0.03)),
    "adamw": (Run(0.03), Run(0.01, 2, LONG), Run(0.03)),
    "adan": (Run(0.03, 4), Run(0.3, 7), Run(0.3, 4)),
    "fromage": (Run(0.03, 7), Run(0.1, 8, LONG), Run(0.3, 10)),
    "lamb": (Run(0.1, 10), Run(0.3, 10), Run(1.0, 10)),
    "lars": (Run(0.003, 10), Run(0.01, 10), Run(0.01, 10)),
    "lbfgs": (Run(1.0, steps=100), Run(1.0, steps=100), Run(1.0, steps=100)),
    "lion": (Run(0.03, 10), Run(0.03, 9), Run(0.03, 10)),
    "muon": (Run(0.03, 10), Run(0.003, 4, LONG), Run(0.1, 7)),
    "nadam": (Run(0.03), Run(0.003, 4, LONG), Run(0.01, 4)),
    "nadamw": (Run(0.03), Run(0.003, 4, LONG), Run(0.01, 4)),
    "noisy_sgd": (
        Run(0.003, bound=2e-3, reason=NOISE),
        Run(0.001, steps=LONG, bound=2e-3, reason=NOISE),
        Run(1.0, 4, bound=0.01, reason=NOISE),
    ),
    "novograd": (Run(0.01, 7), Run(0.01, 7), Run(0.001, 7)),
    "prodigy": (Run(1.0, 4), Run(0.1, 2, LONG), Run(0.3, 4)),
    "radam": (Run(0.01, 2), Run(0.003, 4, LONG), Run(0.01, 4)),
    "rmsprop": (Run(0.003, 4), Run(0.001, 4, LONG), Run(0.003, 4)),
    "sam": (Run(0.03, 4), Run(0.001, steps=LONG), Run(0.03, 4)),
    "schedule_free": (Run(3.0, 7), Run(0.1, 2, LONG), Run(3.0, 4)),
    "sgd": (Run(0.03), Run(0.003), Run(0.1)),
    "soap": (Run(0.03, 10), Run(0.3, 10), Run(0.03, 10)),
    "sophia": (Run(0.3), Run(3.0, steps=LONG), Run(0.03)),
    "yogi": (Run(0.1), Run(0.3), Run(0.03)),
}


def falling(start, run):
    """An exponential decay over the steps of a run."""
    if not run.decades:
        return start
    return optim.exponential_decay(start, 10.0**-run.decades, run.steps)


def build(name, run):
    options = dict(OPTIONS.get(name, {}))
    if name == "sam":  # at a fixed radius it ends beside the minimum
        options["rho"] = optim.exponential_decay(0.05, 1e-10, run.steps)
    return getattr(optim, name)(falling(run.rate, run), **options)


def solve(name, problem, run, quick):
    """The parameters to evaluate after the steps of a run."""
    optimizer = build(name, run)

    def step(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(problem.objective)(params)
        extra = {"value": value, "grad": grad, "value_fn": problem.objective}
        updates, following = optimizer.update(grad, state, params, **extra)
        following = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), following, state)
        return (optim.apply_updates(params, updates), following), None

    def all_steps(params):
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), optimizer.init(params))
        (params, state), _ = jax.lax.scan(step, (params, state), length=run.steps)
        return optim.evaluation_params(state, params)

    return jax.device_get(quick(all_steps)(problem.start))


@functools.cache
def problems():
    """Made within ``jax.enable_x64``."""
    return quadratic(), rosenbrock(), logistic()


def converges(name, which, quick):
    run = RUNS[name][which]
    with jax.enable_x64(True):
        problem = problems()[which]
        found = solve(name, problem, run, quick)
    assert jax.tree.structure(found) == jax.tree.structure(problem.minimum)
    for got, best in zip(jax.tree.leaves(found), jax.tree.leaves(problem.minimum), strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(np.asarray(got), np.asarray(best), rtol=0, atol=run.bound)


@pytest.mark.parametrize("name", NAMES)
def test_quadratic(name, quick):
    converges(name, 0, quick)


@pytest.mark.parametrize("name", NAMES)
def test_rosenbrock(name, quick):
    converges(name, 1, quick)


# Its programs take longest to compile.
@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_logistic_regression(name, quick):
    converges(name, 2, quick)


def test_every_optimizer_runs_and_says_why_where_it_ends_farther():
    assert set(RUNS) == set(NAMES)
    assert all((run.bound > TOLERANCE) == bool(run.reason) for runs in RUNS.values() for run in runs)
