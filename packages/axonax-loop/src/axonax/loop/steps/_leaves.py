"""Which leaves of a model are trained, which are arrays beside them, and which are no arrays at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import trees
from axonax.tensor.contracts import ModelState

PyTree = Any
_ABSENT = object()
_ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


def never(path: str, leaf: Any) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Division:
    """The trained leaves of a tree and all others, told apart once."""

    structure: Any
    fixed: tuple[Any, ...]

    def whole(self, free: PyTree) -> PyTree:
        """The tree with these trained leaves."""
        given = iter(jax.tree.leaves(free))
        leaves = [next(given) if each is _ABSENT else each for each in self.fixed]
        return self.structure.unflatten(leaves)

    def free(self, params: PyTree) -> PyTree:
        """The trained leaves of a tree of this structure; ``None`` in place of the others."""
        if all(each is _ABSENT for each in self.fixed):
            return params
        leaves = zip(self.structure.flatten_up_to(params), self.fixed, strict=True)
        return self.structure.unflatten([leaf if each is _ABSENT else None for leaf, each in leaves])


def divide(params: PyTree, frozen: Callable[[str, Any], bool] = never) -> Division:
    """Tell the leaves that are trained from those that are not.

    Trained are arrays of floats (or complex numbers), and Python numbers of that kind but for the attributes
    of modules, which are settings.

    Args:
        params: any pytree.
        frozen: which of these, by path and leaf, are not trained all the same.
    """
    settings = settings_of(params)
    found, structure = jax.tree_util.tree_flatten_with_path(params)
    fixed = []
    for number, (keypath, leaf) in enumerate(found):
        trained = number not in settings and _inexact(leaf)
        if trained and frozen is not never:
            trained = not frozen(trees.path(keypath), leaf)
        fixed.append(_ABSENT if trained else leaf)
    return Division(structure=structure, fixed=tuple(fixed))


def check_trained(free: PyTree, who: str) -> None:
    """Raise unless there is something to train.

    Raises:
        ValueError: there is not.
    """
    if not jax.tree.leaves(free):
        raise ValueError(f"{who}: no parameter is trained: none is an array of floats, or all are frozen")


def settings_of(params: PyTree) -> frozenset[int]:
    """The numbers of the leaves that are no arrays: functions, text, and numbers that are settings."""
    leaves = jax.tree.leaves(params)
    if all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        return frozenset()
    return frozenset(number for number, setting in enumerate(_walk(params, inside=False)) if setting)


def _walk(node: PyTree, inside: bool) -> Iterator[bool]:
    """Whether each leaf is a setting, in the order of the leaves; ``inside`` a module is a number one."""
    if jax.tree_util.all_leaves([node]):
        number = isinstance(node, bool | int | float | complex)
        yield inside if number else not isinstance(node, _ARRAYS)
        return
    for child in jax.tree.leaves(node, is_leaf=lambda each: each is not node):
        yield from _walk(child, inside=not isinstance(node, dict | list | tuple))


def _inexact(leaf: Any) -> bool:
    if isinstance(leaf, bool | int | float | complex):
        return isinstance(leaf, float | complex)
    return isinstance(leaf, _ARRAYS) and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


@jax.tree_util.register_static
class Settings:
    """Leaves that are no arrays, as part of the structure of a tree: compared, never traced."""

    def __init__(self, structure: Any, leaves: tuple[Any, ...]) -> None:
        self._structure, self._leaves = structure, leaves

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Settings) or len(self._leaves) != len(other._leaves):
            return False
        pairs = zip(self._leaves, other._leaves, strict=True)
        return bool(self._structure == other._structure) and all(map(_same, *zip(*pairs, strict=True)))

    def __hash__(self) -> int:
        return hash(self._structure)

    def whole(self, arrays: PyTree) -> PyTree:
        """The tree of which these are the leaves that are no arrays."""
        given = iter(jax.tree.leaves(arrays))
        return self._structure.unflatten([next(given) if each is _ABSENT else each for each in self._leaves])


def without_settings(tree: PyTree) -> tuple[PyTree, Settings | None]:
    """A tree of arrays alone, ``None`` in place of all else, and what else there was, if anything."""
    settings = settings_of(tree)
    if not settings:
        return tree, None
    leaves = jax.tree.leaves(tree)
    structure: Any = jax.tree.structure(tree)
    arrays = [None if number in settings else leaf for number, leaf in enumerate(leaves)]
    others = tuple(leaf if number in settings else _ABSENT for number, leaf in enumerate(leaves))
    return structure.unflatten(arrays), Settings(structure, others)


def with_settings(arrays: PyTree, settings: Settings | None) -> PyTree:
    """The inverse of `without_settings`."""
    return arrays if settings is None else settings.whole(arrays)


def part(model_state: PyTree) -> tuple[PyTree, Any]:
    """The arrays of a model's state, and all else; ``()`` for none."""
    if not isinstance(model_state, ModelState):
        arrays, settings = without_settings(model_state)
        return arrays, () if settings is None else settings
    both = {name: without_settings(getattr(model_state, name)) for name in ("params", "frozen", "buffers")}
    if all(settings is None for _, settings in both.values()):
        return model_state, ()
    arrays = model_state.replace(**{name: each for name, (each, _) in both.items()})
    return arrays, {name: settings for name, (_, settings) in both.items()}


def joined(arrays: PyTree, others: Any) -> PyTree:
    """The inverse of `part`."""
    if isinstance(others, Settings):
        return others.whole(arrays)
    if not others:
        return arrays
    return arrays.replace(**{name: with_settings(getattr(arrays, name), others[name]) for name in others})


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False
