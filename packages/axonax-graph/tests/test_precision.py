"""Policies by layer: which layers have them, what they compute, and the state in their dtypes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees

HALF = nn.Policy(params="bf16", compute="bf16", output="bf16")
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def model():
    encoder = nn.block(lambda x: x | nn.dense(4, activation="relu") | nn.batch_norm(), name="enc")
    return nn.input("x", (None, 3)) | encoder | nn.dense(2, name="head") | nn.softmax()


ALL = ["x", "enc/dense_0", "enc/relu_0", "enc/batch_norm_0", "head", "softmax_0"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, ALL),
        ({"only": "enc/**"}, ["enc/dense_0", "enc/relu_0", "enc/batch_norm_0"]),
        ({"only": ["head", re.compile("relu")]}, ["enc/relu_0", "head"]),
        ({"except_": "enc/**"}, ["x", "head", "softmax_0"]),
        ({"op": "dense"}, ["enc/dense_0", "head"]),
        ({"op": ("dense", "softmax"), "except_": ["enc/*"]}, ["head", "softmax_0"]),
        ({"only": lambda path, node: bool(node.layer.computation.buffers)}, ["enc/batch_norm_0"]),
    ],
)
def test_the_layers_that_have_the_policy(options, chosen):
    made = nn.with_policy(model(), HALF, **options)
    layers = nn.fold_nodes(made, {}, lambda found, name, node: {**found, name: node.layer})
    assert list(layers) == ALL
    assert [name for name, layer in layers.items() if layer.policy == HALF] == chosen
    assert all(layer.policy in (HALF, nn.Policy()) for layer in layers.values())


def test_the_state_is_carried_in_the_dtypes_of_the_model():
    old = model()
    state = nn.build(old).init(jax.random.key(0)).freeze("head/bias")
    new, carried = nn.with_policy(old, HALF, op="dense", state=state)
    for path, leaf in trees.flatten(state).items():
        now = trees.flatten(carried)[path]
        assert now.dtype == (jnp.bfloat16 if "dense_0" in path or "head" in path else jnp.float32)
        np.testing.assert_array_equal(now, leaf.astype(now.dtype))
    assert nn.predict(new, carried, X).dtype == jnp.float32
    assert trees.diff(carried, nn.build(new).init(jax.random.key(0)).freeze("head/bias")) == []


def test_the_computation_is_in_the_dtype_of_the_policy():
    plain = nn.input("x", (None, 3)) | nn.dense(2, use_bias=False)
    state = nn.build(plain).init(jax.random.key(0))
    half = nn.with_policy(plain, nn.Policy(compute="bf16"), op="dense")
    kernel = state.params["dense_0"]["kernel"].astype(jnp.bfloat16).astype(jnp.float32)
    rounded = jnp.asarray(X, jnp.bfloat16).astype(jnp.float32)
    expected = (np.asarray(rounded, np.float64) @ np.asarray(kernel, np.float64)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(nn.predict(half, state, X), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.with_policy(model(), "bf16"), TypeError, "with_policy: needs a policy, such as"),
        (
            lambda: nn.with_policy(model(), HALF, only="encoder"),
            ValueError,
            'with_policy: pattern "encoder" selects no layer',
        ),
        (
            lambda: nn.with_policy(model(), HALF, except_="heads"),
            ValueError,
            'with_policy: pattern "heads" selects no layer: did you mean "head"',
        ),
        (
            lambda: nn.with_policy(model(), HALF, op="dens"),
            ValueError,
            'unknown op of the model "dens": did you mean "dense"',
        ),
        (
            lambda: nn.with_policy(model(), HALF, only="head", except_="head"),
            ValueError,
            "with_policy: only, except_ and op leave no layer",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
