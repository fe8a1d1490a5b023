"""Small values as JSON: numbers to the bit, text, and arrays, which go beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import trees

PyTree = Any
_PLAIN = bool | int | float | str


def named(prefix: str, tree: PyTree) -> dict[str, Any]:
    """The arrays and numbers of a tree by name: the prefix and the path."""
    return {
        f"{prefix}/{path}" if path else prefix: leaf
        for path, leaf in trees.flatten(tree).items()
        if is_array(leaf)
    }


def is_array(leaf: Any) -> bool:
    """Whether a leaf is what a checkpoint keeps: an array, a key or a number."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)


def restored(prefix: str, like: PyTree, arrays: Mapping[str, Any]) -> PyTree:
    """The tree with what stands in ``arrays`` under its names; leaves that are no arrays stay.

    A Python number comes back as one, a NumPy array as one, all else as a JAX array.
    """

    def leaf(keypath: trees.KeyPath, old: Any) -> Any:
        path = trees.path(keypath)
        name = f"{prefix}/{path}" if path else prefix
        if not is_array(old):
            return old
        new = arrays[name]
        if isinstance(old, bool | int | float | complex):
            return np.asarray(new).item()
        if isinstance(old, np.ndarray | np.generic) or jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
            return new
        return jnp.asarray(new)

    return jax.tree_util.tree_map_with_path(leaf, like)


def misfits(prefix: str, like: PyTree, arrays: Mapping[str, Any]) -> list[str]:
    """What keeps saved arrays from fitting a tree, a line each: missing, unexpected, of another type."""
    wanted = named(prefix, like)
    found = {name: each for name, each in arrays.items() if name == prefix or name.startswith(f"{prefix}/")}
    lines = []
    for name in sorted({*wanted, *found}):
        if name not in found:
            lines.append(f"{name}: not in the checkpoint, {trees.describe(wanted[name])} required")
        elif name not in wanted:
            lines.append(f"{name}: {trees.describe(found[name])} in the checkpoint, not required")
        elif not _alike(wanted[name], found[name]):
            came, required = trees.describe(found[name]), trees.describe(wanted[name])
            lines.append(f"{name}: {came} in the checkpoint, {required} required")
    return lines


def _alike(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, bool | int | float | complex):
        return np.ndim(found) == 0
    return bool(wanted.dtype == found.dtype) and bool(np.shape(wanted) == np.shape(found))


def encode(tree: PyTree, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """A tree of numbers, text and arrays as JSON; its arrays are added to ``arrays`` under the prefix.

    Raises:
        TypeError: a leaf is something else.
    """
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves: list[Any] = []
    for number, (keypath, leaf) in enumerate(found):
        if isinstance(leaf, _PLAIN):
            leaves.append(leaf)
        elif isinstance(leaf, jax.Array | np.ndarray | np.generic):
            arrays[f"{prefix}/{number}"] = leaf
            leaves.append({"array": f"{prefix}/{number}"})
        else:
            where = f"{prefix} {trees.path(keypath)}".strip()
            raise TypeError(f"{where}: must be a number, text or an array, got {type(leaf).__name__}")
    return {"structure": str(structure), "leaves": leaves}


def decode(saved: Mapping[str, Any], like: PyTree, arrays: Mapping[str, Any]) -> PyTree:
    """The tree that `encode` was given, in the containers of ``like``.

    Raises:
        ValueError: ``like`` has another structure.
    """
    structure: Any = jax.tree.structure(like)
    if str(structure) != saved["structure"]:
        raise ValueError(f"was {saved['structure']}, is now {structure}")
    leaves = [arrays[leaf["array"]] if isinstance(leaf, dict) else leaf for leaf in saved["leaves"]]
    return structure.unflatten(leaves)


def encode_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of history as JSON; arrays within it as nested lists with their dtype."""
    return {name: jax.tree.map(_plain, value) for name, value in row.items()}


def decode_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row that `encode_row` was given."""

    def value(leaf: Any) -> Any:
        return np.asarray(leaf["values"], leaf["dtype"]) if _is_saved_array(leaf) else leaf

    return {name: jax.tree.map(value, each, is_leaf=_is_saved_array) for name, each in row.items()}


def _plain(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray | jax.Array):
        return {"dtype": str(leaf.dtype), "values": np.asarray(leaf).tolist()}
    return leaf.item() if isinstance(leaf, np.generic) else leaf


def _is_saved_array(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"dtype", "values"}
