"""What is done for meshes of explicit axes, whose arrays carry their sharding in their type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

PyTree = Any


def partitioned(
    make: Callable[..., optax.GradientTransformation], **numbers: Any
) -> optax.GradientTransformation:
    """``make(**numbers)``, whose products the compiler partitions (see `automatic`)."""

    def act(numbers: dict[str, Any], updates: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        steps: tuple[PyTree, PyTree] = make(**numbers).update(updates, state, params)
        return steps

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        steps: tuple[PyTree, PyTree] = automatic(
            act, numbers, updates, state, params, results=(updates, state)
        )
        return steps

    return optax.GradientTransformation(make(**numbers).init, update)


def automatic(act: Callable[..., Any], *args: Any, results: PyTree) -> Any:
    """``act(*args)``, on explicit axes with its products partitioned by the compiler.

    There a product must be told where its result lies.

    Args:
        act: closes over no array: that would not change its type.
        *args: trees of arrays.
        results: what the results are spread like.
    """
    if not _are_explicit(results):
        return act(*args)
    return jax.sharding.auto_axes(act, out_sharding=_specs(results))(*args)


def by_types(function: Callable[..., Any], params: PyTree) -> Callable[..., Any]:
    """A function of parameters like ``params`` for within `automatic`, itself on the axes as they are."""
    if not _are_explicit(params):
        return function
    explicit: Callable[..., Any] = jax.sharding.explicit_axes(function, in_sharding=(_specs(params),))
    return explicit


def _specs(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.typeof(leaf).sharding.spec, tree)


def _are_explicit(tree: PyTree) -> bool:
    meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(tree)]
    return any(jax.sharding.AxisType.Explicit in mesh.axis_types for mesh in meshes)
