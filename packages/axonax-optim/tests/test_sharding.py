"""Parameters that are spread over devices keep their sharding in the state."""

import subprocess
import sys

PROGRAM = """
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
whole = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(0.1, weight_decay=0.1), optim.ema(0.9))
optimizer = optim.groups({"bias": optim.accumulate(optim.sgd(0.1, momentum=0.9), 2)}, default=whole)

@jax.jit
def step(params, state):
    updates, state = optimizer.update(params, state, params)
    return optim.apply_updates(params, updates), state

def same(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.shape[:1] == (4,)]
    return all(leaf.sharding.is_equivalent_to(spread, leaf.ndim) for leaf in leaves)

state = optimizer.init(params)
assert same(state)
reference, other = plain, optimizer.init(plain)
for _ in range(3):
    params, state = step(params, state)
    reference, other = step(reference, other)
    assert same((params, state))
for one, two in zip(jax.tree.leaves(params), jax.tree.leaves(reference), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-6)
assert same(optim.evaluation_params(state, params))
"""


def test_the_state_is_sharded_like_the_parameters():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
