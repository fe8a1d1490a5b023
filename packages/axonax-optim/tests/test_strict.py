"""Under ``jax_numpy_dtype_promotion="strict"``: what widens does so on purpose."""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

SETTINGS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
NAMES = sorted(SETTINGS["project"]["entry-points"]["axonax.optimizers"])
BFLOAT16 = {"kernel": jnp.ones((2, 3), jnp.bfloat16), "bias": jnp.ones(3, jnp.bfloat16)}
FLOAT32 = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), BFLOAT16)
TREES = {"bfloat16": BFLOAT16, "float32": FLOAT32, "mixed": BFLOAT16 | {"bias": FLOAT32["bias"]}}
# Both types at once; each alone by night.
TREE = pytest.mark.parametrize(
    "tree", ["mixed", *(pytest.param(each, marks=pytest.mark.slow) for each in ("bfloat16", "float32"))]
)


def loss(params):
    return sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(params)) / 2


def stepped(optimizer, params):
    state = optimizer.init(params)
    for _ in range(2):
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params, value=value, value_fn=loss)
        params = optim.apply_updates(params, updates)
    return params, optim.evaluation_params(state, params)


@TREE
@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_steps_as_under_standard_promotion(name, tree):
    optimizer, params = getattr(optim, name)(), TREES[tree]
    expected = jax.eval_shape(lambda params: stepped(optimizer, params), params)
    with jax.numpy_dtype_promotion("strict"):
        got = jax.eval_shape(lambda params: stepped(optimizer, params), params)
    assert got == expected


def residual(params):
    return jnp.concatenate([leaf.astype(jnp.float32).ravel() for leaf in jax.tree.leaves(params)]) - 3


@TREE
@pytest.mark.parametrize("method", [*NAMES, "bfgs", "nonlinear_cg", "gauss_newton", "levenberg_marquardt"])
def test_a_method_minimizes_as_under_standard_promotion(method, tree):
    objective = residual if method in ("gauss_newton", "levenberg_marquardt") else loss
    expected = jax.eval_shape(lambda x0: optim.minimize(objective, x0, method), TREES[tree])
    with jax.numpy_dtype_promotion("strict"):
        got = jax.eval_shape(lambda x0: optim.minimize(objective, x0, method), TREES[tree])
    assert jax.tree.leaves(got) == jax.tree.leaves(expected)


@pytest.mark.parametrize("dtype", ["int32", "bfloat16", "float32"])
def test_a_fit_takes_data_of_any_dtype(dtype, quick):
    def fit(x, y):
        return optim.fit(lambda x, p: p["slope"] * x, x, y, {"slope": 2.0}, sigma=2, bounds=(0, None))

    x = np.arange(5)
    with jax.numpy_dtype_promotion("strict"):
        found = quick(fit)(x.astype(np.float32), x.astype(dtype))
    assert found.params["slope"] == 1
