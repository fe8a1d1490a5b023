"""Every named optimizer: one compile whatever is set, many learning rates at once, sharded states."""

import functools
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

SETTINGS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
NAMES = sorted(SETTINGS["project"]["entry-points"]["axonax.optimizers"])
PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.5, -1.0])}
RATES = np.array([0.1, 0.2, 0.05], np.float32)


def loss(params):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) / 2


def start(optimizer, rate, params=PARAMS):
    """The parameters, and the state with another rate."""
    return params, optim.with_hyperparams(optimizer.init(params), learning_rate=rate)


def stepper(optimizer):
    def step(params, state):
        value, grad = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grad, state, params, value=value, value_fn=loss)
        return optim.apply_updates(params, updates), state

    return step


def three_steps(step, carry):
    for _ in range(3):
        carry = step(*carry)
    return carry


@pytest.mark.parametrize("name", NAMES)
def test_one_compile_for_many_rates_at_once(name, quick):
    """Each of the mapped steps depends on its own rate alone, and what is set compiles nothing."""
    optimizer = getattr(optim, name)()
    begin = quick(jax.vmap(lambda rate: start(optimizer, rate)))
    step = quick(jax.vmap(stepper(optimizer)))
    params, state = three_steps(step, begin(RATES))
    mirrored, _ = three_steps(step, begin(RATES[::-1]))
    again, _ = step(params, optim.with_hyperparams(state, learning_rate=None))
    assert step._cache_size() == 1
    for one, other, later in zip(*map(jax.tree.leaves, (params, mirrored, again)), strict=True):
        assert np.isfinite(one).all()
        assert np.isfinite(later).all()
        np.testing.assert_allclose(one, other[::-1], rtol=1e-5, atol=1e-6)
    assert not np.array_equal(params["kernel"][0], params["kernel"][1])


@pytest.mark.parametrize("name", NAMES)
def test_no_array_of_parameters_and_state_is_held_twice(name):
    """Or they could not be donated to a step."""
    leaves = jax.tree.leaves((PARAMS, getattr(optim, name)().init(PARAMS)))
    assert len({id(leaf) for leaf in leaves}) == len(leaves)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_mapped_steps_are_those_of_each_rate_alone(name, quick):
    """In float64: some divide small differences of gradients by roots of their squares."""
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, PARAMS)
        optimizer = getattr(optim, name)()
        begin = functools.partial(start, optimizer, params=params)
        together, _ = three_steps(quick(jax.vmap(stepper(optimizer))), quick(jax.vmap(begin))(RATES))
        begin, step = quick(begin), quick(stepper(optimizer))
        for index, rate in enumerate(RATES):
            alone, _ = three_steps(step, begin(rate))
            for one, other in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
                np.testing.assert_allclose(one[index], other, rtol=1e-6)


PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from axonax import optim

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
spread = NamedSharding(mesh, P("data"))
params = jax.device_put({"kernel": jnp.arange(16.0).reshape(8, 2) + 1, "bias": jnp.ones(8)}, spread)
shapes = {leaf.shape for leaf in jax.tree.leaves(params)}

def loss(params):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) / 2

def check(name, when, tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if leaf.shape in shapes and not leaf.sharding.is_equivalent_to(spread, leaf.ndim):
            sys.exit(f"{name} {when}: {jax.tree_util.keystr(path)} is {leaf.sharding}")

steps, names = int(sys.argv[1]), sys.argv[2:]
for name in names:
    optimizer = getattr(optim, name)()
    state = optimizer.init(params)
    check(name, "at first", state)
    if steps:
        @jax.jit
        def step(params, state):
            value, grad = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(grad, state, params, value=value, value_fn=loss)
            return optim.apply_updates(params, updates), state
        check(name, "after a step", step(params, state))
"""


def spreads(steps):
    command = [sys.executable, "-c", PROGRAM, str(steps), *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_state_begins_sharded_like_the_parameters():
    spreads(0)


@pytest.mark.slow
def test_every_state_stays_sharded_like_the_parameters():
    spreads(1)
