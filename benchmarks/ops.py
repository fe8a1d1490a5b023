"""Each op beside the best of JAX by hand, Optax, Flax and Keras: forward, and forward with backward.

    python benchmarks/ops.py --only conv --rounds 30 --out benchmarks/results/ops.md

All contenders of a case run in turn within one process, so that a slow minute of the machine slows all of
them; the best round counts. ``ratio`` is the best rival's time over ours: 1 is level, more is faster.
Gradients are those of all arrays of floats, and contenders must agree on them.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
from ops_cases import attention, functional, half, linear, recurrent, windows
from ops_cases.case import Case

SECONDS = 0.05
HEADER = "| case | | ours | rivals | ratio |\n|---|---|---|---|---|"
"""how long one measurement runs at least"""
MODULES = (half, linear, windows, recurrent, attention, functional)


def programs(call: Callable[..., Any], arrays: tuple[Any, ...]) -> tuple[Callable, Callable]:
    """A call, compiled, and the call with what it pulls back from fixed cotangents to all floats."""
    floats = [i for i, each in enumerate(arrays) if jnp.issubdtype(each.dtype, jnp.floating)]
    cotangents = jax.tree.map(cotangent, jax.eval_shape(call, *arrays))

    @jax.jit
    def both(cotangents: Any, *arrays: Any) -> Any:
        def moved(*values: Any) -> Any:
            filled = list(arrays)
            for index, each in zip(floats, values, strict=True):
                filled[index] = each
            return call(*filled)

        result, pull = jax.vjp(moved, *(arrays[i] for i in floats))
        return result, pull(cotangents)

    return jax.jit(call), functools.partial(both, cotangents)


def cotangent(leaf: Any) -> Any:
    """What is pulled back to the arrays; nothing from integers."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return np.zeros(leaf.shape, jax.dtypes.float0)
    return jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape).astype(leaf.dtype)


def timer(program: Callable, arrays: tuple[Any, ...]) -> Callable[[], float]:
    """A function that measures the seconds of one call."""
    jax.block_until_ready(program(*arrays))
    start = time.perf_counter()
    jax.block_until_ready(program(*arrays))
    count = max(int(SECONDS / (time.perf_counter() - start + 1e-9)), 1)

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(count):
            result = program(*arrays)
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / count

    return measure


def agree(name: str, mine: Any, other: Any, tolerance: float) -> None:
    """Raise unless two contenders give the same."""
    for one, two in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
        expected = np.asarray(two, np.float64)
        scale = float(np.abs(expected).max(initial=1e-9))
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=tolerance * scale, err_msg=name)


def measured(case: Case, rounds: int) -> list[str]:
    """Two rows of the table: forward, and forward with backward.

    Raises:
        AssertionError: contenders disagree.
    """
    arrays = jax.device_put(case.arrays)
    rivals = case.present()
    if not rivals:
        return [f"| {case.name} | | | not installed: {', '.join(case.rivals)} | |"]
    compiled = {name: programs(call, arrays) for name, call in {"Axonax": case.ours, **rivals}.items()}
    rows = []
    for number, what in enumerate(("forward", "with backward")):
        first = compiled["Axonax"][number](*arrays)
        for name in rivals:
            agree(f"{case.name}: {name}", first, compiled[name][number](*arrays), case.tolerance)
        timers = {name: timer(pair[number], arrays) for name, pair in compiled.items()}
        best = dict.fromkeys(timers, float("inf"))
        for _ in range(rounds):
            best = {name: min(best[name], measure()) for name, measure in timers.items()}
        mine = best.pop("Axonax")
        theirs = ", ".join(f"{name} {seconds * 1e3:.3g}" for name, seconds in best.items())
        ratio = min(best.values()) / mine
        rows.append(f"| {case.name} | {what} | {mine * 1e3:.3g} | {theirs} | {ratio:.2f} |")
    jax.clear_caches()
    return rows


def kept(file: pathlib.Path | None) -> tuple[dict[str, list[str]], list[str]]:
    """The rows of an earlier run by case, and the lines that were written below them."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    rows: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("| ") and not line.startswith("| case |"):
            rows.setdefault(line.split("|")[1].strip(), []).append(line)
    last = max((number for number, line in enumerate(lines) if line.startswith("|")), default=len(lines))
    return rows, lines[last + 1 :]


def table(cases: list[Case], rounds: int, seconds: float) -> tuple[dict[str, list[str]], list[str]]:
    """The rows of the table by case, printed as they come, and what contenders disagree on."""
    start = time.monotonic()
    found: dict[str, list[str]] = {}
    faults: list[str] = []
    print(HEADER)
    for number, case in enumerate(cases):
        if time.monotonic() - start > seconds:
            print(f"\nLeft out, for want of time: {'; '.join(each.name for each in cases[number:])}.")
            break
        try:
            found[case.name] = measured(case, rounds)
        except AssertionError as error:
            faults.append(f"{case.name}: {error}")
            found[case.name] = [f"| {case.name} | | | contenders disagree | |"]
        print("\n".join(found[case.name]), flush=True)
    return found, faults


def main() -> None:
    """Measure and print the table; keep it with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="+", default=[""], help="cases whose names hold one of these")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no case after so many")
    parser.add_argument(
        "--out", type=pathlib.Path, help="a file for the table; it keeps its other rows and what stands below"
    )
    options = parser.parse_args()
    cases = [case for module in MODULES for case in module.CASES]
    chosen = [case for case in cases if any(part in case.name for part in options.only)]
    found, faults = table(chosen, options.rounds, options.seconds)
    head = [
        "# Ops against the best of JAX by hand, Optax, Flax and Keras\n",
        f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}; Python "
        f"{platform.python_version()}, JAX {jax.__version__}; contenders in turn within one process, best of "
        f"{options.rounds} rounds; milliseconds; ratio: the best rival's time over ours.\n",
        HEADER,
    ]
    if options.out:
        earlier, notes = kept(options.out)
        rows = earlier | found
        lines = [row for case in cases for row in rows.get(case.name, [])]
        options.out.write_text("\n".join([*head, *lines, *notes]) + "\n")
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
