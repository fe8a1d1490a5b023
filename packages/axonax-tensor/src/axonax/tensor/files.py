"""Named trees of arrays to and from safetensors files, with a checksum for every tensor.

The file is plain safetensors: any reader of the format opens it. Its metadata holds the caller's own
entries and two of ours, which `load` verifies: what the tree was, and a SHA-256 of every tensor.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import _safetensors, trees
from axonax.tensor.contracts import ModelState

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """How the tensors of a file fit a tree: paths, and for a misfit what came and what was required."""

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: Mapping[str, str] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether every leaf is in the file with its shape and dtype, and nothing else is."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = [
            *(f"missing: {name}" for name in self.missing),
            *(f"unexpected: {name}" for name in self.unexpected),
            *(f"mismatched: {name}: {why}" for name, why in self.mismatched.items()),
        ]
        return "\n".join([f"{len(self.loaded)} loaded, {len(lines)} do not fit", *lines])


def save(path: str | os.PathLike[str], tree: PyTree, metadata: Mapping[str, str] | None = None) -> None:
    """Write the leaves of a tree under their paths; the file appears whole or not at all.

    Args:
        path: the file, replaced if it is there. Its folder must exist.
        tree: arrays of any shape in any dtype of 8 bits or more, typed PRNG keys too; any pytree.
        metadata: texts to keep with them, for `read_metadata`.

    Raises:
        ValueError: a path that is no safe name (empty, absolute, with ``..``, a backslash or NUL), two
            leaves under one path, a leaf that is no array, a dtype that the format lacks, or metadata
            that are no texts.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save(file, {"dense_0": {"kernel": jnp.ones((2, 3))}})
    >>> load(file)["dense_0"]["kernel"].shape
    (2, 3)
    """
    target = Path(path)
    arrays, impls = {}, {}
    for name, leaf in trees.flatten(tree).items():
        if _is_key(leaf):
            impls[name] = str(jax.random.key_impl(leaf))
        arrays[name] = _as_numpy(name, leaf)
    about = {"kind": "ModelState" if isinstance(tree, ModelState) else "tree", "keys": impls}
    # In the same folder, so that the replacement is one atomic rename.
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(draft, "xb") as stream:
            _safetensors.write(stream, arrays, about, dict(metadata or {}), str(target))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], like: PyTree = None, strict: bool = True) -> PyTree:
    """Read a tree that `save` or another writer of safetensors wrote.

    Args:
        path: the file.
        like: a tree whose structure, shapes and dtypes the result takes (arrays or
            ``jax.ShapeDtypeStruct``; a leaf with a sharding over several devices is placed likewise).
            ``None`` for nested dicts by path, or a `ModelState` if that was saved.
        strict: ``False`` keeps the leaf of ``like`` where the file has none that fits, and ignores what
            ``like`` has not; `compare` says which.

    Returns:
        the tree with JAX arrays; NumPy arrays where ``like`` has them, and for 64-bit tensors that JAX
        would cut to 32 bits.

    Raises:
        ValueError: the file is damaged or not safetensors, or does not fit ``like``: one error lists all
            that is missing, unexpected or mismatched.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save(file, {"kernel": jnp.ones((2, 3))})
    >>> load(file, like={"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}, strict=False)["bias"].tolist()
    [0.0, 0.0]
    """
    contents = _safetensors.Contents(path)
    if like is None:
        return _nested(contents)
    report = _compare(contents, like)
    if strict and not report.fits:
        raise ValueError(f"{path} does not fit the tree: {report}")
    taken = set(report.loaded)

    def restore(keypath: trees.KeyPath, leaf: Any) -> Any:
        name = trees.path(keypath)
        return _restore(contents, name, leaf) if name in taken else leaf

    return jax.tree_util.tree_map_with_path(restore, like)


def compare(path: str | os.PathLike[str], like: PyTree) -> LoadReport:
    """How the tensors of a file fit a tree; reads the header alone.

    Args:
        path: the file.
        like: as for `load`.

    Returns:
        the paths that `load` would take, and those that are missing, unexpected or mismatched.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save(file, {"kernel": jnp.ones((2, 3))})
    >>> print(compare(file, {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}))
    0 loaded, 2 do not fit
    missing: bias
    mismatched: kernel: float32[2, 3] in the file, float32[3, 2] required
    """
    return _compare(_safetensors.Contents(path), like)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that were given to `save`.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save(file, {"kernel": jnp.ones((2, 3))}, {"epochs": "5"})
    >>> read_metadata(file)
    {'epochs': '5'}
    """
    return _safetensors.Contents(path).metadata


def _nested(contents: _safetensors.Contents) -> PyTree:
    leaves = {name: _restore(contents, name) for name in contents.specs}
    try:
        found = trees.unflatten(leaves)
    except ValueError as error:
        raise ValueError(f"{contents.path} cannot be read as nested dicts: {error}") from error
    is_state = contents.kind == "ModelState" and set(found) <= {"params", "frozen", "buffers"}
    return ModelState(**found) if is_state else found


def _compare(contents: _safetensors.Contents, like: PyTree) -> LoadReport:
    wanted = trees.flatten(like)
    mismatched = {}
    for name in sorted(set(wanted) & set(contents.specs)):
        came, required = _describe(contents, name), trees.describe(wanted[name])
        if came != required:
            mismatched[name] = f"{came} in the file, {required} required"
    return LoadReport(
        loaded=tuple(sorted(set(wanted) & set(contents.specs) - set(mismatched))),
        missing=tuple(sorted(set(wanted) - set(contents.specs))),
        unexpected=tuple(sorted(set(contents.specs) - set(wanted))),
        mismatched=mismatched,
    )


def _describe(contents: _safetensors.Contents, name: str) -> str:
    """`trees.describe` of what `_restore` returns, from the header alone."""
    spec = contents.specs[name]
    array = jax.ShapeDtypeStruct(spec.shape, spec.dtype)  # type: ignore[no-untyped-call]
    impl = contents.keys.get(name)
    return trees.describe(jax.eval_shape(lambda data: _wrap(data, impl), array) if impl else array)


def _restore(contents: _safetensors.Contents, name: str, like: Any = None) -> Any:
    array = contents.read(name)
    impl = contents.keys.get(name)
    if impl:
        return _wrap(array, impl)
    narrowed = jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype
    if narrowed or isinstance(like, np.ndarray | np.generic):
        return array
    sharding = getattr(like, "sharding", None)
    if sharding is not None and len(sharding.device_set) > 1:
        return jax.device_put(array, sharding)
    return jnp.asarray(array)


def _wrap(data: Any, impl: str) -> Any:
    return jax.random.wrap_key_data(data, impl=impl)


def _as_numpy(name: str, leaf: Any) -> np.ndarray:
    if _is_key(leaf):
        return np.asarray(jax.random.key_data(leaf))
    if isinstance(leaf, bool | int | float):
        return np.asarray(jnp.asarray(leaf))
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or dtype.kind in "OSUMm":
        raise ValueError(f'save: "{name}" must be an array of numbers, got {dtype or type(leaf).__name__}')
    return np.asarray(leaf)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
