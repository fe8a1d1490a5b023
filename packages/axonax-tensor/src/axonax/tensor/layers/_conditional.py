"""A choice between two functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, PyTree, Shaped


def cond(
    predicate: Bool[ArrayLike, ""] | Callable[[Any], Bool[ArrayLike, ""]],
    on_true: Callable[[Any], Any],
    on_false: Callable[[Any], Any],
    x: PyTree[Shaped[ArrayLike, "*_"]],
) -> PyTree[Shaped[Array, "*_"]]:
    """``on_true(x)`` if the predicate holds, else ``on_false(x)``.

    Only the chosen function runs; under ``vmap`` over the predicate both do, and the results are selected.

    Args:
        predicate: a scalar bool, or a function that gives one of ``x``.
        on_true: a function of ``x``.
        on_false: a function of ``x`` whose result has the same structure, shapes and dtypes.
        x: an array or a tree of arrays.

    Returns:
        what the functions give.

    Raises:
        ValueError: a predicate that is not a scalar bool, or functions whose results differ in structure,
            shape or dtype.

    >>> cond(lambda x: x.sum() > 0, lambda x: x * 2, lambda x: -x, jnp.array([1.0, 2.0])).tolist()
    [2.0, 4.0]
    """
    x = jax.tree.map(jnp.asarray, x)
    holds = jnp.asarray(predicate(x) if callable(predicate) else predicate)
    if holds.shape or holds.dtype != bool:
        raise ValueError(f"cond: predicate must be a scalar bool, got {holds.dtype.name} {holds.shape}")
    yes, no = (jax.eval_shape(branch, x) for branch in (on_true, on_false))
    if _described(yes) != _described(no):
        raise ValueError(
            "cond: on_true and on_false must give the same structure, shapes and dtypes, got "
            f"{_described(yes)[1]} and {_described(no)[1]}"
        )
    return jax.lax.cond(holds, on_true, on_false, x)


def _described(result: Any) -> tuple[Any, list[str]]:
    leaves, structure = jax.tree.flatten(result)
    return structure, [f"{leaf.dtype.name} {leaf.shape}" for leaf in leaves]
