"""A step of each optimizer against bare Optax, hyperparameters live.

    python benchmarks/optim.py --rounds 30 --out benchmarks/results/optim.md
    python benchmarks/optim.py --only adam sgd --out benchmarks/results/optim.md  # renews two rows

Two trees: 100 leaves of 10 million parameters, and 13 tiny leaves. The steps are jitted and donated; those of
a pair run in turn within one process, so that a slow minute of the machine slows both; the best round counts.

JAX runs a program of less than 1000 floating-point operations on the thread that calls it and hands a
larger one to another, which takes some microseconds. The tiny leaves have 440 numbers, so that both steps of
a pair are beyond that; with 4 by 4 kernels it lay between them (992 for Optax's RMSProp, 1183 for ours).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from axonax import optim

RATE = 1e-3
PAIRS: dict[str, tuple[Callable, Callable]] = {
    "adabelief": (optim.adabelief, lambda: optax.adabelief(RATE)),
    "adadelta": (optim.adadelta, lambda: optax.adadelta(RATE)),
    "adafactor": (optim.adafactor, lambda: optax.adafactor(RATE)),
    "adagrad": (optim.adagrad, lambda: optax.adagrad(RATE)),
    "adam": (optim.adam, lambda: optax.adam(RATE)),
    "adamax": (optim.adamax, lambda: optax.adamax(RATE)),
    "adamw": (optim.adamw, lambda: optax.adamw(RATE)),
    "adan": (optim.adan, lambda: optax.adan(RATE)),
    "fromage": (optim.fromage, lambda: optax.fromage(RATE)),
    "lamb": (optim.lamb, lambda: optax.lamb(RATE)),
    "lars": (optim.lars, lambda: optax.lars(RATE)),
    "lion": (optim.lion, lambda: optax.lion(RATE)),
    "muon": (optim.muon, lambda: contrib.muon(RATE)),
    "nadam": (optim.nadam, lambda: optax.nadam(RATE)),
    "nadamw": (optim.nadamw, lambda: optax.nadamw(RATE)),
    "noisy_sgd": (optim.noisy_sgd, lambda: optax.noisy_sgd(RATE)),
    "novograd": (optim.novograd, lambda: optax.novograd(RATE)),
    "prodigy": (optim.prodigy, contrib.prodigy),
    "radam": (optim.radam, lambda: optax.radam(RATE)),
    "rmsprop": (optim.rmsprop, lambda: optax.rmsprop(RATE)),
    "schedule_free": (optim.schedule_free, lambda: contrib.schedule_free_adamw(RATE)),
    "sgd": (lambda: optim.sgd(momentum=0.9), lambda: optax.sgd(RATE, momentum=0.9)),
    "yogi": (optim.yogi, lambda: optax.yogi(RATE)),
}


def large() -> dict:
    """100 leaves of 10 million parameters."""
    return {f"dense_{i}": {"kernel": jnp.ones((447, 447)), "bias": jnp.ones(447)} for i in range(50)}


def tiny() -> dict:
    """13 leaves of 440 parameters."""
    layers = {f"dense_{i}": {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8)} for i in range(6)}
    return {**layers, "gain": jnp.ones(8)}


def stepper(optimizer, params) -> Callable[[int], float]:
    """A function of a number of steps that gives the seconds of one of them."""
    gradients = jax.tree.map(lambda leaf: 0.01 * leaf, params)
    held = {"params": jax.tree.map(jnp.copy, params), "state": optimizer.init(params)}

    def step(params, state, gradients):
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))

    def run(steps: int) -> float:
        params, state = held["params"], held["state"]
        start = time.perf_counter()
        for _ in range(steps):
            params, state = compiled(params, state, gradients)
        jax.block_until_ready((params, state))
        held.update(params=params, state=state)
        return (time.perf_counter() - start) / steps

    return run


def compare(pair: tuple[Callable, Callable], params, steps: int, rounds: int) -> tuple[float, float]:
    """The best seconds a step of ours and of Optax."""
    runs = [stepper(make(), params) for make in pair]
    best = [float("inf")] * 2
    for round_ in range(rounds + 1):
        for index, run in enumerate(runs):
            seconds = run(steps)
            if round_:  # the first compiles
                best[index] = min(best[index], seconds)
    return best[0], best[1]


def row(name: str, rounds: int) -> str:
    """The step of an optimizer on both trees, and how much longer than Optax's it takes."""
    ours, theirs = compare(PAIRS[name], large(), 1, rounds)
    cells = f"| {name} | {ours * 1e3:.1f} | {theirs * 1e3:.1f} | {ours / theirs:.2f} "
    ours, theirs = compare(PAIRS[name], tiny(), 10, 40 * rounds)
    return cells + f"| {ours * 1e6:.1f} | {theirs * 1e6:.1f} | {ours / theirs:.2f} |"


def kept(file: pathlib.Path | None) -> dict[str, str]:
    """The rows of an earlier run by name."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    return {name: line for name, line in rows.items() if name in PAIRS}


def main() -> None:
    """Measure and print the tables; keep them with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=sorted(PAIRS), default=sorted(PAIRS))
    parser.add_argument("--out", type=pathlib.Path, help="a file for the table; it keeps its other rows")
    options = parser.parse_args()
    head = [
        "# A step of each optimizer against bare Optax\n",
        f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}; Python "
        f"{platform.python_version()}, JAX {jax.__version__}, Optax {optax.__version__}; 10 million "
        f"parameters in 100 leaves, 440 in 13; best of {options.rounds} rounds in turn.\n",
        "| | large, ms | Optax, ms | ratio | tiny, us | Optax, us | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = kept(options.out)
    for name in options.only:
        rows[name] = row(name, options.rounds)
        print(rows[name], flush=True)
        if options.out:
            options.out.write_text("\n".join([*head, *(rows[each] for each in sorted(rows))]) + "\n")


if __name__ == "__main__":
    main()
