"""Walks over the nodes of a model: other layers, sums, other nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax

from axonax.graph.data._layer import Layer
from axonax.graph.data._swap import swapped
from axonax.graph.nodes._node import Node
from axonax.graph.rewrite._carry import along
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import first_nodes, named_nodes
from axonax.tensor.contracts import ModelState

T = TypeVar("T")


def map_nodes(
    model: Node,
    function: Callable[[str, Node], Layer | None],
    *,
    state: ModelState | None = None,
    key: Any = None,
) -> Any:
    """The model with other layers in the same places.

    Args:
        model: any node.
        function: of the path of a layer and its first node (``node.layer`` is the layer, with ``op`` and
            ``arguments``), to another layer, or ``None`` to keep it. A layer without a name takes that of the
            old one.
        state: carried along, as by `carry`.
        key: for new leaves.

    Returns:
        the new model, pinned; with ``state`` the pair ``(model, state)``.

    Raises:
        TypeError: no node, or a function that returns something else.
        ValueError: new leaves and no key.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4) | nn.relu()
    >>> new = nn.map_nodes(model, lambda path, node: nn.gelu() if node.layer.op == "relu" else None)
    >>> new.layer.op, new.layer.name
    ('gelu', 'relu_0')
    """
    check_node("map_nodes", model)
    pinned = pin(model)
    table = {}
    for path, node in first_nodes(pinned).items():
        made = function(path, node)
        if made is None:
            continue
        if not isinstance(made, Layer):
            kind = type(made).__name__
            raise TypeError(f"map_nodes: the function must return a layer or None for {node!r}, got {kind}")
        table[node.layer] = made if made.name is not None else replace(made, name=node.layer.name)
    return along("map_nodes", swapped(pinned, table), state, key)


def fold_nodes(model: Node, initial: T, function: Callable[[T, str, Node], T]) -> T:
    """``initial`` put through ``function`` at each node, parents first.

    Args:
        model: any node.
        initial: the first total.
        function: of the total, the name of a node (``dense_0``; a second application is ``dense_0@1``) and
            the node, to the next total.

    Returns:
        the last total.

    Raises:
        TypeError: no node.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4) | nn.dense(2)
    >>> nn.fold_nodes(model, 0, lambda total, name, node: total + (node.layer.op == "dense"))
    2
    """
    check_node("fold_nodes", model)
    total = initial
    for name, node in named_nodes(model).items():
        total = function(total, name, node)
    return total


def rewrite_nodes(
    model: Node,
    function: Callable[[str, Node], Callable[..., Any] | None],
    *,
    state: ModelState | None = None,
    key: Any = None,
) -> Any:
    """The model with some nodes made anew on their parents.

    Args:
        model: any node.
        function: of the name of a node and the node (pinned), to ``None`` to keep it, or to a function of
            its new parents that returns what stands in its place; a layer is such a function. ``node.layer``
            within it is the old layer, with its parameters.
        state: carried along, as by `carry`. New layers that have no name start anew.
        key: for new leaves.

    Returns:
        the new model; with ``state`` the pair ``(model, state)``.

    Raises:
        TypeError: no node, or a function that returns something else.
        ValueError: new leaves and no key.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> def drop(name, node):
    ...     return (lambda x: x | node.layer | nn.dropout(0.5)) if node.layer.op == "relu" else None
    >>> nn.fold_nodes(nn.rewrite_nodes(model, drop), [], lambda names, name, node: [*names, name])
    ['x', 'dense_0', 'relu_0', 'dropout_0', 'dense_1']
    """
    check_node("rewrite_nodes", model)
    pinned = pin(model)
    found: dict[Node, Node] = {}
    for name, node in named_nodes(pinned).items():
        parents = tuple(found[parent] for parent in node.parents)
        make = function(name, node)
        found[node] = node.over(parents) if make is None else _made(node, make, parents)
    return along("rewrite_nodes", found[pinned], state, key)


def pop_node(model: Node) -> tuple[tuple[Node, ...], Layer]:
    """What leads to the last node of a model, and the layer that it applies.

    Args:
        model: any node.

    Returns:
        ``(parents, layer)``, both pinned: ``layer(*parents)`` is the model again.

    Raises:
        TypeError: no node.
        ValueError: an input, which nothing leads to.

    >>> from axonax import graph as nn
    >>> (body,), head = nn.pop_node(nn.input("x", (None, 3)) | nn.dense(4) | nn.dense(2))
    >>> body.layer.name, head.name
    ('dense_0', 'dense_1')
    """
    check_node("pop_node", model)
    if not model.parents:
        raise ValueError(f"pop_node: nothing leads to {model!r}")
    pinned = pin(model)
    return pinned.parents, pinned.layer


def _made(node: Node, make: Callable[..., Any], parents: tuple[Node, ...]) -> Node:
    """What a function makes of the new parents of a node; containers become nodes."""
    who = f"rewrite_nodes: {node!r}"
    if not callable(make) or isinstance(make, Node):
        raise TypeError(f"{who}: needs None or a function of its parents, got {type(make).__name__}")
    count = len(parents) - len(node.named)
    made = make(*parents[:count], **dict(zip(node.named, parents[count:], strict=True)))
    leaves = jax.tree.leaves(made, is_leaf=lambda each: each is None)
    if not leaves or not all(isinstance(each, Node) for each in leaves):
        raise TypeError(f"{who}: what stands in its place must be a node, got {type(made).__name__}")
    result: Node = made if isinstance(made, Node) else leaves[0].gathered(made)
    return result
