"""The dtypes that an optimizer computes in: half precision is lifted to float32, the rest stays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from axonax.tensor import trees
from axonax.tensor.precision import promoted

PyTree = Any
P = ParamSpec("P")
R = TypeVar("R")
_DOUBLE, _DOUBLE_COMPLEX = jnp.dtype(jnp.float64), jnp.dtype(jnp.complex128)


def widening(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` by JAX's table of promotion even where the strict one is on.

    For what mixes dtypes on purpose, as Optax does: a share to the power of a count, a rate times a leaf.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **options: P.kwargs) -> R:
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **options)

    return wrapped


def compute_dtype(leaf: Any) -> Any:
    """The dtype to compute in for a leaf: float32 at least; ``None`` for integers, bools and keys."""
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.inexact):
        return None
    return promoted(dtype, jnp.float32)


def check_arrays(owner: str, tree: PyTree) -> None:
    """Raise unless all leaves are arrays or numbers.

    Raises:
        ValueError: one is not, such as a function in a model; the text names it.
    """
    for leaf in jax.tree.leaves(tree):
        try:
            jnp.result_type(leaf)
        except TypeError:
            path = next(path for path, each in trees.flatten(tree).items() if each is leaf)
            raise ValueError(
                f'{owner}: "{path}" is no array but {type(leaf).__name__}: keep it out of the parameters'
            ) from None


def lift(tree: PyTree, params: PyTree | None = None) -> PyTree:
    """``tree`` in the compute dtypes of ``params`` (of its own leaves without ``params``).

    Where ``tree`` has ``None`` for an array of ``params``, zeros stand in: no gradient. Without ``params``
    they stand in for a ``jax.ShapeDtypeStruct``, so that a state can be made of shapes alone.

    Raises:
        ValueError: structures or shapes differ.
    """
    if params is None:
        return jax.tree.map(_lifted, tree)

    def one(leaf: Any, param: Any) -> Any:
        if param is None:
            return leaf
        dtype = compute_dtype(param)
        if leaf is not None and jnp.shape(leaf) != jnp.shape(param):
            raise ValueError(f"shapes {jnp.shape(leaf)} and {jnp.shape(param)} differ")
        return jnp.zeros(jnp.shape(param), dtype) if leaf is None else jnp.asarray(leaf, dtype)

    return jax.tree.map(one, tree, params, is_leaf=_is_none)


def _lifted(leaf: Any) -> jax.Array:
    dtype = compute_dtype(leaf)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jnp.zeros(leaf.shape, dtype, device=leaf.sharding)
    return jnp.asarray(leaf, dtype)


def lift_gradients(owner: str, updates: PyTree, params: PyTree | None) -> PyTree:
    """`lift`, with an error that lists the leaves in which gradients and parameters differ.

    Raises:
        ValueError: they do.
    """
    try:
        return lift(updates, params)
    except ValueError as error:
        listed = "\n  ".join(trees.diff(updates, params)) or "the containers differ"
        raise ValueError(
            f"{owner}: the gradients (first) do not fit the parameters (second):\n  {listed}"
        ) from error


def lower(steps: PyTree, gradients: PyTree, params: PyTree | None) -> PyTree:
    """``steps`` in the dtypes of ``params`` (of ``gradients`` without), ``None`` where no gradient came."""
    targets = gradients if params is None else params

    def one(gradient: Any, step: Any, target: Any) -> Any:
        return None if gradient is None else jnp.asarray(step, jnp.result_type(target))

    return jax.tree.map(one, gradients, steps, targets, is_leaf=_is_none)


def narrow(updates: PyTree, params: PyTree | None) -> PyTree:
    """``updates`` in the dtypes of ``params``, if there are any; what is no floating-point array stays."""

    def one(leaf: Any, param: Any) -> Any:
        if leaf is None or compute_dtype(leaf) is None or compute_dtype(param) is None:
            return leaf
        return jnp.asarray(leaf, jnp.result_type(param))

    return updates if params is None else jax.tree.map(one, updates, params, is_leaf=_is_none)


def like(new: Any, old: Any) -> Any:
    """``new`` in the dtype of ``old``, so that a state keeps its types in a scan; keys stay keys."""
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return new
    return jax.lax.convert_element_type(new, old.dtype)


def widest(tree: PyTree) -> Any:
    """The dtype that scalars need to keep the precision of the widest leaf: float32 or float64."""
    wide = {jnp.result_type(leaf) for leaf in jax.tree.leaves(tree)} & {_DOUBLE, _DOUBLE_COMPLEX}
    return _DOUBLE if wide else jnp.dtype(jnp.float32)


def _is_none(leaf: Any) -> bool:
    return leaf is None
