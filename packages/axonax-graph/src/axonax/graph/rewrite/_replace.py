"""Other layers by path, and other ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace as changed
from typing import Any

from axonax.graph.data._layer import Layer
from axonax.graph.data._swap import remade, swapped
from axonax.graph.nodes._node import Node
from axonax.graph.rewrite._carry import along, carry
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import Patterns, select_layers, select_nodes
from axonax.tensor.contracts import ModelState


def replace(
    what: Any, where: Any = None, /, *, state: ModelState | None = None, key: Any = None, **arguments: Any
) -> Any:
    """A layer with other arguments, or a model with other layers in some places.

    ``replace(layer, units=256)`` is the layer of the same call with another argument;
    ``replace(model, "dense_*", use_bias=False)`` does that to the layers that a pattern selects;
    ``replace(model, {"dense_1": nn.dense(20)})`` puts other layers in their places, under their paths unless
    they have names. All paths stay.

    Args:
        what: a layer or a model.
        where: for a model one or more patterns (globs, compiled regular expressions, predicates
            ``(path, node) -> bool``), or layers by pattern.
        state: carried along, as by `carry`: leaves of the same path and shape are kept.
        key: for new leaves.
        **arguments: of the builder.

    Returns:
        a layer, or a model; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: a pattern that selects no layer (the text lists near paths), new leaves and no key, or a
            value that the builder does not take.
        TypeError: an argument that the builder does not have (the text lists near matches).

    >>> from axonax import graph as nn
    >>> nn.replace(nn.dense(4), units=8).arguments["units"]
    8
    >>> model = nn.input("x", (None, 3)) | nn.dense(4) | nn.dense(2)
    >>> nn.replace(model, {"dense_1": nn.dense(20)}).layer.arguments["units"]
    20
    """
    if isinstance(what, Layer):
        if where is not None or state is not None or key is not None:
            raise TypeError("replace: of a layer it takes the arguments of its builder alone")
        name = arguments.pop("name", what.name)
        return changed(remade(what, **arguments), name=name)
    check_node("replace", what)
    pinned = pin(what)
    if isinstance(where, Mapping):
        if arguments:
            raise TypeError("replace: takes layers by pattern, or arguments of the builder, not both")
        table = _given(pinned, where)
    else:
        table = _changed(pinned, where, arguments)
    return along("replace", swapped(pinned, table), state, key)


def truncate(model: Node, *, at: str, state: ModelState | None = None) -> Any:
    """The part of a model that leads to one node.

    Args:
        model: any node.
        at: the name of the node that is to be the last, or a pattern that selects it alone.
        state: that of the model; what is cut off is dropped.

    Returns:
        the part, pinned; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: no node of that name (the text lists near names), or several.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> nn.truncate(model, at="relu_0").layer.op
    'relu'
    """
    return along("truncate", _at("truncate", model, at), state, None)


def graft(
    body: Node,
    at: str,
    head: Callable[[Node], Any],
    *,
    state: ModelState | None = None,
    key: Any = None,
) -> Any:
    """A new head on an old body.

    Args:
        body: any node.
        at: the name of the node that the head goes on; what follows it is cut off.
        head: a layer, or any function of a node.
        state: that of ``body``. The head is new, also where it has the paths of what was cut off.
        key: for the head.

    Returns:
        the new model; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: no node of that name (the text lists near names), several, or no key for the head.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> nn.graft(model, "relu_0", nn.dense(10)).layer.arguments["units"]
    10
    """
    kept = _at("graft", body, at)
    model = kept | head
    if state is None:
        return model
    return along("graft", model, carry(kept, state), key)


def _at(who: str, model: Node, at: str) -> Node:
    check_node(who, model)
    found = select_nodes(who, pin(model), at)
    if len(found) > 1:
        shown = ", ".join(f'"{name}"' for name in found)
        raise ValueError(f"{who}: at must select one node, got {len(found)}: {shown}")
    return next(iter(found.values()))


def _given(model: Node, where: Mapping[Any, Any]) -> dict[Layer, Layer]:
    """The layers that are given by pattern; each place has one of its own."""
    table = {}
    for pattern, layer in where.items():
        if not isinstance(layer, Layer):
            raise TypeError(f"replace: {pattern!r} needs a layer, got {type(layer).__name__}")
        chosen = select_layers("replace", model, pattern)
        for old in chosen:
            table[old] = changed(layer, name=old.name if layer.name is None else layer.name)
    return table


def _changed(model: Node, where: Patterns | None, arguments: Mapping[str, Any]) -> dict[Layer, Layer]:
    """The layers that patterns select, of the same call with other arguments."""
    if where is None or not arguments:
        raise TypeError("replace: of a model it takes layers by pattern, or a pattern and arguments")
    if "activation" in arguments:
        raise TypeError('replace: an activation is a layer of its own: replace it, such as "relu_0"')
    chosen = select_layers("replace", model, where)
    return {layer: remade(layer, **arguments) for layer in chosen}
