"""Layers and nodes by patterns over their paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from axonax.graph.data._layer import Layer, order
from axonax.graph.nodes._node import Node
from axonax.graph.program._plan import plan
from axonax.graph.rewrite._pin import models_within
from axonax.tensor import trees

_STAND_INS = ("input", "placeholder")  # of models within layers
Patterns = str | re.Pattern[str] | Callable[[str, Any], bool] | Sequence[trees.Pattern]


def named_nodes(model: Node) -> dict[str, Node]:
    """The nodes of a model by name, parents first; a layer's second application is ``dense_0@1``."""
    return {step.name: node for step, node in zip(plan(model).steps, order(model), strict=True)}


def select_nodes(who: str, model: Node, patterns: Patterns) -> dict[str, Node]:
    """The nodes of a model whose name a pattern selects, parents first.

    Args:
        who: begins the error.
        model: any node.
        patterns: one or more globs, compiled regular expressions, or predicates ``(name, node) -> bool``.

    Raises:
        ValueError: a pattern selects no node; the text lists near names.
    """
    nodes = named_nodes(model)
    chosen = _chosen(who, nodes, patterns, "node")
    return {name: node for name, node in nodes.items() if name in chosen}


def select_layers(who: str, model: Node, patterns: Patterns, *, op: str | None = None) -> dict[Layer, str]:
    """The layers of a model that a pattern selects, with their paths; a predicate gets their first node.

    With ``op`` only layers of this builder count.

    Raises:
        ValueError: a pattern selects no layer; the text lists near paths.
    """
    nodes = {path: node for path, node in first_nodes(model).items() if op in (None, node.layer.op)}
    chosen = _chosen(who, nodes, patterns, "layer" if op is None else f"{op} layer")
    return {node.layer: path for path, node in nodes.items() if path in chosen}


def first_nodes(model: Node) -> dict[str, Node]:
    """The first node of each layer by the path of the layer, parents first; models within layers too."""
    found: dict[str, Node] = {}
    for step, node in zip(plan(model).steps, order(model), strict=True):
        if step.path in found:
            continue
        found[step.path] = node
        for inner in models_within(node.layer):
            nodes = {
                path: each for path, each in first_nodes(inner).items() if each.layer.op not in _STAND_INS
            }
            found |= {step.leaf(path): each for path, each in nodes.items()}
    return found


def _chosen(who: str, nodes: dict[str, Node], patterns: Patterns, what: str) -> dict[str, Any]:
    alone = isinstance(patterns, str | re.Pattern) or callable(patterns)
    several: Any = (patterns,) if alone else tuple(patterns)  # type: ignore[arg-type]
    if not several:
        raise ValueError(f"{who}: needs a pattern, got none")
    try:
        return trees.select(nodes, *several, what=what)
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None
