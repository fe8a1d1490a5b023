"""The files of checkpoints: how one appears whole, is told from a damaged one, and goes away.

A checkpoint is a folder ``step_00000123`` (``step_00000123.1`` where that step is saved again) with its
arrays, a document and a manifest of checksums. It is made under another name and renamed: what has the name
of a checkpoint was whole once. Its manifest says whether it is the best, so that no second file can
contradict it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARRAYS, DOCUMENT, MANIFEST = "arrays.safetensors", "document.json", "manifest.json"
_NAME = re.compile(r"step_(\d{8,})(?:\.(\d+))?")
_DRAFT = ".draft-"
_LONGEST_MANIFEST = 1 << 16


class DamagedError(Exception):
    """A checkpoint is not what was written; the text says what is wrong with which file."""


@dataclass(frozen=True, kw_only=True, order=True)
class Entry:
    """A checkpoint by its step, and how often that step was saved before."""

    step: int
    again: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The size and the SHA-256 of each file, and whether the checkpoint was the best so far."""

    files: Mapping[str, tuple[int, str]]
    best: bool


def entry(path: Path) -> Entry | None:
    """The checkpoint at a path; ``None`` where it has not the name of one."""
    match = _NAME.fullmatch(Path(path).name)
    if match is None:
        return None
    return Entry(step=int(match[1]), again=int(match[2] or 0), path=Path(path))


def entries(path: Path) -> list[Entry]:
    """The checkpoints in a folder, the oldest first; of one step only the last that was saved."""
    if not Path(path).is_dir():
        return []
    found = sorted(each for child in Path(path).iterdir() if (each := entry(child)) is not None)
    return list({each.step: each for each in found}.values())


@contextlib.contextmanager
def draft(path: Path, step: int, best: bool) -> Iterator[Path]:
    """A new folder for the files of a checkpoint, which becomes one when the block ends well."""
    before = [each for each in map(entry, path.iterdir()) if each is not None and each.step == step]
    best = best or any(_was_best(each.path) for each in before)
    folder = path / f"{_DRAFT}{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
        _write_manifest(folder, best)
        _synced(folder)
        again = max((each.again for each in before), default=-1) + 1
        os.rename(folder, path / (f"step_{step:08}" + (f".{again}" if again else "")))
        _synced(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def prune(path: Path, keep: int, written: int | None = None) -> None:
    """Remove all checkpoints but the newest ``keep`` and the newest that was the best.

    Later ones than the step just ``written`` are damaged, or of a run that was gone back from: they go too.
    """
    found = [each for each in entries(path) if written is None or each.step <= written]
    best = next((each for each in reversed(found) if _was_best(each.path)), None)
    kept = {each.path for each in found[-keep:]} | ({best.path} if best is not None else set())
    for child in sorted(path.iterdir()):
        if entry(child) is not None and child not in kept:
            # Half removed it would look damaged: under another name first.
            gone = path / f"{_DRAFT}{uuid.uuid4().hex}"
            os.rename(child, gone)
            shutil.rmtree(gone)


def clean(path: Path) -> None:
    """Remove what a run that was killed left half made."""
    for child in path.iterdir():
        if child.name.startswith(_DRAFT):
            shutil.rmtree(child)


def verify(folder: Path) -> None:
    """Raise unless all files of a checkpoint are as they were written.

    Raises:
        DamagedError: one is not; the text names it.
    """
    for name, (size, digest) in manifest(folder).files.items():
        file = folder / name
        if file.is_symlink() or not file.is_file():
            raise DamagedError(f"{name} is missing")
        if file.stat().st_size != size:
            raise DamagedError(f"{name} has {file.stat().st_size} bytes, {size} were written")
        if _digest(file) != digest:
            raise DamagedError(f"{name} is not what was written: its checksum differs")


def manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
        DamagedError: it is missing or not what was written.
    """
    file = folder / MANIFEST
    if folder.is_symlink() or file.is_symlink() or not file.is_file():
        raise DamagedError(f"{MANIFEST} is missing")
    if file.stat().st_size > _LONGEST_MANIFEST:
        raise DamagedError(
            f"{MANIFEST} has {file.stat().st_size} bytes, at most {_LONGEST_MANIFEST} are read"
        )
    try:
        outer = json.loads(file.read_bytes())
        text, digest = outer["content"], outer["sha256"]
        whole = hashlib.sha256(text.encode()).hexdigest() == digest
        content = json.loads(text) if whole else {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"{MANIFEST} cannot be read: {error}") from error
    if not whole:
        raise DamagedError(f"{MANIFEST} is not what was written: its checksum differs")
    if not {ARRAYS, DOCUMENT} <= set(content["files"]):
        raise DamagedError(f"{MANIFEST} does not list {ARRAYS} and {DOCUMENT}")
    listed = {name: (size, digest) for name, (size, digest) in content["files"].items()}
    return Manifest(files={name: listed[name] for name in (ARRAYS, DOCUMENT)}, best=content["best"])


def write_json(file: Path, value: Any) -> None:
    """Write JSON that is on the disk when this returns."""
    with open(file, "x", encoding="utf-8") as stream:
        json.dump(value, stream)
        stream.flush()
        os.fsync(stream.fileno())


def read_json(file: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise DamagedError(f"{file.name} cannot be read: {error}") from error


def _write_manifest(folder: Path, best: bool) -> None:
    listed = {name: (os.path.getsize(folder / name), _digest(folder / name)) for name in (ARRAYS, DOCUMENT)}
    content = json.dumps({"files": listed, "best": best})
    write_json(
        folder / MANIFEST, {"content": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}
    )


def _was_best(folder: Path) -> bool:
    try:
        return manifest(folder).best
    except (DamagedError, OSError):
        return False


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _synced(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
