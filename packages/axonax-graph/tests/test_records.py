"""A layer is the call that made it."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.data._swap import remade, swapped

DENSE = {
    "units": 4,
    "activation": None,
    "use_bias": True,
    "kernel_initializer": "glorot_uniform",
    "bias_initializer": "zeros",
}


@nn.builder
def shift(by=1.0, *, name=None):
    """A builder of a user, of plain arguments."""
    return nn.layer(lambda x, by: x + by, options={"by": by})


def x(shape=(None, 3)):
    return nn.input("x", shape)


@pytest.mark.parametrize(
    ("layer", "op", "arguments"),
    [
        (lambda: nn.dense(4), "dense", DENSE),
        (lambda: nn.dense(units=np.int64(4), name="head"), "dense", DENSE),
        (lambda: nn.dense(4, activation="relu"), "dense", DENSE),
        (lambda: nn.dropout(0.1), "dropout", {"rate": 0.1}),
        (nn.relu, "relu", {}),
        (lambda: nn.activation("relu"), "relu", {}),
        (lambda: nn.activation("leaky_relu"), "leaky_relu", {"negative_slope": 0.01}),
        (
            lambda: nn.max_pool([2, 3]),
            "max_pool",
            {"window": (2, 3), "strides": None, "padding": "valid", "dilation": 1},
        ),
        (lambda: (x() + 1.5).layer, "add", {}),
        (lambda: x()[:, 1].layer, "getitem", {"index": (slice(None), 1)}),
        (lambda: nn.constant(2.5).layer, "constant", {"value": 2.5}),
        (
            lambda: nn.input("x", [None, 3], dtype=jnp.float32).layer,
            "input",
            {"shape": (None, 3), "dtype": "float32", "optional": False},
        ),
        (shift, "shift", {"by": 1.0}),
        (lambda: shift(2, name="two"), "shift", {"by": 2}),
    ],
)
def test_the_data_of_a_layer_is_its_call_completed_and_normalized(layer, op, arguments):
    made = layer()
    assert (made.op, dict(made.arguments)) == (op, arguments)
    again = made.builder(**made.arguments)
    assert (again.op, dict(again.arguments)) == (op, arguments)


def test_an_activation_of_a_layer_is_a_row_of_its_own_and_is_not_applied_twice():
    model = x() | nn.dense(4, activation="relu")
    assert [model.layer.op, model.parents[0].layer.op] == ["relu", "dense"]
    dense = model.parents[0].layer
    assert (x() | dense.builder(**dense.arguments)).layer.op == "dense"


def test_a_layer_of_other_arguments_keeps_what_stands_beside_its_call():
    layer = nn.dense(4, activation="relu", name="head")
    wider = remade(layer, units=8)
    assert (wider.arguments["units"], wider.name, wider.where) == (8, "head", layer.where)
    assert (x() | wider).layer.op == "relu"
    with pytest.raises(TypeError, match='dense: unknown option "unit": did you mean "units"'):
        remade(layer, unit=8)


def test_layers_are_swapped_wherever_they_stand():
    shared = nn.dense(3, name="shared")
    tied = nn.dense(3, kernel_initializer=nn.tied(shared, transform=jnp.transpose), use_bias=False)
    model = x() | shared | shared | tied
    other = swapped(model, {shared: remade(shared, use_bias=False)})
    state = nn.build(other).init(jax.random.key(0))
    assert list(state.params) == ["shared"]
    assert list(state.params["shared"]) == ["kernel"]
    assert swapped(model, {}) is model


def test_a_builder_of_a_user_survives_pickle():
    model = x() | shift(2.0) | nn.dense(4)
    copy = pickle.loads(pickle.dumps(model))
    assert str(copy) == str(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nn.builder(lambda: 3), "<lambda>: a builder must return a layer, got int"),
        (nn.dense, "dense: missing a required argument: 'units'"),
        (
            lambda: nn.linear(128),
            r"linear: too many positional arguments: takes 0, got 1; .* write dense\(128\)",
        ),
        (lambda: nn.add(1, 2), "add: takes nodes, or none to make a layer, got int"),
        (lambda: nn.add(x()), r"add \(test_records.py:\d+\): takes 2 or more input\(s\), got 1"),
        (lambda: shift(x()), r"shift: got a node where its own arguments go: write x \| nn.shift\(...\)"),
    ],
)
def test_misuse(make, message):
    with pytest.raises(TypeError, match=message):
        make()
