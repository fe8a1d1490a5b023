"""Euclidean norms that neither overflow nor underflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def norms(leaves: Sequence[Any]) -> list[jax.Array]:
    """The Euclidean norm of each leaf: 0 of zeros, infinite where an element is.

    Where each plain sum of squares is well inside the range of its dtype it serves; elsewhere the elements
    are divided by the largest magnitude first, a second pass that only this rare case pays for.
    """
    if not leaves:
        return []
    squares = [jnp.sum(jnp.square(jnp.abs(leaf))) for leaf in leaves]
    normal = jnp.stack([(each > _least(each.dtype)) & jnp.isfinite(each) for each in squares])
    plain, scaled = (
        (lambda _, sums: [jnp.sqrt(each) for each in sums]),
        (lambda full, _: [scaled_norm(leaf) for leaf in full]),
    )
    found: list[jax.Array] = jax.lax.cond(jnp.all(normal), plain, scaled, list(leaves), squares)
    return found


def tree_norms(tree: PyTree) -> PyTree:
    """`norms` of the leaves of a tree, in a tree of its structure."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, norms(leaves))


def global_norm(tree: PyTree) -> jax.Array:
    """The Euclidean norm of all leaves together, in the widest of their dtypes; 0 of an empty tree."""
    found = norms(jax.tree.leaves(tree))
    if not found:
        return jnp.zeros((), jnp.float32)
    widest = jnp.result_type(*found)
    return scaled_norm(jnp.stack([each.astype(widest) for each in found]))


def scaled_norm(leaf: Any, axis: Any = None, *, keepdims: bool = False) -> jax.Array:
    """The norm over ``axis`` by the largest magnitude, in two passes."""
    sizes = jnp.abs(leaf)
    largest = jnp.max(sizes, axis=axis, keepdims=True, initial=0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    total = jnp.sum(jnp.square(over(sizes, scale)), axis=axis, keepdims=keepdims)
    factor = scale if keepdims else jnp.squeeze(scale, axis)
    # The root has no derivative at 0.
    return jnp.where(total > 0, factor * jnp.sqrt(jnp.where(total > 0, total, 1)), total)


def over(leaf: Any, divisor: Any) -> Any:
    """``leaf / divisor`` for a positive divisor whose reciprocal may be too small for a normal number."""
    # XLA multiplies by reciprocals, and takes those of the largest numbers for 0.
    shift = jnp.where(divisor > 1, 0.0625, 16.0).astype(divisor.dtype)
    return (leaf * shift) / (divisor * shift)


def _least(dtype: Any) -> float:
    """A sum of squares of up to a billion elements above this lost nothing to underflow."""
    limits = np.finfo(dtype)
    return float(limits.tiny) / float(limits.eps) * 1e9
