"""What a graph costs: its calls once compiled, its start beside peers, and 10,000 layers.

    python benchmarks/graph.py --out benchmarks/results/graph.md
    python benchmarks/graph.py --only calls nodes  # without the peers

*Calls*: a model of the graph and the same function written by hand with the same functions of arrays, both
jitted, take turns within one process, in every second round in the other order; what counts is the median of
the ratios of the rounds. *Start*: for each library and model a fresh process makes the model with its first
parameters (ready), traces and lowers its prediction (trace) and compiles it; the median of several processes.
*Nodes*: seconds of this process for chains of dense layers, by length.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from graph_cases import calls, ours, peers

from axonax import graph as nn

STARTS = {
    "Axonax": ours.start,
    "Flax NNX": peers.nnx_start,
    "Equinox": peers.equinox_start,
    "Keras": peers.keras_start,
}
PARTS = ("calls", "start", "nodes")
LENGTHS = (2500, 5000, 10_000)


def seconds(run: Callable[[], Any], count: int) -> float:
    """The seconds of one of so many calls in a row."""
    start = time.perf_counter()
    for _ in range(count):
        result = run()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / count


def compared(name: str, shape: tuple[int, ...], budget: float) -> str:
    """The cells of a model on inputs of one shape: both medians in us, and their ratio with its quartiles."""
    pair = calls.pair(calls.CASES[name](), shape)
    count = max(1, int(0.02 / seconds(pair[0], 3)))
    rounds: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + budget
    while len(rounds[0]) < 5 or time.perf_counter() < end:
        for place in (0, 1) if len(rounds[0]) % 2 else (1, 0):
            rounds[place].append(seconds(pair[place], count))
    low, middle, high = statistics.quantiles(map(lambda a, b: a / b, *rounds), n=4)
    mine, theirs = (statistics.median(each) * 1e6 for each in rounds)
    return f"{mine:.1f} | {theirs:.1f} | {middle:.3f} ({low:.3f} to {high:.3f})"


def calls_table(options: argparse.Namespace) -> list[str]:
    """A row a model: large inputs and tiny ones."""
    lines = [
        "## A compiled call\n",
        "Microseconds, beside the same function by hand; ratio (quartiles).\n",
        "| | large | by hand | ratio | tiny | by hand | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, make in calls.CASES.items():
        case = make()
        cells = [compared(name, shape, options.seconds) for shape in (case.large, case.tiny)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def started(library: str, model: str) -> dict[str, float]:
    """The seconds of each phase in this process."""
    shape, dtype = ours.SHAPES[model]
    x = np.zeros(shape, dtype)
    clock = [time.perf_counter()]
    function, state = STARTS[library](model)
    jax.block_until_ready(state)
    clock.append(time.perf_counter())
    lowered = jax.jit(function).lower(*state, x)
    clock.append(time.perf_counter())
    lowered.compile()
    clock.append(time.perf_counter())
    return dict(zip(("ready", "trace", "compile"), map(float, np.diff(clock)), strict=True))


def start_table(options: argparse.Namespace) -> list[str]:
    """A row a library and model: seconds of each phase."""
    lines = [
        "## From nothing to a compiled prediction\n",
        "Seconds, in fresh processes; what importing takes is left out.\n",
        "| | | ready | trace | compile | together |",
        "|---|---|---|---|---|---|",
    ]
    for model in options.models:
        for library in options.libraries:
            command = [sys.executable, __file__, "--one", library, model]
            runs = [
                subprocess.run(command, capture_output=True, text=True, check=False)
                for _ in range(options.repeat)
            ]
            failed = [run.stderr.strip().splitlines()[-1] for run in runs if run.returncode]
            if failed:
                lines.append(f"| {model} | {library} | fails: {failed[0][:80]} | | | |")
                print(lines[-1], flush=True)
                continue
            found = [json.loads(run.stdout.splitlines()[-1]) for run in runs]
            phases = [statistics.median(each[name] for each in found) for name in found[0]]
            together = statistics.median(sum(each.values()) for each in found)
            lines.append(
                f"| {model} | {library} | {' | '.join(f'{each:.2f}' for each in [*phases, together])} |"
            )
            print(lines[-1], flush=True)
    return lines


def chain(length: int) -> nn.Node:
    """So many dense layers in a row."""
    model = nn.input("x", (None, 8))
    for _ in range(length):
        model = model | nn.dense(8)
    return model


def nodes_row(length: int) -> str:
    """The seconds of each thing that one does with a chain of dense layers."""
    clock = [time.perf_counter()]

    def lap(value: Any) -> Any:
        clock.append(time.perf_counter())
        return value

    model = lap(chain(length))
    init, apply = lap(nn.build(model))
    lap(str(model))
    text = lap(nn.dumps(model))
    other = lap(nn.loads(text))
    lap(nn.diff(model, other))
    lap(nn.table(model, (2, 8)))
    state = lap(jax.block_until_ready(init(jax.random.key(0))))
    lap(jax.jit(lambda state, x: apply(state, x)[0]).lower(state, np.zeros((2, 8), "float32")))
    return f"| {length} | {' | '.join(f'{each:.2f}' for each in np.diff(clock))} |"


def nodes_table(options: argparse.Namespace) -> list[str]:
    """A row a length."""
    lines = [
        "## Chains of dense layers\n",
        "Seconds.\n",
        "| layers | make | build | print | dumps | loads | diff | table | init | trace |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    nodes_row(10)
    for length in LENGTHS:
        lines.append(nodes_row(length))
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure and print the tables; keep them with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=8, help="for each pair of calls")
    parser.add_argument("--repeat", type=int, default=3, help="processes for each start")
    parser.add_argument("--models", nargs="+", choices=list(ours.SHAPES), default=list(ours.SHAPES))
    parser.add_argument("--libraries", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help="a file for the tables")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(started(*options.one)))
        return
    names = ("jax", "flax", "equinox", "keras")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    lines = [
        "# What a graph costs\n",
        f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}; Python "
        f"{platform.python_version()}, {versions}.\n",
    ]
    tables = {"calls": calls_table, "start": start_table, "nodes": nodes_table}
    for part in options.only:
        lines += [*tables[part](options), ""]
        if options.out:
            options.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
