"""The format of the vectors: where they are, and how their values are written."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("AXONAX_VECTORS", ROOT.parent / "shared" / "vectors"))
AREAS = (
    *("activations", "initializers", "layers", "losses", "metrics", "quantization", "shapes"),
    *("optimizers", "updates", "schedules"),
    *("models", "display", "mixed_precision", "loss_scale", "loop"),
)
DTYPES = {
    "bf16": jnp.bfloat16,
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "s8": np.int8,
    "s32": np.int32,
    "s64": np.int64,
    "u8": np.uint8,
    "u32": np.uint32,
}


@functools.cache
def cases() -> dict[str, list[dict[str, Any]]]:
    """The cases of these packages, by operation; statements and relations by area and kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for area in AREAS:
        path = FOLDER / f"{area}.json"
        for each in json.loads(path.read_text()) if path.exists() else []:
            found.setdefault(each.get("op") or f"{area}/{each['kind']}", []).append(each)
    return found


def is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and {"dtype", "shape", "data"} <= value.keys()


def is_wide(written: Any) -> bool:
    """Whether a float64 tensor stands anywhere in a case."""
    if isinstance(written, dict):
        return written.get("dtype") == "f64" or any(map(is_wide, written.values()))
    return isinstance(written, list) and any(map(is_wide, written))


def tensor(value: dict[str, Any]) -> np.ndarray:
    """A tensor; infinities and NaN are written as strings."""
    data = np.array(value["data"], dtype=object).ravel()
    return np.array([float(each) if isinstance(each, str) else each for each in data]).astype(
        DTYPES[value["dtype"]]
    ).reshape(value["shape"])  # fmt: skip


def value(written: Any) -> Any:
    """Any input."""
    if is_tensor(written):
        return tensor(written)
    if isinstance(written, list):
        return [value(each) for each in written]
    if not isinstance(written, dict):
        return written
    ((kind, held),) = written.items()
    readers = {
        "scalar": lambda: held,
        "fn": lambda: held,
        "tuple": lambda: tuple(value(each) for each in held),
        "list": lambda: [value(each) for each in held],
        "map": lambda: {name: value(each) for name, each in held.items()},
        "prng_key": lambda: jax.random.key(held),
    }
    return readers[kind]()


def alike(found: Any, expected: Any, case: dict[str, Any]) -> str:
    """What is wrong with a result that may be a tree, or ``""``."""
    structures = jax.tree.structure(found), jax.tree.structure(expected)
    if structures[0] != structures[1]:
        return f"{structures[0]} for {structures[1]}"
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return "; ".join(filter(None, (near(one, np.asarray(other), case) for one, other in pairs)))


def near(found: Any, expected: np.ndarray, case: dict[str, Any]) -> str:
    """What is wrong with a result, or ``""``."""
    found = np.asarray(found)
    if found.shape != expected.shape:
        return f"shape {found.shape} for {expected.shape}"
    floats = jnp.issubdtype(expected.dtype, jnp.floating)
    if case.get("check_dtype") and floats and found.dtype != expected.dtype:
        return f"dtype {found.dtype} for {expected.dtype}"
    one, two = found.astype(np.float64), expected.astype(np.float64)
    if np.allclose(one, two, rtol=case["rtol"], atol=case["atol"], equal_nan=True):
        return ""
    return f"{one.tolist()} for {two.tolist()}"
