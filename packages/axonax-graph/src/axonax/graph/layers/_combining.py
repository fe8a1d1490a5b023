"""Nodes put together: containers, and choices between values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from axonax.graph.data._layer import MANY, Applied, Layer, computes
from axonax.graph.layers._builder import joining, recorded
from axonax.tensor import layers


def container(nodes: Any, *, name: str | None = None) -> Any:
    """The values of several nodes in one container: a model of many outputs.

    Args:
        nodes: dicts and tuples of nodes, nested in any way. Dicts keep their order.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node whose value is nested as ``nodes`` are; ``node["key"]`` and ``node[0]`` take parts of it.

    Raises:
        TypeError: something in it is neither a node nor a container.

    >>> from axonax import graph as nn
    >>> a, b = nn.input("a", (None, 3)), nn.input("b", (None, 4))
    >>> both = nn.container({"left": a | nn.dense(2), "right": b})
    """
    found: list[Applied] = []
    structure = _numbered(nodes, found)
    if not found:
        raise TypeError("container: needs nodes, got none")
    return container_layer(structure, name=name)(*found)


def _numbered(nodes: Any, found: list[Applied]) -> Any:
    """The container with a number in the place of each node, which goes to ``found``."""
    if isinstance(nodes, Applied):
        found.append(nodes)
        return len(found) - 1
    if isinstance(nodes, Mapping):
        return {key: _numbered(each, found) for key, each in nodes.items()}
    if isinstance(nodes, tuple | list):
        return tuple(_numbered(each, found) for each in nodes)
    raise TypeError(f"container: needs nodes in dicts and tuples, got {type(nodes).__name__}")


@functools.partial(recorded, op="container")
def container_layer(structure: Any, *, name: str | None = None) -> Layer:
    """The layer of a container: ``structure`` has the number of an input in the place of its value."""
    return computes(_contained, options={"structure": structure}, arity=_count(structure), casts=False)


def _count(structure: Any) -> int:
    if isinstance(structure, Mapping):
        return sum(map(_count, structure.values()))
    return sum(map(_count, structure)) if isinstance(structure, tuple) else 1


def _contained(*values: Any, structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return {key: _contained(*values, structure=each) for key, each in structure.items()}
    if isinstance(structure, tuple):
        return tuple(_contained(*values, structure=each) for each in structure)
    return values[structure]


@joining
def or_else(*nodes: Any, name: str | None = None) -> Any:
    """The first of several nodes that has a value: what stands in for an optional input that is missing.

    Args:
        *nodes: two or more; none makes a layer to be called on them.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node, missing only if all are.

    Raises:
        TypeError: something that is no node, or one alone.

    >>> from axonax import graph as nn
    >>> given = nn.input("context", (None, 3), optional=True)
    >>> model = nn.or_else(given | nn.dense(8), nn.input("x", (None, 8)))
    """
    return computes(_first, arity=(2, MANY), takes_none=True)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


@joining
def cond(*nodes: Any, name: str | None = None) -> Any:
    """A choice between the values of two nodes by that of a third.

    Args:
        *nodes: ``predicate`` (a scalar bool), ``on_true`` and ``on_false`` (equal in structure, shapes and
            dtypes), both of which are computed; none makes a layer to be called on them.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node.

    Raises:
        TypeError: other than three nodes.

    >>> from axonax import graph as nn
    >>> x = nn.input("x", (None, 3))
    >>> large = x | nn.layer(lambda x: x.sum() > 10)
    >>> model = nn.cond(large, x | nn.dense(2), x | nn.dense(2))
    """
    return computes(_chosen, arity=3, check=_check_predicate)


def _check_predicate(predicate: Any, on_true: Any, on_false: Any) -> str | None:
    if not predicate.shape and predicate.dtype == bool:
        return None
    hint = 'an input is one as nn.input(name, (), dtype="bool")'
    return f"predicate must be a scalar bool and no {predicate.dtype} ({hint})"


def _chosen(predicate: Any, on_true: Any, on_false: Any) -> Any:
    return layers.cond(predicate, lambda pair: pair[0], lambda pair: pair[1], (on_true, on_false))
