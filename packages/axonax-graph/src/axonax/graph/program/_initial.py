"""The first values of a model's leaves: drawn by path, or given."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.program._infer import Facts, Leaf
from axonax.graph.program._keys import fold_path, fold_words, words
from axonax.tensor import initializers, names, trees
from axonax.tensor.contracts import ModelState

_KINDS = (jnp.integer, jnp.floating, jnp.complexfloating)


def initial_state(facts: Facts, key: Any, given: Any) -> ModelState:
    """All leaves by their first values; those of ``given`` as they are, frozen ones frozen.

    Raises:
        ValueError: the shape of a leaf is not known, its initializer cannot make it, or ``given`` holds
            leaves that the model has not or that do not fit (all are listed).
    """
    taken = {} if given is None else _fitting(facts, given)
    parts: dict[str, dict[str, Any]] = {"params": {}, "frozen": {}, "buffers": {}}
    frozen = trees.flatten(given.frozen) if isinstance(given, ModelState) else {}
    for path, leaf in facts.leaves.items():
        part = "buffers" if not leaf.trained else "frozen" if path in frozen else "params"
        parts[part][path] = taken[path] if path in taken else _first_value(key, path, leaf)
    return ModelState(**{name: trees.unflatten(leaves) for name, leaves in parts.items()})


def _fitting(facts: Facts, given: Any) -> dict[str, Any]:
    """The leaves of ``given`` by path, in the dtypes of the model."""
    if isinstance(given, ModelState):
        leaves = trees.flatten(given.variables) | trees.flatten(given.buffers)
    elif isinstance(given, Mapping):
        found = jax.tree_util.tree_leaves_with_path(
            given, is_leaf=lambda each: isinstance(each, list | tuple)
        )
        leaves = {trees.path(keys): value for keys, value in found}
    else:
        raise TypeError(f"init: initial must be a ModelState or nested dicts, got {type(given).__name__}")
    problems = []
    for path, value in leaves.items():
        leaf = facts.leaves.get(path)
        if leaf is None:
            problems.append(f'"{path}": {names.suggestion(path, facts.leaves)}')
        elif complaint := _misfit(leaf, value):
            problems.append(f'"{path}": {leaf.step} needs {complaint}')
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ValueError(f"init: {len(problems)} of {len(leaves)} initial leaves do not fit:{lines}")
    return {path: jnp.asarray(value, facts.leaves[path].dtype) for path, value in leaves.items()}


def _misfit(leaf: Leaf, value: Any) -> str | None:
    """What a leaf needs and what came, where that does not fit."""
    if not isinstance(value, bool | int | float | complex) and not hasattr(value, "dtype"):
        return f"an array, got {type(value).__name__}"
    if leaf.shape is not None and not _fits(leaf.shape, jnp.shape(value)):
        return f"{leaf.shape}, got {jnp.shape(value)}"
    dtype = jnp.result_type(value)
    lossless = jnp.promote_types(dtype, leaf.dtype)
    same = any(jnp.issubdtype(dtype, kind) and jnp.issubdtype(leaf.dtype, kind) for kind in _KINDS)
    return None if same or lossless == jnp.dtype(leaf.dtype) else f"{leaf.dtype}, got {dtype}"


def _fits(shape: tuple[int | None, ...], got: tuple[int, ...]) -> bool:
    return len(shape) == len(got) and all(size in (None, one) for size, one in zip(shape, got, strict=True))


def _first_value(key: Any, path: str, leaf: Leaf) -> Any:
    if leaf.shape is None or leaf.size is None:
        known = "is unknown" if leaf.shape is None else f"{leaf.shape} is open"
        hint = "pass inputs (arrays, jax.ShapeDtypeStruct or shapes)"
        raise ValueError(f"init: {leaf.step}: the shape of {leaf.name} {known}: {hint}")
    shape = tuple(size for size in leaf.shape if size is not None)
    try:
        if isinstance(leaf.param.initializer, str):
            return _drawn(key, words(path), leaf.param.initializer, shape, leaf.dtype)
        return leaf.param.initial(fold_path(key, path), shape, leaf.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"init: {leaf.step}: {leaf.name} {shape}: {error}") from error


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _drawn(key: Any, words: Any, initializer: str, shape: tuple[int, ...], dtype: str) -> Any:
    """One program for all leaves of one kind and shape; the bits of a leaf do not hang on its neighbours."""
    return initializers.by_name(initializer)(fold_words(key, words), shape, jnp.dtype(dtype))
