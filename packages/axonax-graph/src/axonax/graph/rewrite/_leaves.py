"""Leaves of a state read and written by path, whether they are trained or frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from axonax.graph.data._layer import Layer, Tied, order
from axonax.graph.nodes._node import Node
from axonax.tensor import names, trees
from axonax.tensor.contracts import ModelState


def leaf(who: str, state: ModelState, path: str) -> Any:
    """The parameter at a path.

    Raises:
        ValueError: there is none; the text lists near paths.
    """
    leaves = trees.flatten(state.variables)
    if path not in leaves:
        raise ValueError(f'{who}: the state has no "{path}": {names.suggestion(path, leaves)}')
    return leaves[path]


def with_leaves(state: ModelState, leaves: Mapping[str, Any]) -> ModelState:
    """The state with other parameters at some paths."""

    def one(keypath: Any, value: Any) -> Any:
        return leaves.get(trees.path(keypath), value)

    params, frozen = (jax.tree_util.tree_map_with_path(one, tree) for tree in (state.params, state.frozen))
    return state.replace(params=params, frozen=frozen)


def check_untied(who: str, model: Node, layers: Mapping[Layer, str]) -> None:
    """Refuse layers that share a parameter by a tie: what is done to the one would be done to the other.

    Raises:
        ValueError: there is one.
    """
    for node in order(model):
        for name, each in node.layer.computation.params.items():
            if not isinstance(each.initializer, Tied):
                continue
            for layer in (node.layer, each.initializer.layer):
                if layer in layers:
                    other = f"{node.layer!r} ties its {name} to {each.initializer.layer!r}"
                    raise ValueError(f'{who}: "{layers[layer]}" must not share parameters, but {other}')
