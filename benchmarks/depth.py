"""Compile time by depth: blocks in a row against one `repeat` of them, a training step each.

    python benchmarks/depth.py --depths 6 24 96 --out benchmarks/results/depth.md

A residual block of two dense layers, AdamW, and LAMB by slice. Seconds to trace and lower, to compile, and a
step's milliseconds (the best of a few), all without a cache on disk.
"""

from __future__ import annotations

import argparse
import pathlib
import platform
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax import graph as nn
from axonax import optim

WIDTH, BATCH = 128, 64
OPTIMIZERS = {"adamw": optim.adamw(1e-3), "lamb": optim.lamb(1e-3)}
HEAD = (
    "| optimizer | depth | form | lower, s | compile, s | step, ms |",
    "|---|---|---|---|---|---|",
)


def block(x: Any) -> Any:
    """A residual block."""
    return x + (x | nn.dense(2 * WIDTH, activation="gelu") | nn.dense(WIDTH))


def model(depth: int, form: str) -> Any:
    """Blocks in one of the forms that are compared."""
    x: Any = nn.input("x", (None, WIDTH))
    if form != "in a row":
        return x | nn.repeat(block, depth, unroll=4 if form == "repeat, unroll=4" else 1)
    for _ in range(depth):
        x = x | nn.block(block)
    return x


def measured(depth: int, form: str, optimizer: Any, steps: int) -> tuple[float, float, float]:
    """Seconds to lower and to compile, and the milliseconds of a step."""
    init, apply = nn.build(model(depth, form))
    state = init(jax.random.key(0))
    held = optimizer.init(state.params)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, WIDTH)), "float32")

    def step(params: Any, held: Any, x: Any) -> Any:
        def loss(params: Any) -> Any:
            prediction, _ = apply(state.replace(params=params), x, train=True)
            return jnp.mean((prediction - 1) ** 2)

        updates, held = optimizer.update(jax.grad(loss)(params), held, params)
        return optim.apply_updates(params, updates), held

    start = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(state.params, held, x)
    middle = time.perf_counter()
    program = lowered.compile()
    end = time.perf_counter()
    params, best = state.params, float("inf")
    for _ in range(steps):
        begin = time.perf_counter()
        params, held = jax.block_until_ready(program(params, held, x))
        best = min(best, time.perf_counter() - begin)
    return middle - start, end - middle, best * 1000


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 24, 96])
    parser.add_argument("--forms", nargs="+", default=["repeat", "repeat, unroll=4", "in a row"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    measured(2, "in a row", OPTIMIZERS["adamw"], 1)  # what the first program of a process loads
    lines = [*HEAD]
    print("\n".join(lines), flush=True)
    for name, optimizer in OPTIMIZERS.items():
        for form in options.forms:
            for depth in options.depths:
                lower, compiling, step = measured(depth, form, optimizer, options.steps)
                lines.append(f"| {name} | {depth} | {form} | {lower:.2f} | {compiling:.2f} | {step:.1f} |")
                print(lines[-1], flush=True)
    if options.out:
        about = f"{platform.machine()}, {jax.devices()[0].platform}, JAX {jax.__version__}"
        options.out.write_text("\n".join([f"# Compile time by depth\n\n{about}\n", *lines]) + "\n")


if __name__ == "__main__":
    main()
