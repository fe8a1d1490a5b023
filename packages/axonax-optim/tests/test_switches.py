"""Every public transformation under the switches that look for NaN and infinity."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

sys.path.insert(0, str(Path(__file__).parent))

from transformations import CASES, PARAMS, make, step

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# The line search of Optax begins with errors that are infinite: they have not been measured.
INFINITE = {"lbfgs"}


def finite(state):
    """Whether all numbers of a state are."""
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return all(np.isfinite(leaf).all() for leaf in floats)


def test_a_compiled_step_of_each_is_clean():
    """All in one program; a NaN is looked for in the outputs of a program only."""
    made = {case: make(case) for case in CASES}

    @jax.jit
    def steps(params, states):
        taken = {case: step(each, params[case], states[case]) for case, each in made.items()}
        moved = {case: optim.apply_updates(params[case], taken[case][0]) for case in made}
        return moved, {case: state for case, (_, state) in taken.items()}

    with jax.debug_nans(True):
        params, states = dict.fromkeys(made, PARAMS), {case: each.init(PARAMS) for case, each in made.items()}
        run = steps.lower(params, states).compile(QUICK)
        for _ in range(2):
            params, states = run(params, states)
    assert finite(params)
    assert finite(states)


@pytest.mark.parametrize("case", CASES)
def test_every_operation_of_a_step_is_clean(case):
    """One by one, so that what no branch takes is looked at too."""
    with jax.debug_nans(True), jax.debug_infs(case not in INFINITE):
        transformation, params = make(case), PARAMS
        state = transformation.init(params)
        if case not in INFINITE:
            assert finite(state)
        for _ in range(2):
            updates, state = step(transformation, params, state)
            params = optim.apply_updates(params, updates)
        assert finite((state, optim.evaluation_params(state, params)))


METHODS = {"adam": optim.adam(0.1)} | {
    name: name for name in ("lbfgs", "nonlinear_cg", "levenberg_marquardt", "gauss_newton")
}


@pytest.mark.parametrize("method", METHODS)
def test_a_minimization_with_history_and_open_bounds_is_clean(method):
    def objective(x):
        return x - 1 if method in ("levenberg_marquardt", "gauss_newton") else jnp.sum((x - 1) ** 2)

    with jax.debug_nans(True):
        options = {"bounds": (0, None), "history": True, "max_steps": 50}
        result = optim.minimize(objective, jnp.ones(2) / 2, METHODS[method], **options)
        np.testing.assert_allclose(result.x, 1, atol=0.2)
        assert finite(result.history)
    assert result.history["value"][-1] == result.history["value"][int(result.steps)]


def test_schedules_are_clean():
    made = (
        *(optim.constant(0.1), optim.linear_decay(0.1), optim.polynomial_decay(0.1), optim.cosine_decay(0.1)),
        *(optim.exponential_decay(0.1), optim.warmup(0.1, 3), optim.inverse_sqrt(0.1, 2)),
        *(optim.cosine_restarts(0.1, 5), optim.one_cycle(0.1, 10), optim.piecewise_constant(0.1, {3: 0.5})),
        *(optim.wsd(0.1, 2, 3, 4), optim.join([0.1, 0.2], [3])),
    )
    with jax.debug_nans(True), jax.debug_infs(True):
        for schedule in made:
            assert all(np.isfinite(schedule(jnp.int32(number))) for number in (0, 1, 3, 10, 100))
