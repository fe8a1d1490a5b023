"""A smaller batch filled up to the rows of the others, so that all have one shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

PyTree = Any
MODES = ("keep", "drop", "mask")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Padded:
    """A batch, and which of its rows count: booleans ``where (B,)``; the others repeat the first row."""

    batch: PyTree
    where: Any


def padding(first: PyTree, count: int, refuse: Callable[[PyTree], None]) -> Callable[[PyTree], Padded]:
    """What fills batches up to the rows of the first, on the host.

    Args:
        first: a batch that is full.
        count: its rows. Leaves with another leading size are no rows, and stay as they are.
        refuse: raises for a batch that is not like the first but for its number of rows.

    Returns:
        a function of a batch.
    """
    leaves, structure = _flat(first)
    places = [place for place, leaf in enumerate(leaves) if np.shape(leaf)[:1] == (count,)]
    whole = np.ones(count, bool)

    def pad(batch: PyTree) -> Padded:
        leaves, now = _flat(batch)
        if now != structure:
            refuse(batch)
        sizes = {np.shape(leaves[place])[:1] for place in places}
        if sizes == {(count,)}:
            return Padded(batch=batch, where=whole)
        smaller = sizes - {(count,)}
        if len(smaller) > 1 or max(smaller, default=()) > (count,):
            refuse(batch)
        (rows,) = smaller.pop()
        for place in places:
            if len(leaves[place]) == rows:
                leaves[place] = _filled(np.asarray(leaves[place]), count)
        return Padded(batch=now.unflatten(leaves), where=np.arange(count) < rows)

    return pad


def _flat(tree: PyTree) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree)


def _filled(leaf: np.ndarray, count: int) -> np.ndarray:
    into = np.empty((count, *leaf.shape[1:]), leaf.dtype)
    into[: len(leaf)] = leaf
    into[len(leaf) :] = leaf[0] if len(leaf) else 0
    return into


def gathered(data: PyTree, chosen: Any) -> PyTree:
    """The batch of the rows of ``data`` by their numbers, which may be padded."""
    if isinstance(chosen, Padded):
        return Padded(batch=gathered(data, chosen.batch), where=chosen.where)
    return jax.tree.map(lambda leaf: leaf.at[chosen].get(mode="clip"), data)
