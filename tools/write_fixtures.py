"""Write what torch makes of the cases in the table of ops, or with --check compare what is committed.

With names after it (``layers.conv``), it writes these ops alone and keeps the rest as it is. Runs where torch
is installed beside the packages (``nox -s oracle``); the tests read the files without it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from ops import stored  # noqa: E402
from ops.row import Case, OpRow  # noqa: E402
from ops.table import OPS  # noqa: E402
from torch_ops import attention, convolutions, inference, layers, losses, recurrent, shapes  # noqa: E402

NAMES = {"F": F, "torch": torch} | {
    name: value
    for module in (attention, convolutions, inference, layers, losses, recurrent, shapes)
    for name, value in vars(module).items()
    if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
}


def applies(row: OpRow, one: Case) -> bool:
    """Whether torch's expression knows every option of a case, and the case is not empty."""
    # A name before "=" is torch's own.
    known = set(re.findall(r"\b[a-z]\w*\b(?!=)", row.torch or ""))
    return row.torch is not None and set(one.options) <= known and all(each.size for each in one.arrays)


def evaluate(row: OpRow, one: Case, dtype: Any, smooth: bool) -> dict[str, np.ndarray]:
    """Inputs, results and, off the kinks, gradients of one case, by name."""
    arrays = one.cast(dtype)
    tensors = [torch.tensor(each) for each in arrays]
    chosen = row.differentiable(one)
    for index in chosen:
        tensors[index].requires_grad_()
    args, options = one.fill(tensors)
    bound = inspect.signature(row.op).bind(*args, **options)
    bound.apply_defaults()
    result = eval(row.torch or "", {**NAMES, **bound.arguments})
    results = list(result) if isinstance(result, tuple) else [result]
    found = {f"in{index}": each for index, each in enumerate(arrays)}
    found |= {f"out{index}": each.detach().numpy() for index, each in enumerate(results)}
    if smooth:
        cotangent = torch.tensor(stored.cotangent(tuple(results[0].shape), dtype))
        wrt = [tensors[index] for index in chosen]
        gradients = torch.autograd.grad(results[0], wrt, cotangent, allow_unused=True)
        for index, gradient in zip(chosen, gradients, strict=True):
            if gradient is not None:
                found[f"grad{index}"] = gradient.numpy()
    return found


def computed(rows: Iterable[OpRow]) -> dict[str, dict[str, np.ndarray]]:
    """All arrays of the rows by area and name."""
    areas: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        for number, one in enumerate(row.cases):
            if not applies(row, one):
                continue
            smooth = row.gradient != "none" and number < (row.smooth or len(row.cases))
            for dtype in ("float64", "float32") if number == 0 else ("float64",):
                try:
                    found = evaluate(row, one, dtype, smooth)
                except NotImplementedError:  # a helper in torch_ops says so of a case that torch cannot do
                    continue
                for name, value in found.items():
                    areas.setdefault(row.area, {})[f"{row.name}|{number}|{dtype}|{name}"] = value
    return areas


def check() -> list[str]:
    """The differences between what is committed and what torch gives now."""
    wrong = []
    for area, arrays in computed(OPS).items():
        committed = stored.read(area)
        wrong += [f"{name} is missing or stale" for name in arrays.keys() ^ committed.keys()]
        for name in arrays.keys() & committed.keys():
            rtol = 1e-12 if "float64" in name else 1e-5
            if not np.allclose(arrays[name], committed[name], rtol=rtol, atol=rtol, equal_nan=True):
                wrong.append(f"{name} differs")
    return sorted(wrong)


def main() -> int:
    """Write the fixtures, or compare them."""
    torch.set_num_threads(1)
    if "--check" in sys.argv:
        wrong = check()
        print("\n".join(wrong) or "the committed fixtures are what torch gives")
        return bool(wrong)
    named = sys.argv[1:]
    unknown = set(named) - {row.name for row in OPS}
    if unknown:
        print(f"not in the table: {sorted(unknown)}")
        return 2
    for area, arrays in computed(row for row in OPS if not named or row.name in named).items():
        held = stored.read(area) if named else {}
        kept = {name: each for name, each in held.items() if name.split("|")[0] not in named}
        path = stored.write(area, arrays | kept)
        print(f"{path.relative_to(ROOT)}: {len(arrays)} arrays, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
