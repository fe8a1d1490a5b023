"""A model as a table in plain text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from axonax.graph.program._infer import UNKNOWN, Facts, Leaf
from axonax.graph.program._plan import Plan, Step

_COLUMNS = ("Layer", "Shape", "Policy", "Parameters", "Parameters Memory")
_GAP = "   "


def table(plan: Plan, facts: Facts) -> str:
    """The table of a model: a row a node, totals, inputs; ``?`` where the inputs have no shape."""
    leaves: dict[str, list[Leaf]] = {}
    for leaf in facts.leaves.values():
        leaves.setdefault(leaf.step.name, []).append(leaf)
    rows = [
        _row(step, plan, value, leaves.get(step.name, []))
        for step, value in zip(plan.steps, facts.values, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    width = sum(widths) + len(_GAP) * (len(widths) - 1) + 2
    lines = [
        "-" * width,
        "Model".rjust((width - len("Model")) // 2 + len("Model")),
        "=" * width,
        _line(_COLUMNS, widths),
        "=" * width,
        *(_line(row, widths) for row in rows),
        "-" * width,
    ]
    return "\n".join(lines + _totals(facts) + [_inputs(plan)])


def _line(cells: Iterable[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f" {_GAP.join(padded)}".rstrip()


def _row(step: Step, plan: Plan, value: Any, leaves: list[Leaf]) -> tuple[str, ...]:
    """The cells of a node; ``leaves`` are those that it is the first to use."""
    params = [leaf for leaf in leaves if leaf.trained]
    buffers = [leaf for leaf in leaves if not leaf.trained]
    return (
        _title(step, plan),
        _shape(value),
        str(step.layer.policy),
        _elements(params) + (f" (+{_elements(buffers)} in buffers)" if buffers else ""),
        f"{_bytes(params)} bytes",
    )


def _title(step: Step, plan: Plan) -> str:
    sources = ", ".join(f'"{plan.steps[source].name}"' for source in step.sources)
    return f"{step.name} ( {step.layer.op}{f'[{sources}]' if sources else ''} )"


def _shape(value: Any) -> str:
    if value is UNKNOWN:
        return "?"
    return str(jax.tree.map(lambda leaf: _Bare(leaf.shape), value))


class _Bare:
    """A shape that shows as it is within any container."""

    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape

    def __repr__(self) -> str:
        return str(self.shape)


def _totals(facts: Facts) -> list[str]:
    leaves = list(facts.leaves.values())
    params = [leaf for leaf in leaves if leaf.trained]
    buffers = [leaf for leaf in leaves if not leaf.trained]
    lines = [f"Total Parameters: {_elements(params)}", f"Total Parameters Memory: {_bytes(params)} bytes"]
    if buffers:
        lines += [f"Total Buffers: {_elements(buffers)}", f"Total Buffers Memory: {_bytes(buffers)} bytes"]
    return lines


def _elements(leaves: list[Leaf]) -> str:
    return _sum(leaf.size for leaf in leaves)


def _bytes(leaves: list[Leaf]) -> str:
    return _sum(leaf.nbytes for leaf in leaves)


def _sum(numbers: Iterable[int | None]) -> str:
    found = list(numbers)
    known = [number for number in found if number is not None]
    return str(sum(known)) if len(known) == len(found) else "?"


def _inputs(plan: Plan) -> str:
    steps = [plan.steps[place] for place in plan.inputs]
    shown = ", ".join(f'"{step.path}": {_declared(step)}' for step in steps)
    return f"Inputs: {{{shown}}}"


def _declared(step: Step) -> str:
    shape = step.layer.arguments["shape"]
    return "?" if shape is None else str(shape)
