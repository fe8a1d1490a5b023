"""The committed results of torch: one NPZ an area, arrays named ``op|case|dtype|what``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "fixtures"


@functools.cache
def read(area: str) -> dict[str, np.ndarray]:
    """All arrays of an area."""
    path = FOLDER / f"{area}.npz"
    if not path.exists():
        return {}
    with np.load(path) as held:
        return dict(held)


def write(area: str, arrays: dict[str, np.ndarray]) -> Path:
    """Write an area, in a fixed order; returns where."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{area}.npz"
    np.savez_compressed(path, **{name: arrays[name] for name in sorted(arrays)})
    return path


def of(name: str) -> dict[tuple[int, str], dict[str, np.ndarray]]:
    """The arrays of an op, by number of the case and dtype."""
    found: dict[tuple[int, str], dict[str, np.ndarray]] = {}
    for key, value in read(name.partition(".")[0]).items():
        op, number, dtype, what = key.split("|")
        if op == name:
            found.setdefault((int(number), dtype), {})[what] = value
    return found


def cotangent(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What the gradients in the fixtures were pulled back from: not all ones, which would hide a slip."""
    return np.cos(1.0 + np.arange(np.prod(shape, dtype=int))).reshape(shape).astype(dtype)
