"""The same graph with other layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import Layer, Tied, order


def swapped(node: Any, table: Mapping[Layer, Layer]) -> Any:
    """The node with the layers of ``table`` in the place of others, wherever they stand, ties included."""
    every = dict.fromkeys(each.layer for each in order(node))
    new = {layer: _retied(table.get(layer, layer), table) for layer in every}
    found: dict[Any, Any] = {}
    for each in order(node):
        parents = tuple(found[parent] for parent in each.parents)
        layer = new[each.layer]
        found[each] = (
            each.over(parents) if layer is each.layer else replace(each, layer=layer, parents=parents)
        )
    return found[node]


def _retied(layer: Layer, table: Mapping[Layer, Layer]) -> Layer:
    """A layer whose parameters are tied to the new layers where they were to the old."""
    changes = {
        name: replace(value, layer=table[value.layer])
        for name, value in layer.arguments.items()
        if isinstance(value, Tied) and value.layer in table
    }
    return remade(layer, **changes) if changes else layer


def remade(layer: Layer, **changes: Any) -> Layer:
    """The layer of the same call with some arguments changed; name, block, policy and line stay.

    Raises:
        TypeError: an argument that the builder does not have; the text lists near matches.
        ValueError: one that it does not take.
    """
    if layer.builder is None:
        raise TypeError(f"{layer!r} was made by no builder")
    made = layer.builder(**{**layer.arguments, **changes})
    return replace(
        made,
        computation=replace(made.computation, then=layer.computation.then),
        name=layer.name,
        scope=layer.scope,
        policy=layer.policy,
        where=layer.where,
    )
