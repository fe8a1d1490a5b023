"""The safetensors format: a header of names, dtypes, shapes and offsets, then the bytes."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np
import safetensors

_CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
_NAMES = {code: name for name, code in _CODES.items()}
# Two entries, so that damage to one of their names does not pass for a file of another writer.
_ABOUT, _DIGESTS = "axonax", "axonax.sha256"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What the header says of one tensor; ``start`` counts from the beginning of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    digest: Any  # None in a file of another writer

    @property
    def length(self) -> int:
        """The tensor's bytes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


def write(
    stream: BinaryIO,
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
    metadata: dict[str, str],
    at: str,
) -> None:
    """Write named arrays with their checksums; ``at`` names the file in errors."""
    _check_metadata(metadata, at)
    header: dict[str, Any] = {}
    digests, chunks, end = {}, [], 0
    for name in _sorted(arrays, at):
        array = np.asarray(arrays[name], arrays[name].dtype.newbyteorder("<"), order="C")
        data = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
        code = _CODES[array.dtype.name]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [end, end + len(data)]}
        digests[name] = _digest(name, code, array.shape, data)
        end += len(data)
        chunks.append(data)
    about = {**about, "sha256": _text_digest(about, metadata)}
    ours = {_ABOUT: json.dumps(about, sort_keys=True), _DIGESTS: json.dumps(digests, sort_keys=True)}
    text = json.dumps({"__metadata__": {**metadata, **ours}, **header}).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for data in chunks:
        stream.write(data)


class Contents:
    """The verified header of a file, and its tensors on demand."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        header, start = _read_header(path)
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        about, digests = self.metadata.pop(_ABOUT, None), self.metadata.pop(_DIGESTS, None)
        if (about is None) != (digests is None):
            raise ValueError(f"{path} is damaged: half of its checksums are gone")
        self.kind, self.keys = self._verified(about)
        sums = dict.fromkeys(header) if digests is None else self._json(digests)
        if set(sums) != set(header):
            odd = ", ".join(sorted(set(sums) ^ set(header)))
            raise ValueError(f"{path} is damaged: tensors and checksums differ in {odd}")
        for name in header:
            _check_name(name, str(path))
        self.specs = {name: self._spec(name, entry, start, sums[name]) for name, entry in header.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor of that name.

        Raises:
            ValueError: its bytes do not have the checksum that was written with them.
        """
        spec = self.specs[name]
        with open(self.path, "rb") as stream:
            stream.seek(spec.start)
            data = bytearray(stream.read(spec.length))
        code = _CODES[spec.dtype.name]
        if spec.digest is not None and spec.digest != _digest(name, code, spec.shape, data):
            raise ValueError(f'{self.path} is damaged: tensor "{name}" does not have its checksum')
        return np.frombuffer(data, spec.dtype).reshape(spec.shape)

    def _verified(self, text: str | None) -> tuple[str, dict[str, str]]:
        """What the tree was, and the implementations of its PRNG keys by path."""
        if text is None:
            return "tree", {}
        about = self._json(text)
        digest = about.pop("sha256", None)
        kind, keys = about.get("kind"), about.get("keys")
        if digest != _text_digest(about, self.metadata) or kind is None or not isinstance(keys, dict):
            raise ValueError(f"{self.path} is damaged: its metadata do not have their checksum")
        return kind, keys

    def _json(self, text: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.path} is damaged: its metadata cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{self.path} is damaged: its metadata are no table")
        return found

    def _spec(self, name: str, entry: Mapping[str, Any], start: int, digest: Any) -> Spec:
        if entry["dtype"] not in _NAMES:
            raise ValueError(
                f'{self.path}: tensor "{name}" has the dtype {entry["dtype"]}, which NumPy lacks'
            )
        return Spec(
            dtype=jnp.dtype(_NAMES[entry["dtype"]]),
            shape=tuple(entry["shape"]),
            start=start + entry["data_offsets"][0],
            digest=digest,
        )


def _read_header(path: str | os.PathLike[str]) -> tuple[dict[str, Any], int]:
    """The header and where the bytes begin; the library has checked lengths, offsets and JSON before."""
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, not a safetensors file")
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            twice = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
            raise ValueError(f'{path}: the name "{twice}" is there twice')
        return table

    return json.loads(text, object_pairs_hook=unique), 8 + length


def _sorted(arrays: Mapping[str, np.ndarray], at: str) -> list[str]:
    """The names in the order of the format: wide dtypes first, so that each tensor is aligned."""
    for name, array in arrays.items():
        _check_name(name, at)
        if array.dtype.name not in _CODES:
            raise ValueError(f'{at}: "{name}" has the dtype {array.dtype.name}, which safetensors lacks')
    return sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))


def _check_name(name: str, at: str) -> None:
    segments = name.split("/")
    if "\0" in name or "\\" in name or name == "__metadata__" or not {"", ".", ".."}.isdisjoint(segments):
        raise ValueError(
            f"{at}: a tensor's name must be segments joined by /, none of them empty, . or .., "
            f"without backslash and NUL, got {name!r}"
        )


def _check_metadata(metadata: Mapping[str, str], at: str) -> None:
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ValueError(f"{at}: metadata must be texts by name, got {name!r}: {text!r}")
        if name in (_ABOUT, _DIGESTS):
            raise ValueError(f'{at}: the metadata name "{name}" is taken')


def _digest(name: str, code: str, shape: tuple[int, ...], data: bytearray | memoryview) -> str:
    """Over what the header says as well: a changed shape or dtype does not pass."""
    total = hashlib.sha256(json.dumps([name, code, list(shape)]).encode())
    total.update(data)
    return total.hexdigest()


def _text_digest(about: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([about, metadata], sort_keys=True).encode()).hexdigest()
