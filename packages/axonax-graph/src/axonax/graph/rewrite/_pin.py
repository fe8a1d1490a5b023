"""Names that stay: each layer gets its path as its name."""

from __future__ import annotations

from dataclasses import replace

from axonax.graph.data._layer import Applied, Layer, order
from axonax.graph.data._swap import swapped
from axonax.graph.nodes._node import Node
from axonax.graph.program._plan import paths


def pin(model: Node) -> Node:
    """The same model with the present path of each layer as its name.

    What is done to it afterwards leaves these paths alone, so that states fit. Layers of blocks have their
    full path as a name and no block any more; an activation is a layer of its own, which the one before no
    longer brings with it. All rewrites start from it.

    Args:
        model: any node.

    Returns:
        a node of equal paths, values and first values; ``model`` itself if it is pinned.

    Raises:
        TypeError: ``model`` is no node.
        ValueError: two layers have one name.

    >>> from axonax import graph as nn
    >>> model = nn.pin(nn.input("x", (None, 3)) | nn.dense(4) | nn.dense(2))
    >>> model.layer.name
    'dense_1'
    """
    node: Node = swapped(model, pins("pin", model))
    return node


def pins(who: str, model: Node) -> dict[Layer, Layer]:
    """The pinned layer of each layer that is not, those of models within layers included."""
    check_node(who, model)
    found = {
        layer: replace(layer, name=path, scope=None, computation=replace(layer.computation, then=None))
        for layer, path in paths(order(model)).items()
        if layer.name is None or layer.scope is not None or layer.computation.then is not None
    }
    for node in order(model):
        for inner in models_within(node.layer):
            found |= pins(who, inner)
    return found


def models_within(layer: Layer) -> list[Node]:
    """The models that a layer was made with."""
    return [value for value in layer.arguments.values() if isinstance(value, Node)]


def check_node(who: str, model: object) -> None:
    """Refuse what is not a model.

    Raises:
        TypeError: it is no node.
    """
    if not isinstance(model, Applied):
        kind = type(model).__name__
        raise TypeError(f'{who}: needs a model, such as nn.input("x") | nn.dense(2), got {kind}')


def is_fixed(layer: Layer) -> bool:
    """Whether the path of a layer follows from names alone."""
    scope, names = layer.scope, [layer.name]
    while scope is not None:
        names.append(scope.name)
        scope = scope.scope
    return None not in names
