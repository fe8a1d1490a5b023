"""Trees of arrays by path: select, split, join, measure and compare them.

A path names a leaf by the keys, attributes and indices that lead to it: ``"encoder/dense_0/kernel"``. A
number in brackets at the end of a segment marks all below it as stacked: ``"repeat_0[24]/dense_0/kernel"``
holds the kernels of 24 layers, one after the other on its first axis (see `stacked`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import names

PyTree = Any
KeyPath = Sequence[Any]
_MARK = re.compile(r"\[\d+\](?=/|$)")
Pattern = str | re.Pattern[str] | Callable[[str, Any], bool]


def path(keypath: KeyPath) -> str:
    """The path of a JAX key path: its dict keys, attributes and indices, joined by ``/``.

    >>> [path(keys) for keys, _ in jax.tree_util.tree_leaves_with_path({"a": [1, {"b": 2}]})]
    ['a/0', 'a/1/b']
    """
    return jax.tree_util.keystr(tuple(keypath), simple=True, separator="/")


def flatten(tree: PyTree) -> dict[str, Any]:
    """The leaves of ``tree`` by path, in the order of JAX.

    Raises:
        ValueError: two leaves have one path (a dict key with a ``/`` in it can do that).

    >>> flatten({"dense_0": {"kernel": 1, "bias": 2}})
    {'dense_0/bias': 2, 'dense_0/kernel': 1}
    """
    leaves: dict[str, Any] = {}
    for keypath, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = path(keypath)
        if name in leaves:
            raise ValueError(f'flatten: two leaves have the path "{name}"')
        leaves[name] = leaf
    return leaves


def stacked(path: str) -> int:
    """How many axes in front of a leaf count layers: the marks in its path.

    What works by layer (a norm of a kernel, its fans, its factors) works on slices over these axes.

    >>> stacked("dense_0/kernel"), stacked("repeat_0[24]/dense_0/kernel"), stacked("a[6]/b[2]/kernel")
    (0, 1, 2)
    """
    return len(_MARK.findall(path))


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dict with these leaves: the inverse of `flatten` on nested dicts.

    Raises:
        ValueError: a path is both a leaf and a branch.

    >>> unflatten({"dense_0/bias": 2, "dense_0/kernel": 1})
    {'dense_0': {'bias': 2, 'kernel': 1}}
    """
    tree: dict[str, Any] = {}
    branches = {id(tree)}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            if parent not in node:
                node[parent] = {}
                branches.add(id(node[parent]))
            node = node[parent]
            if id(node) not in branches:
                raise ValueError(f'unflatten: "{name}" lies below a path that is a leaf')
        if last in node:
            raise ValueError(f'unflatten: "{name}" is both a leaf and a branch')
        node[last] = leaf
    return tree


def matches(pattern: Pattern, path: str, leaf: Any = None) -> bool:
    """Whether a pattern selects the leaf at ``path``.

    Args:
        pattern: a glob over the whole path (``*`` stands for any characters within a segment, ``**`` for
            any number of segments, none too; all else, brackets too, stands for itself), a compiled regular
            expression that is searched for, or a predicate ``(path, leaf) -> bool``.
        path: where the leaf is.
        leaf: what a predicate is given.

    Raises:
        ValueError: a glob in which ``**`` is not a whole segment.

    >>> matches("encoder/**/kernel", "encoder/kernel"), matches("encoder/*", "encoder/dense_0/kernel")
    (True, False)
    >>> matches("repeat_0[24]/**", "repeat_0[24]/kernel"), matches("repeat_0*/**", "repeat_0[24]/kernel")
    (True, True)
    """
    if isinstance(pattern, str):
        return _glob(pattern).fullmatch(path + "/") is not None
    if isinstance(pattern, re.Pattern):
        return pattern.search(path) is not None
    return bool(pattern(path, leaf))


def select(tree: PyTree, *patterns: Pattern, what: str = "leaf") -> dict[str, Any]:
    """The leaves that at least one pattern selects, by path.

    Args:
        tree: any pytree.
        *patterns: as for `matches`.
        what: what the error calls a leaf.

    Raises:
        ValueError: a pattern selects no leaf; the text lists near paths.

    >>> select({"dense_0": {"kernel": 1, "bias": 2}}, "**/bias")
    {'dense_0/bias': 2}
    """
    leaves = flatten(tree)
    chosen = set()
    for pattern in patterns:
        found = {name for name, leaf in leaves.items() if matches(pattern, name, leaf)}
        if not found:
            raise ValueError(f"{_show(pattern)} selects no {what}: {_near(pattern, list(leaves))}")
        chosen |= found
    return {name: leaf for name, leaf in leaves.items() if name in chosen}


def partition(tree: PyTree, *patterns: Pattern) -> tuple[PyTree, PyTree]:
    """Split a tree into the leaves that at least one pattern selects, and the rest.

    What is not in a part is left out of its nested dicts, with the dicts that this empties; in other
    containers ``None`` stands in its place. `merge` of both parts is ``tree`` again, structure and all.

    Args:
        tree: any pytree.
        *patterns: as for `matches`.

    Returns:
        ``(chosen, rest)``.

    Raises:
        ValueError: a pattern selects no leaf; the text lists near paths.

    >>> partition({"dense_0": {"kernel": 1, "bias": 2}, "dense_1": {"bias": 3}}, "**/bias")
    ({'dense_0': {'bias': 2}, 'dense_1': {'bias': 3}}, {'dense_0': {'kernel': 1}})
    """
    chosen = select(tree, *patterns)
    return (
        _keep(tree, (), lambda name: name in chosen, bare=False)[0],
        _keep(tree, (), lambda name: name not in chosen, bare=True)[0],
    )


def merge(*trees: PyTree) -> PyTree:
    """Join trees whose leaves are at different paths: the inverse of `partition`.

    Args:
        *trees: nested dicts are united; other containers must agree, ``None`` gives way to what the
            other tree has.

    Raises:
        ValueError: two trees have a leaf at one path, or containers that differ.

    >>> merge({"dense_0": {"kernel": 1}}, {"dense_0": {"bias": 2}})
    {'dense_0': {'kernel': 1, 'bias': 2}}
    """
    return functools.reduce(lambda left, right: _merge(left, right, ()), trees, {})


def size(tree: PyTree) -> int:
    """The number of elements in all leaves.

    >>> size({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
    9
    """
    return sum(int(np.prod(np.shape(leaf), dtype=np.int64)) for leaf in jax.tree.leaves(tree))


def nbytes(tree: PyTree) -> int:
    """The bytes of all leaves (arrays, scalars or ``jax.ShapeDtypeStruct``).

    >>> nbytes({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3, jnp.bfloat16)})
    30
    """
    return sum(size(leaf) * _dtype(leaf).itemsize for leaf in jax.tree.leaves(tree))


def diff(a: PyTree, b: PyTree) -> list[str]:
    """What differs between two trees in paths, shapes and dtypes (values are not compared).

    Returns:
        one line a path, in the order of the paths; empty when nothing differs.

    >>> diff({"kernel": jnp.ones(2)}, {"kernel": jnp.ones(3), "bias": jnp.ones(3)})
    ['bias: only in the second, float32[3]', 'kernel: float32[2] in the first, float32[3] in the second']
    """
    first, second = flatten(a), flatten(b)
    lines = []
    for name in sorted({*first, *second}):
        here, there = (describe(side[name]) if name in side else None for side in (first, second))
        if there is None:
            lines.append(f"{name}: only in the first, {here}")
        elif here is None:
            lines.append(f"{name}: only in the second, {there}")
        elif here != there:
            lines.append(f"{name}: {here} in the first, {there} in the second")
    return lines


def describe(leaf: Any) -> str:
    """The dtype and shape of an array, in one word.

    >>> describe(jnp.ones((2, 3)))
    'float32[2, 3]'
    """
    return f"{_dtype(leaf).name}[{', '.join(map(str, np.shape(leaf)))}]"


def outline(tree: PyTree, limit: int = 40) -> list[str]:
    """A line for each leaf, its path with its dtype and shape; after ``limit`` of them, how many more.

    >>> outline({"dense_0": {"kernel": jnp.ones((4, 8)), "bias": jnp.zeros(8)}, "note": "text"})
    ['dense_0/bias float32[8]', 'dense_0/kernel float32[4, 8]', 'note str']
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    lines = [f"{path(keypath)} {_word(leaf)}" for keypath, leaf in leaves[:limit]]
    return lines if len(leaves) <= limit else [*lines, f"... and {len(leaves) - limit} more"]


def _word(leaf: Any) -> str:
    known = hasattr(leaf, "dtype") or isinstance(leaf, bool | int | float | complex)
    return describe(leaf) if known else type(leaf).__name__


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.asarray(leaf).dtype


@functools.lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    parts = []
    for segment in pattern.split("/"):
        if segment == "**":
            parts.append("(?:[^/]*/)*")
        elif "**" in segment:
            raise ValueError(f'pattern "{pattern}": ** must be a whole segment, got "{segment}"')
        else:
            parts.append("[^/]*".join(map(re.escape, segment.split("*"))) + "/")
    return re.compile("".join(parts))


def _show(pattern: Pattern) -> str:
    if isinstance(pattern, str):
        return f'pattern "{pattern}"'
    if isinstance(pattern, re.Pattern):
        return f'pattern re.compile("{pattern.pattern}")'
    return f"predicate {getattr(pattern, '__name__', pattern)!r}"


def _near(pattern: Pattern, paths: list[str], limit: int = 8) -> str:
    text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    if isinstance(text, str):
        if any(name.startswith(f"{text}/") for name in paths):
            return f'did you mean "{text}/**"?'
        near = names.suggestion(text, paths)
        if near.startswith("did you mean"):
            return near
    if len(paths) <= limit:
        return names.suggestion("", paths)
    shown = ", ".join(f'"{name}"' for name in sorted(paths)[:limit])
    return f"known are {shown} and {len(paths) - limit} more"


def _children(node: PyTree) -> tuple[list[tuple[tuple[Any, ...], Any]], Any]:
    """The children of one container with their keys, and the structure that takes them back."""
    return jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda child: child is not node)


def _is_leaf(node: PyTree) -> bool:
    return jax.tree_util.all_leaves([node])


def _keep(
    node: PyTree, keys: tuple[Any, ...], keep: Callable[[str], bool], *, bare: bool
) -> tuple[PyTree, bool]:
    """``node`` with only the leaves to keep, and whether a dict should hold it.

    ``bare`` says so of the subtrees that have no leaf to begin with.
    """
    if _is_leaf(node):
        return (node, True) if keep(path(keys)) else (None, False)
    children, structure = _children(node)
    parts = [_keep(child, (*keys, *key), keep, bare=bare) for key, child in children]
    stays = any(held for _, held in parts) if parts else bare
    if type(node) is not dict:
        return structure.unflatten([part for part, _ in parts]), stays
    held = {key[0].key: part for (key, _), (part, stay) in zip(children, parts, strict=True) if stay}
    return {name: held[name] for name in node if name in held}, stays


def _merge(left: PyTree, right: PyTree, keys: tuple[Any, ...]) -> PyTree:
    if type(left) is dict and type(right) is dict:
        shared = {
            name: _merge(left[name], right[name], (*keys, jax.tree_util.DictKey(name)))
            for name in left
            if name in right
        }
        return {**left, **right, **shared}
    if left is None or right is None:
        return right if left is None else left
    if not _is_leaf(left) and not _is_leaf(right):
        mine, structure = _children(left)
        theirs, other = _children(right)
        if structure == other:
            joined = [
                _merge(one, two, (*keys, *key)) for (key, one), (_, two) in zip(mine, theirs, strict=True)
            ]
            return structure.unflatten(joined)
    if not jax.tree.leaves(left) or not jax.tree.leaves(right):
        return left if jax.tree.leaves(left) else right
    at = f'"{path(keys)}"' if keys else "the root"
    if _is_leaf(left) and _is_leaf(right):
        raise ValueError(f"merge: two trees have a leaf at {at}")
    raise ValueError(f"merge: the containers at {at} differ: {_kind(left)} and {_kind(right)}")


def _kind(node: PyTree) -> str:
    return "a leaf" if _is_leaf(node) else type(node).__name__
