"""Batches: their parts, their rows, and whether one is like the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.data._remainder import Padded
from axonax.tensor import names, trees

PyTree = Any
KEYS = ("inputs", "targets", "weights")
_TARGETS = ("label", "labels", "target", "targets", "y", "class", "fine_label")


class Batch(NamedTuple):
    """A batch by its parts.

    ``weights`` are ``None`` where all rows weigh the same; ``where (B,)`` is false for rows that were added
    to a smaller batch, and ``None`` of a batch that is as it came.
    """

    inputs: PyTree
    targets: PyTree
    weights: Any = None
    where: Any = None

    @property
    def counting(self) -> Any:
        """The weights, with 0 for rows that were added."""
        return masked(self.weights, self.where)


class BatchChangedError(ValueError):
    """A batch is not like the first one of the run."""


def read(batch: Any) -> Batch:
    """The parts of ``(inputs, targets)``, ``(inputs, targets, weights)`` or a dict with those keys.

    Raises:
        ValueError: a tuple of another length, or a dict with other keys; the text says how to name them.
        TypeError: neither a tuple nor a dict.
    """
    if isinstance(batch, Padded):
        return read(batch.batch)._replace(where=batch.where)
    if isinstance(batch, Mapping):
        for name in batch:
            if name not in KEYS:
                near = names.suggestion(str(name), KEYS)
                raise ValueError(f'unknown key of a batch "{name}": {near}{_line(list(batch))}')
        for name in KEYS[:2]:
            if name not in batch:
                raise ValueError(f'a batch must have the keys "inputs" and "targets", got {sorted(batch)}')
        return Batch(**batch)
    if not isinstance(batch, tuple | list):
        raise TypeError(
            "a batch must be (inputs, targets), (inputs, targets, weights) or a dict with those keys, "
            f"got {type(batch).__name__}"
        )
    if len(batch) not in (2, 3):
        raise ValueError(
            f"a batch must be (inputs, targets) or (inputs, targets, weights), got {len(batch)} parts"
        )
    return Batch(*batch)


def masked(weights: Any, where: Any) -> Any:
    """Weights that are 0 where ``where (B,)`` is false; either may be ``None``."""
    if where is None:
        return weights
    if weights is None:
        return jnp.asarray(where, jnp.float32)
    weights = jnp.asarray(weights)
    return jnp.where(jnp.reshape(where, (-1,) + (1,) * (weights.ndim - 1)), weights, 0)


def _line(keys: list[Any]) -> str:
    """The call that reads batches with these keys, for an error; nothing for a single key."""
    if len(keys) < 2 or not all(isinstance(key, str) for key in keys):
        return ""
    target = next((key for key in keys if key.lower() in _TARGETS), keys[-1])
    others = [key for key in keys if key != target]
    inputs = f'"{others[0]}"' if len(others) == 1 else "[" + ", ".join(f'"{key}"' for key in others) + "]"
    return f', or name the columns: loop.columns(data, inputs={inputs}, targets="{target}")'


def rows(tree: PyTree) -> int:
    """The leading size of the first leaf that has one; 1 if none has."""
    return next((np.shape(leaf)[0] for leaf in jax.tree.leaves(tree) if np.ndim(leaf)), 1)


def count(batch: Batch) -> int:
    """The rows of a batch: those of its targets, or of its inputs where it has none."""
    return rows(batch.inputs if batch.targets is None else batch.targets)


def check_arrays(batch: PyTree) -> None:
    """Raise unless every leaf is a number or an array of numbers.

    Raises:
        TypeError: a leaf is something else; the text names it.
    """
    for name, leaf in trees.flatten(batch).items():
        if isinstance(leaf, jax.Array):
            continue
        if np.asarray(leaf).dtype.kind not in "biufcV":
            raise TypeError(
                f"{_label(name)} must be an array of numbers, got {type(leaf).__name__} {leaf!r:.40}"
            )


def check_weights(weights: PyTree, who: str) -> None:
    """Raise unless concrete weights are finite, not below 0 and not all 0.

    Raises:
        ValueError: they are not; the text gives the first that is wrong.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(weights)]
    for leaf in leaves:
        values = leaf if leaf.dtype.kind in "biuf" else leaf.astype(np.float32)
        wrong = values[~(np.isfinite(values) & (values >= 0))]
        if wrong.size:
            raise ValueError(f"{who} must be finite and at least 0, got {wrong[0]}")
    if any(leaf.size for leaf in leaves) and not any(leaf.any() for leaf in leaves):
        raise ValueError(f"{who} are all 0: no row would count")


def check_rows(batch: Batch) -> None:
    """Raise unless all targets and weights have a leading axis of one size.

    Raises:
        ValueError: one of them has no leading axis, or another size; the text names it.
    """
    count = rows(batch.targets)
    for name, leaf in trees.flatten(batch._replace(inputs=None)).items():
        shape = np.shape(leaf)
        if not shape or shape[0] != count:
            raise ValueError(f"{name} must have {count} rows on the leading axis, got shape {shape}")


class Signature(NamedTuple):
    """The structure, shapes and dtypes of a batch; hashable."""

    structure: Any
    paths: tuple[str, ...]
    leaves: tuple[tuple[tuple[int, ...], str], ...]


def signature(batch: PyTree) -> Signature:
    """The signature of a batch of arrays or tracers."""
    found, structure = jax.tree_util.tree_flatten_with_path(batch)
    avals = [jax.typeof(leaf) for _, leaf in found]
    paths = tuple(_label(trees.path(keypath)) for keypath, _ in found)
    return Signature(structure, paths, tuple((aval.shape, str(aval.dtype)) for aval in avals))


def check_like(first: Signature, batch: PyTree) -> None:
    """Raise unless a batch is like the first; fewer rows in all leaves alike are fine.

    Raises:
        BatchChangedError: it is not; the text names the leaf, what it was and what it is.
    """
    now = signature(batch)
    if now == first:
        return
    if now.structure != first.structure:
        raise BatchChangedError(_structure_change(first, now))
    counts = {}
    for path, (was, was_dtype), (shape, dtype) in zip(first.paths, first.leaves, now.leaves, strict=True):
        smaller = was and shape[1:] == was[1:] and len(shape) == len(was) and shape[0] < was[0]
        if dtype != was_dtype or (shape != was and not smaller):
            raise BatchChangedError(f"{path} was {was_dtype}{list(was)} and is now {dtype}{list(shape)}")
        if was and was[0] == rows_of(first):
            counts[path] = shape[0]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{path} {count}" for path, count in counts.items())
        raise BatchChangedError(f"the leaves now differ in their number of rows: {listed}")


def rows_of(first: Signature) -> int:
    """The leading size of the first leaf of a signature that has one."""
    return next((shape[0] for shape, _ in first.leaves if shape), 1)


def _structure_change(first: Signature, now: Signature) -> str:
    missing = sorted({*first.paths} - {*now.paths})
    extra = sorted({*now.paths} - {*first.paths})
    parts = [
        f"without {', '.join(missing)}" if missing else "",
        f"with new {', '.join(extra)}" if extra else "",
    ]
    what = " and ".join(part for part in parts if part) or f"now {now.structure}, was {first.structure}"
    return f"the batch changed its structure: {what}"


def _label(path: str) -> str:
    return path or "the batch"
