"""Parameters that are spread over devices keep their sharding in the state."""

import os
import subprocess
import sys

PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from axonax import optim

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
spread = NamedSharding(mesh, P("data"))
plain = {"kernel": jnp.arange(8.0).reshape(4, 2) + 1, "bias": jnp.ones(4)}
params = jax.device_put(plain, spread)
CHAIN = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(0.1, weight_decay=0.1), optim.ema(0.9))
MADE = {
    "groups": optim.groups({"bias": optim.accumulate(optim.sgd(0.1, momentum=0.9), 2)}, default=CHAIN),
    "averages": optim.lookahead(optim.chain(optim.skip_nonfinite(optim.yogi(0.1)), optim.swa()), every=2),
    "adafactor": optim.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
    "lbfgs": optim.lbfgs(0.1, memory_size=3, line_search=False),
    "soap": optim.soap(0.1, frequency=2),
}

def step(optimizer):
    def move(params, state):
        updates, state = optimizer.update(params, state, params)
        return optim.apply_updates(params, updates), state
    return jax.jit(move)

EXPECTED = {(4, 2): spread, (4,): spread, (3, 4, 2): NamedSharding(mesh, P(None, "data"))}

def check(name, tree):
    # Adafactor's means over rows and columns are next to nothing, and spread by the first step.
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        where, expected = jax.tree_util.keystr(path), EXPECTED.get(leaf.shape, leaf.sharding)
        if "v_col" not in where and not leaf.sharding.is_equivalent_to(expected, leaf.ndim):
            sys.exit(f"{name}: {where} is {leaf.sharding}")

for name, optimizer in MADE.items():
    state = optimizer.init(params)
    check(f"{name} at first", state)
    mine, reference, other, moved = params, plain, optimizer.init(plain), step(optimizer)
    for _ in range(3):
        mine, state = moved(mine, state)
        reference, other = moved(reference, other)
    check(name, (mine, state, optim.evaluation_params(state, mine)))
    # Gradients of less than full rank leave soap's bases in part to rounding.
    atol = 0.05 if name == "soap" else 1e-5
    for one, two in zip(jax.tree.leaves(mine), jax.tree.leaves(reference), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=atol, err_msg=name)
"""


def test_the_state_is_sharded_like_the_parameters():
    # Soap's rounding is that of optimized programs.
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
