"""Blocks: part of a model under a name of its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from axonax.graph.data._layer import Applied, Layer, Scope, computes, inside, order
from axonax.graph.layers._builder import recorded
from axonax.graph.nodes._node import Node


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """A function of nodes, written once: each call shares its layers, whose paths begin with its name."""

    inputs: tuple[Node, ...]
    output: Any
    scope: Scope

    def __call__(self, *nodes: Node) -> Any:
        """What the function makes of these nodes.

        Raises:
            TypeError: an argument is not a node, or there are too many or too few of them.
        """
        scope = self.scope
        for each in nodes:
            if not isinstance(each, Node):
                raise TypeError(f"{scope.op} ({scope.where}): takes nodes, got {type(each).__name__}")
        if len(nodes) != len(self.inputs):
            raise TypeError(
                f"{scope.op} ({scope.where}): takes {len(self.inputs)} input(s), got {len(nodes)}"
            )
        return substituted(self.output, dict(zip(self.inputs, nodes, strict=True)))

    def __repr__(self) -> str:
        return f"<{self.scope.op}, {self.scope.where}>"


def block(function: Callable[..., Any], *, name: str | None = None) -> Block:
    """A part of a model under a name of its own: its layers are ``name/dense_0`` and so on.

    The function is called once. Layers that it makes stand in the block, those that it closes over do not.
    Each call of the block shares its layers; blocks within blocks nest.

    Args:
        function: of one or more nodes, to a node or a container of nodes.
        name: what the paths of its layers begin with; ``None`` numbers it: ``block_0``.

    Returns:
        a function of as many nodes.

    Raises:
        TypeError: no function of nodes, or one that returns something else.
        ValueError: a name that could not be a path.

    >>> from axonax import graph as nn
    >>> encoder = nn.block(lambda x: x | nn.dense(8, activation="relu") | nn.dense(2), name="encoder")
    >>> model = (nn.input("a", (None, 3)) | encoder) - (nn.input("b", (None, 3)) | encoder)
    >>> sorted(nn.build(model).init(jax.random.key(0)).params["encoder"])
    ['dense_0', 'dense_1']
    """
    scope = Scope("block", name)
    with inside(scope):
        inputs, output = traced("block", function)
    return Block(inputs, output, scope)


def traced(who: str, function: Callable[..., Any]) -> tuple[tuple[Node, ...], Any]:
    """What a function makes of nodes that stand for its inputs.

    Raises:
        TypeError: no function of nodes, or one that returns something else.
    """
    if not callable(function) or isinstance(function, Applied):
        raise TypeError(f"{who}: needs a function of nodes, got {function!r}")
    count = _arity(who, function)
    inputs = tuple(Node(layer=placeholder(place, count), parents=()) for place in range(count))
    output = function(*inputs)
    for each in jax.tree.leaves(output, is_leaf=lambda each: each is None):
        if not isinstance(each, Node):
            raise TypeError(f"{who}: its function must return nodes, got {type(each).__name__}")
    return inputs, output


def substituted(output: Any, places: Mapping[Any, Any]) -> Any:
    """Nodes, nested in any way, with others in the place of some that lead to them."""
    found = dict(places)
    for each in order(*jax.tree.leaves(output)):
        if each not in found:
            found[each] = each.over(tuple(found[parent] for parent in each.parents))
    return jax.tree.map(lambda each: found[each], output)


def _arity(who: str, function: Callable[..., Any]) -> int:
    if isinstance(function, Layer):
        arity = function.computation.arity
        return arity if isinstance(arity, int) else 1
    if isinstance(function, Block):
        return len(function.inputs)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    count = sum(each.kind in kinds and each.default is each.empty for each in parameters)
    if not count:
        raise TypeError(f"{who}: needs a function of one or more nodes, got one of none")
    return count


@functools.partial(recorded, op="placeholder")
def placeholder(place: int = 0, count: int = 1, *, name: str | None = None) -> Layer:
    """The layer of a node that stands for one of the ``count`` inputs of a function of nodes."""
    return computes(_missing, arity=0)


def _missing() -> Any:
    raise ValueError("stands for the input of a block, and has no value outside of it")
