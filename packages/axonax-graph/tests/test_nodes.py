import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import activations
from axonax.tensor.contracts import Buildable


def value(model, *inputs, key=0):
    state = nn.build(model).init(jax.random.key(key), *inputs)
    return nn.predict(model, state, *inputs)


def x():
    return nn.input("x", (None, 3))


def test_a_pipe_is_a_call():
    layer = nn.dense(2)
    assert (x() | layer).layer is layer
    assert (x() | (lambda node: node | layer)).layer is layer


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda a, b: a + b, lambda a, b: a + b),
        (lambda a, b: a - b, lambda a, b: a - b),
        (lambda a, b: a * b, lambda a, b: a * b),
        (lambda a, b: a / b, lambda a, b: a / b),
        (lambda a, b: 1.5 + a, lambda a, b: 1.5 + a),
        (lambda a, b: a - 1, lambda a, b: a - 1),
        (lambda a, b: 2 - a, lambda a, b: 2 - a),
        (lambda a, b: 2 * b, lambda a, b: 2 * b),
        (lambda a, b: 1 / b, lambda a, b: 1 / b),
        (lambda a, b: -a, lambda a, b: -a),
        (lambda a, b: a @ np.ones((3, 2), "float32"), lambda a, b: a @ np.ones((3, 2), "float32")),
        (lambda a, b: np.ones((2, 2), "float32") @ a, lambda a, b: np.ones((2, 2), "float32") @ a),
        (lambda a, b: a[:, 1:], lambda a, b: a[:, 1:]),
        (lambda a, b: np.full((1, 3), 2, "float32") * b, lambda a, b: 2 * b),
        (lambda a, b: b - jnp.full((1, 3), 2.0), lambda a, b: b - 2),
    ],
)
def test_operators(model, expected):
    one = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]], "float32")
    two = np.array([[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]], "float32")
    node = model(nn.input("a", (2, 3)), nn.input("b", (2, 3)))
    arguments = {"a": one, "b": two}
    known = {name: arguments[name] for name in str(node).split("Inputs: ")[1].split('"')[1::2]}
    np.testing.assert_allclose(nn.predict(node, empty_state(), known), expected(one, two), rtol=1e-6)


def empty_state():
    return nn.build(x()).init(jax.random.key(0))


def test_a_residual_block_runs():
    residual = lambda node: node + (node | nn.dense(3, activation="gelu"))  # noqa: E731
    model = x() | residual
    state = nn.build(model).init(jax.random.key(1))
    inputs = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
    kernel = state.params["dense_0"]["kernel"]
    np.testing.assert_allclose(
        nn.predict(model, state, inputs), inputs + activations.gelu(inputs @ kernel), atol=1e-5
    )


def test_a_node_is_not_a_sequence_and_not_an_array():
    with pytest.raises(TypeError, match="not iterable"):
        list(x())
    assert isinstance(np.ones((1, 3), "float32") + x(), nn.Node)
    assert isinstance(jnp.ones((1, 3)) + x(), nn.Node)
    assert x() != x()


def test_a_node_is_buildable_and_builds_once():
    model = x() | nn.dense(2)
    assert isinstance(model, Buildable)
    assert nn.build(model) is nn.build(model)
    assert model.build() is nn.build(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: x() | 3,
            r"<input node, test_nodes.py:\d+>: after \| goes a layer or a function of a node, got int",
        ),
        (lambda: x() | (lambda node: 3), r"<lambda> after \| must return a node, got int"),
        (lambda: x() | nn.dense, r"dense: got a node where its own arguments go: write x \| nn.dense\(...\)"),
        (
            lambda: nn.build(nn.dense(2)),
            r"build: needs a node, such as .*, got <dense layer, test_nodes.py:\d+>",
        ),
        (
            lambda: nn.predict(nn.dense(2), None),
            "predict: needs a node or what build made of one, got <dense layer",
        ),
        (lambda: x() | nn.relu, r"relu: got a node where its own arguments go"),
        (lambda: nn.dense(2)(jnp.ones((1, 3))), r"dense \(test_nodes.py:\d+\): a layer takes nodes.*predict"),
        (lambda: nn.dense(2)(x(), x()), r"dense \(test_nodes.py:\d+\): takes 1 input\(s\), got 2"),
        (
            lambda: nn.dense(2, activatoin="relu"),
            'dense: unknown option "activatoin": did you mean "activation"',
        ),
    ],
)
def test_misuse_is_a_type_error(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ((slice(None), 4), r"has no index 4 on axis 1, of size 4, got \(None, 4\)"),
        ((..., -5), "has no index -5 on axis 1, of size 4, got"),
        ((slice(None), None, 0, 1), r"needs an input of 3 axes or more, got \(None, 4\)"),
    ],
)
def test_an_index_out_of_range_is_found_at_build(index, message):
    with pytest.raises(ValueError, match=rf'^getitem "getitem_0" \(test_nodes.py:\d+\): {message}'):
        nn.build(nn.input("x", (None, 4))[index])


def test_an_index_on_an_open_axis_is_looked_at_when_it_has_a_size():
    built = nn.build(nn.input("x", (None, 4))[7])
    state = built.init(jax.random.key(0))
    assert built.apply(state, np.ones((8, 4), "float32"))[0].shape == (4,)
    with pytest.raises(ValueError, match=r"has no index 7 on axis 0, of size 7, got \(7, 4\)"):
        built.apply(state, np.ones((7, 4), "float32"))
