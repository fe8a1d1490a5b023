"""The same graph with other layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import Applied, Layer, Tied, order
from axonax.graph.data._param import Param


def swapped(node: Any, table: Mapping[Layer, Layer]) -> Any:
    """The node with the layers of ``table`` in the place of others, wherever they stand.

    Ties to them and models within layers are included. An activation that a new layer brings follows it.
    """
    new: dict[Layer, Layer] = {}
    found: dict[Any, Any] = {}
    for each in order(node):
        parents = tuple(found[parent] for parent in each.parents)
        layer = _new(each.layer, table, new)
        if layer is each.layer:
            found[each] = each.over(parents)
            continue
        found[each] = replace(each, layer=layer, parents=parents)
        then = layer.computation.then
        if then is not None and then is not each.layer.computation.then:
            found[each] = then(found[each])
    return found[node]


def _new(layer: Layer, table: Mapping[Layer, Layer], new: dict[Layer, Layer]) -> Layer:
    """What a layer becomes: parameters are tied to the new layers where they were to the old."""
    if layer not in new:
        made = table.get(layer, layer)
        changes = {name: _retied(value, table, new) for name, value in made.arguments.items()}
        changes = {name: value for name, value in changes.items() if value is not made.arguments[name]}
        new[layer] = remade(made, **changes) if changes else made
    return new[layer]


def _retied(value: Any, table: Mapping[Layer, Layer], new: dict[Layer, Layer]) -> Any:
    """An argument with the new layers in its ties; itself where there is nothing to change."""
    if isinstance(value, Tied):
        layer = _new(value.layer, table, new)
        return value if layer is value.layer else replace(value, layer=layer)
    if isinstance(value, Param):
        initializer = _retied(value.initializer, table, new)
        return value if initializer is value.initializer else replace(value, initializer=initializer)
    if isinstance(value, Applied):  # a model within the layer
        return swapped(value, table)
    if isinstance(value, Mapping):
        parts = {key: _retied(each, table, new) for key, each in value.items()}
        return value if all(parts[key] is value[key] for key in parts) else parts
    return value


def remade(layer: Layer, **changes: Any) -> Layer:
    """The layer of the same call with some arguments changed; name, block, policy and line stay.

    So does the activation that follows, unless ``activation`` is among the changes.

    Raises:
        TypeError: an argument that the builder does not have; the text lists near matches.
        ValueError: one that it does not take.
    """
    if layer.builder is None:
        raise TypeError(f"{layer!r} was made by no builder")
    made = layer.builder(**{**layer.arguments, **changes})
    then = made.computation.then if "activation" in changes else layer.computation.then
    return replace(
        made,
        computation=replace(made.computation, then=then),
        name=layer.name,
        scope=layer.scope,
        policy=layer.policy,
        where=layer.where,
    )
