"""Run by ``test_meshes.py`` in a process of its own: every transformation over two devices.

With explicit axes, whose sharding is part of the types, each step is traced; those that choose between
branches or multiply matrices run, with explicit and with automatic axes, and equal one device.
"""

import contextlib
import sys

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402
from transformations import CASES, PARAMS, make, step  # noqa: E402

from axonax import optim  # noqa: E402
from axonax.tensor import trees  # noqa: E402

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
MESHES = {
    kind: jax.make_mesh((2,), ("data",), axis_types=(kind,)) for kind in (AxisType.Explicit, AxisType.Auto)
}
RUN = ("accumulate", "lbfgs", "sam alternating", "skip_nonfinite", "soap")
DATA = jnp.array([[1.0, -1.0], [2.0, 0.5]])


def spread(kind, tree):
    """``tree`` with the first axis of each leaf over the devices."""
    return jax.device_put(tree, NamedSharding(MESHES[kind], P("data")))


def stepper(transformation):
    """A step on an objective of data: what it closes over is spread as well."""

    def move(params, state, data):
        def loss(params):
            return jnp.sum((params["kernel"] - data) ** 2) + jnp.sum(params["bias"] ** 2)

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = transformation.update(gradients, state, params, value=value, value_fn=loss)
        return optim.apply_updates(params, updates), state

    return move


BY_SLICE = ("adafactor factored", "adaptive_clip", "centralize", "lamb", "muon", "novograd", "soap")


def traced(case, kernel="kernel"):
    """The step of a case on explicit axes: what comes out is spread as what went in."""
    transformation = make(case)
    with jax.set_mesh(MESHES[AxisType.Explicit]):
        # What holds layers is spread over the devices by them.
        places = {kernel: P("data") if trees.stacked(kernel) else P(None, "data"), "bias": P("data")}
        sharding = {name: NamedSharding(MESHES[AxisType.Explicit], place) for name, place in places.items()}
        params = jax.device_put({kernel: jnp.ones((2, 4, 3)), "bias": jnp.ones(2)}, sharding)
        state = transformation.init(params)
        found = jax.eval_shape(lambda params, state: step(transformation, params, state), params, state)
        for old, new in zip(jax.tree.leaves((params, state)), jax.tree.leaves(found), strict=True):
            # One number, as Adafactor has where it factors nothing, lies nowhere in particular in JAX 0.8.
            same = trees.describe(old) == trees.describe(new)
            if not same or (old.size > 1 and jax.typeof(old) != jax.typeof(new)):
                sys.exit(f"{case}: {jax.typeof(old)} becomes {jax.typeof(new)}")


def walked(case, kind=None):
    """Three steps, on the axes of a kind or on one device."""
    transformation = make(case)
    with jax.set_mesh(MESHES[kind]) if kind is AxisType.Explicit else contextlib.nullcontext():
        params, data = (PARAMS, DATA) if kind is None else spread(kind, (PARAMS, DATA))
        state, move = transformation.init(params), jax.jit(stepper(transformation), compiler_options=QUICK)
        for _ in range(3):
            params, state = move(params, state, data)
        return jax.tree.map(np.asarray, (params, optim.evaluation_params(state, params)))


for name in CASES:
    if name != "stateful":  # a user's own function, which sees another tree at first
        traced(name)
for name in BY_SLICE:
    traced(name, "kernel[2]")
for name in RUN:
    expected = walked(name)
    for axes in MESHES:
        for one, two in zip(*map(jax.tree.leaves, (walked(name, axes), expected)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4, err_msg=f"{name} {axes}")
