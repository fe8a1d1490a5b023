"""What an editor knows after one import: for type checkers (`nox -s lint`); nothing here runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import jax

from axonax import tensor


def parts_of_tensor() -> None:
    kernel: jax.Array = tensor.initializers.glorot_uniform()(jax.random.key(0), (3, 4), "float32")
    hidden = tensor.layers.dense(jax.numpy.ones((2, 3)), kernel)
    assert_type(tensor.activations.relu(hidden), jax.Array)

    assert_type(tensor.precision.Policy(compute="bfloat16").compute, str)
    assert_type(tensor.names.suggestion("dens", ["dense"]), str)
    assert_type(tensor.plugins.available("loss"), dict[str, str])
    assert_type(tensor.trees.flatten({"dense_0": {"kernel": kernel}}), dict[str, Any])
    assert_type(tensor.updates.hyperparams(()), dict[str, Any])
    assert_type(tensor.files.read_metadata("weights.safetensors"), dict[str, str])

    state = tensor.ModelState(params={"dense_0": {"kernel": kernel}})
    assert_type(state, tensor.contracts.ModelState)
    assert_type(state.freeze("**"), tensor.ModelState)
    assert_type(tensor.Model(init=len, apply=len).init, Callable[..., Any])
