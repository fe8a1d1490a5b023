"""The node that users hold: any node is a model, with operators, as text and as two functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from axonax.graph.data._layer import Applied, Layer, order
from axonax.graph.layers import _arithmetic, _combining
from axonax.graph.layers._constant import as_constant, constant_layer
from axonax.graph.program import _functions, _infer, _plan
from axonax.graph.show import _table
from axonax.tensor.contracts import Model

T = TypeVar("T")


class Node(Applied):
    """A layer applied to nodes. Any node is a model: all that leads to it, with its value as the output.

    ``x | layer`` is ``layer(x)``, for any function of a node; ``+ - * / @`` take nodes and constants, an
    index takes part of the value; ``print(node)`` is the table of the model.
    """

    def __or__(self, other: Callable[[Node], T]) -> T:
        if not callable(other):
            kind = type(other).__name__
            raise TypeError(f"{self!r}: after | goes a layer or a function of a node, got {kind}")
        result = other(self)
        for each in jax.tree.leaves(result, is_leaf=lambda each: each is None):
            if not isinstance(each, Node):
                name = getattr(other, "__name__", repr(other))
                raise TypeError(f"{self!r}: {name} after | must return a node, got {type(each).__name__}")
        return result

    def __add__(self, other: Any) -> Node:
        return _binary(_arithmetic.add, self, other)

    def __radd__(self, other: Any) -> Node:
        return _binary(_arithmetic.add, other, self)

    def __sub__(self, other: Any) -> Node:
        return _binary(_arithmetic.subtract, self, other)

    def __rsub__(self, other: Any) -> Node:
        return _binary(_arithmetic.subtract, other, self)

    def __mul__(self, other: Any) -> Node:
        return _binary(_arithmetic.multiply, self, other)

    def __rmul__(self, other: Any) -> Node:
        return _binary(_arithmetic.multiply, other, self)

    def __truediv__(self, other: Any) -> Node:
        return _binary(_arithmetic.divide, self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _binary(_arithmetic.divide, other, self)

    def __matmul__(self, other: Any) -> Node:
        return _binary(_arithmetic.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return _binary(_arithmetic.matmul, other, self)

    def __neg__(self) -> Node:
        negated: Node = _arithmetic.negative()(self)
        return negated

    def __getitem__(self, index: Any) -> Node:
        part: Node = _arithmetic.getitem(_as_arrays(index))(self)
        return part

    def gathered(self, nodes: Any) -> Node:
        """The node of a container of nodes (see `container`)."""
        node: Node = _combining.container(nodes)
        return node

    def build(self) -> Model:
        """The model as two pure functions, the same two each time (see `build`)."""
        return self._model

    def __str__(self) -> str:
        return str(_table.table(self._plan, self._facts))

    def _repr_html_(self) -> str:
        """The same table in a notebook."""
        return _table.table(self._plan, self._facts)._repr_html_()

    def __reduce__(self) -> Any:
        # A flat list: pickle would recurse through a chain and reach its limit at some 200 layers.
        nodes = order(self)
        places = {node: place for place, node in enumerate(nodes)}
        rows = [(node.layer, tuple(places[parent] for parent in node.parents), node.named) for node in nodes]
        return _from_rows, (rows,)

    @functools.cached_property
    def _plan(self) -> _plan.Plan:
        return _plan.plan(self)

    @functools.cached_property
    def _facts(self) -> _infer.Facts:
        return _infer.declared(self._plan)

    @functools.cached_property
    def _model(self) -> Model:
        return _functions.functions(self._plan, self._facts)


def _from_rows(rows: list[tuple[Layer, tuple[int, ...], tuple[str, ...]]]) -> Node:
    nodes: list[Node] = []
    for layer, parents, named in rows:
        nodes.append(Node(layer=layer, parents=tuple(nodes[place] for place in parents), named=named))
    return nodes[-1]


def _binary(join: Callable[..., Any], left: Any, right: Any) -> Node:
    result: Node = join(_as_node(left), _as_node(right))
    return result


def _as_node(value: Any) -> Node:
    """A node as it is; a number or an array as a node of that constant."""
    return value if isinstance(value, Node) else Node(layer=constant_layer(as_constant(value)), parents=())


def _as_arrays(index: Any) -> Any:
    """An index with arrays for lists, which a layer's data would hold as tuples, of another meaning."""
    if isinstance(index, tuple):
        return tuple(map(_as_arrays, index))
    return np.asarray(index) if isinstance(index, list) else index
