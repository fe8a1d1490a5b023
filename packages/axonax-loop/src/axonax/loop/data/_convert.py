"""Batches of tensors and of lists made into batches of arrays, without importing what they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from axonax.loop.data._batch import KEYS
from axonax.tensor import trees

PyTree = Any
_ARRAYS = (np.ndarray, np.generic, jax.Array)
_NUMBERS = (bool, int, float, complex)


def converter(first: PyTree, *, parts: bool) -> Callable[[PyTree], PyTree] | None:
    """What makes batches like the first one into arrays; ``None`` where they are arrays already.

    Args:
        first: a batch.
        parts: a list or tuple that is the whole batch holds inputs, targets and weights.
    """
    leaves = jax.tree.leaves(first, is_leaf=_is_listed)
    if all(isinstance(leaf, _ARRAYS + _NUMBERS) for leaf in leaves):
        return None
    return lambda batch: converted(batch, parts=parts)


def converted(batch: PyTree, *, parts: bool = False) -> PyTree:
    """A batch with arrays in place of tensors and of lists of numbers.

    A tensor is what has ``detach`` and ``numpy`` (torch), ``__dlpack__`` or ``__array__``; memory is shared
    where it can be. A list of numbers, or of lists of numbers, becomes one array; a list of arrays stays one.

    Raises:
        TypeError: a leaf is none of these; the text names it.
        ValueError: a ragged list; the text names it.

    >>> converted(([[1, 2], [3, 4]], [0.5, 0.25]))
    (array([[1, 2],
           [3, 4]], dtype=int32), array([0.5 , 0.25], dtype=float32))
    """
    if parts and type(batch) in (list, tuple) and len(batch) <= len(KEYS):
        named = zip(KEYS, batch, strict=False)
        return type(batch)(_converted(part, name) for name, part in named)
    return _converted(batch, "")


def _converted(tree: PyTree, prefix: str) -> PyTree:
    found, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_listed)
    whole: Any = structure
    return whole.unflatten([_array(leaf, path, prefix) for path, leaf in found])


def _is_listed(node: Any) -> bool:
    """Whether a node is a list of what no container holds: numbers, text or further lists of them."""
    while isinstance(node, list) and node:
        node = node[0]
        if isinstance(node, (str, bytes, np.generic, *_NUMBERS)):
            return True
    return False


def _array(leaf: Any, path: Any, prefix: str) -> Any:
    if isinstance(leaf, _ARRAYS + _NUMBERS):
        return leaf
    name = "/".join(part for part in (prefix, trees.path(path)) if part) or "the batch"
    if isinstance(leaf, list):
        return _of_list(leaf, name)
    array = _of_tensor(leaf, name)
    if array is None or array.dtype.kind not in "biufcV":
        raise TypeError(
            f"{name} must be an array of numbers, got {type(leaf).__name__} {leaf!r:.40}: turn it into one "
            "where the data is read"
        )
    return array


def _of_list(leaf: list[Any], name: str) -> np.ndarray:
    try:
        array = np.asarray(leaf)
    except ValueError:
        raise ValueError(
            f"{name} is a ragged list, with rows of {_lengths(leaf)} values: pad them to one length"
        ) from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be numbers, got a list of {leaf!r:.40}: encode it as numbers first")
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def _lengths(leaf: list[Any]) -> str:
    """The different lengths within a ragged list, at its outermost ragged level."""
    rows = [row for row in leaf if isinstance(row, list)]
    counts = sorted({len(row) for row in rows})
    if len(counts) == 1 and len(rows) == len(leaf):
        return _lengths([each for row in rows for each in row])
    listed = [str(count) for count in counts[:4]]
    if len(rows) < len(leaf):
        listed.append("single")
    return " and ".join(listed) if len(listed) < 3 else f"{', '.join(listed[:-1])} or {listed[-1]}"


def _of_tensor(leaf: Any, name: str) -> np.ndarray | None:
    """The array behind a tensor; ``None`` where a leaf offers none."""
    try:
        if hasattr(leaf, "detach"):
            leaf = leaf.detach()
        if hasattr(leaf, "cpu"):
            leaf = leaf.cpu()
        if hasattr(leaf, "numpy"):
            return _by_numpy(leaf)
        if hasattr(leaf, "__dlpack__"):
            return np.asarray(jax.dlpack.from_dlpack(leaf))
        return np.asarray(leaf) if hasattr(leaf, "__array__") else None
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name}: a {type(leaf).__name__} gives no array: {error}") from error


def _by_numpy(leaf: Any) -> np.ndarray:
    try:
        return np.asarray(leaf.numpy())
    except TypeError:
        # NumPy alone knows no bfloat16.
        if not hasattr(leaf, "__dlpack__"):
            raise
        whole = leaf.contiguous() if hasattr(leaf, "contiguous") else leaf
        return np.asarray(jax.dlpack.from_dlpack(whole))
