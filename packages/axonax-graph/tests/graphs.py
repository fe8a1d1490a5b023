"""Random models for property tests: `models` draws nodes, `data` arrays that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from axonax import graph as nn
from axonax.tensor import initializers

WIDTH = 4
"""Features of every node within a model, so that any two may be joined."""

Nodes = list[nn.Node]
Draw = Callable[[st.SearchStrategy[Any]], Any]

_LAYERS: tuple[Callable[[], nn.Layer], ...] = (
    lambda: nn.dense(WIDTH),
    lambda: nn.dense(WIDTH, use_bias=False, activation="tanh"),
    lambda: nn.dense(WIDTH, kernel_initializer=initializers.normal(stddev=0.5), bias_initializer="ones"),
    lambda: nn.batch_norm(momentum=0.5),
    lambda: nn.dropout(0.5),
    nn.relu,
    nn.softmax,
    lambda: nn.leaky_relu(negative_slope=0.2),
)


@st.composite
def models(draw: Draw, most: int = 12) -> nn.Node:
    """A graph of up to ``most`` steps on the inputs ``"a"`` and ``"b"``, of one output or a container.

    Dense layers, activations, buffers, layers called again, arithmetic with nodes and constants, slices,
    index arrays, containers and blocks.
    """
    nodes: Nodes = [nn.input("a", (None, WIDTH)), nn.input("b", (None, WIDTH))]
    nodes = [nodes[0] + nodes[1], *nodes]
    layers: list[nn.Layer] = []
    for _ in range(draw(st.integers(1, most))):
        step = draw(st.sampled_from(_STEPS))
        nodes.append(step(draw, nodes, layers))
    outputs = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3))
    outputs = [nodes[-1], *outputs]
    joined = nn.container({f"out{place}": node for place, node in reversed(list(enumerate(outputs)))})
    return draw(st.sampled_from([nodes[-1], joined, nn.container((nodes[0], (nodes[-1],)))]))


def data(seed: int = 0, rows: int = 2) -> dict[str, np.ndarray]:
    """Arrays by input name, for `inputs_of`."""
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=(rows, WIDTH)).astype("float32") for name in ("a", "b")}


def state_of(model: nn.Node) -> Any:
    """First values of a model of `models`."""
    return nn.build(model).init(jax.random.key(0))


def inputs_of(model: nn.Node, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of a model's inputs, in its order."""
    plan = model._plan
    return [arrays[plan.steps[place].path] for place in plan.inputs]


def nodes_of(model: nn.Node) -> Nodes:
    """All nodes of a model, parents first."""
    return nn.fold_nodes(model, [], lambda nodes, name, node: [*nodes, node])


def bits(tree: Any) -> Any:
    """The structure of a tree, with the order of the keys of dicts, and its leaves to the bit."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return _keys(tree), [(str(each.dtype), each.shape, each.tobytes()) for each in leaves]


def _keys(tree: Any) -> Any:
    if isinstance(tree, dict):
        return [(key, _keys(value)) for key, value in tree.items()]
    return list(map(_keys, tree)) if isinstance(tree, tuple | list) else type(tree).__name__


def _layer(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    layers.append(draw(st.sampled_from(_LAYERS))())
    return _any(draw, nodes) | layers[-1]


def _again(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    return _any(draw, nodes) | draw(st.sampled_from(layers)) if layers else _layer(draw, nodes, layers)


def _joined(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    join = draw(st.sampled_from([nn.add, nn.subtract, nn.multiply]))
    return join(_any(draw, nodes), _any(draw, nodes))


def _constant(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    row = np.linspace(-1, 1, WIDTH, dtype="float32")[None]
    other = draw(st.one_of(st.floats(-2, 2, width=32), st.sampled_from([2, row, jax.numpy.asarray(row)])))
    node = _any(draw, nodes)
    return draw(st.sampled_from([lambda: node + other, lambda: other - node, lambda: -node * other]))()


def _index(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    order = np.array(draw(st.permutations(range(WIDTH))))
    rows = slice(None)
    index = draw(st.sampled_from([(rows, slice(None, None, -1)), (..., order), rows]))
    return _any(draw, nodes)[index]


def _within(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    both = nn.container({"second": _any(draw, nodes), "first": (_any(draw, nodes),)})
    return draw(st.sampled_from([lambda: both["second"], lambda: both["first"][0]]))()


def _block(draw: Draw, nodes: Nodes, layers: list[nn.Layer]) -> nn.Node:
    part = nn.block(lambda x: x + (x | nn.dense(WIDTH, activation="gelu")))
    return _any(draw, nodes) | part | part


def _any(draw: Draw, nodes: Nodes) -> nn.Node:
    return draw(st.sampled_from(nodes))


_STEPS = (_layer, _layer, _again, _joined, _constant, _index, _within, _block)
