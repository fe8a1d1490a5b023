"""Derivatives of minima by the arguments: closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
METHODS = {
    "adam": optim.adam(optim.exponential_decay(0.3, 0.9, 20)),
    "bfgs": "bfgs",
    "lbfgs": "lbfgs",
    "nonlinear_cg": "nonlinear_cg",
    "sgd": optim.sgd(0.3),
}


def quadratic(x, matrix, vector):
    return x @ matrix @ x / 2 - vector @ x


def ridge(params, penalty, inputs, targets):
    fitted = inputs @ params["kernel"] + params["bias"]
    return jnp.sum((fitted - targets) ** 2) + jnp.exp(penalty) * jnp.sum(params["kernel"] ** 2)


def data():
    draw = np.random.default_rng(0)
    return draw.normal(size=(12, 3)), draw.normal(size=12)


@pytest.mark.parametrize("method", METHODS)
def test_the_minimum_of_a_quadratic(method, quick):
    vector = jnp.array([1.0, -1.0, 0.5])

    def minimum(vector):
        options = {"tolerance": 1e-9, "max_steps": 3000}
        return optim.minimize(quadratic, jnp.zeros(3), METHODS[method], args=(A, vector), **options).x

    with jax.enable_x64(True):
        slope = quick(jax.jacrev(minimum))(np.asarray(vector, float))
    np.testing.assert_allclose(slope, np.linalg.inv(A), atol=1e-6)


def test_forward_and_reverse_and_twice(quick):
    with jax.enable_x64(True):

        def minimum(scale):
            return optim.minimize(
                lambda x, s: (x - jnp.sin(s)) ** 4 + s * (x - jnp.sin(s)) ** 2, 0.1, "bfgs", args=(scale,)
            ).x

        for derivative in (jax.grad, jax.jacfwd):
            np.testing.assert_allclose(quick(derivative(minimum))(0.7), np.cos(0.7), rtol=1e-5)
        np.testing.assert_allclose(quick(jax.grad(jax.grad(minimum)))(0.7), -np.sin(0.7), rtol=1e-3)


def test_a_hyperparameter_against_finite_differences(quick):
    inputs, targets = data()
    with jax.enable_x64(True):
        start = {"kernel": jnp.zeros(3), "bias": jnp.zeros(())}

        def held_out(penalty):
            found = optim.minimize(ridge, start, "lbfgs", args=(penalty, inputs, targets), tolerance=1e-10)
            return jnp.sum(
                (inputs[::2] @ found.x["kernel"] + found.x["bias"] - targets[::2]) ** 2
            ), found.value

        exact, step, value = quick(jax.jacrev(held_out))(0.5), 1e-5, quick(held_out)
        near = [np.asarray(value(0.5 + sign * step)) for sign in (1, -1)]
        np.testing.assert_allclose(exact, (near[0] - near[1]) / (2 * step), rtol=1e-6)


def test_least_squares_and_aux(quick):
    inputs, targets = data()

    def residuals(x, weight):
        return weight * (inputs @ x - targets), weight * jnp.sum(x)

    with jax.enable_x64(True):

        def outcome(weight):
            found = optim.minimize(
                residuals, jnp.zeros(3), "levenberg_marquardt", args=(weight,), has_aux=True
            )
            return found.value, found.aux

        best = np.linalg.lstsq(inputs, targets)[0]
        value, aux = quick(jax.jacrev(outcome))(2.0)
        np.testing.assert_allclose(value, 2 * np.sum((inputs @ best - targets) ** 2), rtol=1e-8)
        np.testing.assert_allclose(aux, np.sum(best), rtol=1e-8)


def test_within_bounds_what_is_held_moves_with_its_bound(quick):
    def minimum(vector, top):
        bounds = (None, jnp.array([np.inf, 0.0, np.inf]) + top * np.array([0.0, 1.0, 0.0]))
        return optim.minimize(
            quadratic, jnp.zeros(3), "bfgs", args=(A, vector), bounds=bounds, tolerance=1e-9
        ).x

    with jax.enable_x64(True):
        vector = np.array([1.0, 2.0, 0.5])
        by_vector, by_top = quick(jax.jacrev(minimum, argnums=(0, 1)))(vector, 0.2)
        others = np.array([0, 2])
        inverse = np.linalg.inv(A[np.ix_(others, others)])
        wanted = np.zeros((3, 3))
        wanted[np.ix_(others, others)] = inverse
        np.testing.assert_allclose(by_vector, wanted, atol=1e-9)
        np.testing.assert_allclose(by_top[others], -inverse @ A[others, 1], atol=1e-9)
        np.testing.assert_allclose(by_top[1], 1.0)


def test_many_at_once_under_jit(quick):
    def minimum(vector):
        return optim.minimize(
            quadratic, jnp.zeros(3), "bfgs", args=(jnp.asarray(A, jnp.float32), vector)
        ).x.sum()

    vectors = jax.random.normal(jax.random.key(0), (4, 3))
    slopes = quick(jax.vmap(jax.grad(minimum)))(vectors)
    np.testing.assert_allclose(slopes, np.tile(np.linalg.inv(A).sum(0), (4, 1)), rtol=1e-4)


def test_large_problems_are_solved_without_a_matrix(quick):
    weight = jnp.linspace(1.0, 3.0, 600)

    def minimum(center):
        objective = lambda x, center: jnp.sum(weight * (x - center) ** 2)  # noqa: E731
        return optim.minimize(objective, jnp.zeros(600), "lbfgs", args=(center,), tolerance=1e-3).x.sum()

    np.testing.assert_allclose(quick(jax.grad(minimum))(jnp.ones(600)), 1.0, rtol=1e-4)


def test_whole_numbers_among_the_arguments(quick):
    def minimum(scale):
        objective = lambda x, count, scale: (x - count * scale) ** 2  # noqa: E731
        return optim.minimize(objective, 0.0, "bfgs", args=(jnp.int32(3), scale)).x

    assert float(quick(jax.grad(minimum))(2.0)) == pytest.approx(3.0)


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd])
def test_what_is_closed_over_is_refused(derivative):
    def closed_over(center):
        return optim.minimize(lambda x: (x - center) ** 2, 0.0, "bfgs").x

    def rate(rate):
        return optim.minimize(lambda x: x**2, 1.0, optim.sgd(rate), max_steps=3).value

    for function in (closed_over, rate):
        with pytest.raises(ValueError, match=r"minimize: a minimum has a derivative by what stands in args="):
            derivative(function)(0.1)


def test_a_noisy_minimum_has_no_derivative():
    def minimum(scale):
        objective = lambda x, scale, key: (x - scale) ** 2  # noqa: E731
        return optim.minimize(objective, 0.0, "sgd", args=(scale,), key=jax.random.key(0)).x

    with pytest.raises(ValueError, match=r"an objective with key= or batches= has no derivative"):
        jax.grad(minimum)(1.0)
