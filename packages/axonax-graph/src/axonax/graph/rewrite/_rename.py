"""Other paths for layers and for what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import order
from axonax.graph.data._swap import swapped
from axonax.graph.nodes._node import Node
from axonax.graph.program._plan import paths
from axonax.graph.rewrite._carry import carry, check_state
from axonax.graph.rewrite._pin import check_node, pin
from axonax.tensor import names, trees
from axonax.tensor.contracts import ModelState


def rename(model: Node, renamed: Mapping[str, str], *, state: ModelState | None = None) -> Any:
    """The model with other paths.

    Args:
        model: any node.
        renamed: new paths by old ones, of layers or of what their paths begin with (a block).
        state: carried along: the same leaves under the new paths.

    Returns:
        the new model, pinned; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: an old path that the model has not (the text lists near paths), a name that could not be a
            path, or two layers of one name.
        TypeError: no node.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4) | nn.dense(2)
    >>> nn.rename(model, {"dense_1": "head"}).layer.name
    'head'
    """
    check_node("rename", model)
    pinned = pin(model)
    old = paths(order(pinned))
    known = {each for path in old.values() for each in _beginnings(path)}
    for name in renamed:
        if name not in known:
            raise ValueError(f'rename: the model has no "{name}": {names.suggestion(name, known)}')
    new = {layer: _moved(path, renamed) for layer, path in old.items()}
    table = {layer: replace(layer, name=new[layer]) for layer, path in old.items() if new[layer] != path}
    made = swapped(pinned, table)
    paths(order(made))
    if state is None:
        return made
    check_state("rename", state)
    moved = {}
    for layer, path in old.items():
        mark = layer.computation.mark
        for name in (*layer.computation.params, *layer.computation.buffers):
            moved[f"{path}{mark}/{name}"] = f"{new[layer]}{mark}/{name}"
    parts = {part: _under(getattr(state, part), moved) for part in ("params", "frozen", "buffers")}
    return made, carry(made, ModelState(**parts))


def _beginnings(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _moved(path: str, renamed: Mapping[str, str]) -> str:
    """The new path: by the longest old one that it begins with."""
    for start in reversed(_beginnings(path)):
        if start in renamed:
            return renamed[start] + path[len(start) :]
    return path


def _under(tree: Any, moved: Mapping[str, str]) -> Any:
    leaves = trees.flatten(tree)
    return trees.unflatten({moved[path]: leaf for path, leaf in leaves.items() if path in moved})
