"""A model as a table in plain text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from axonax.graph.program._infer import UNKNOWN, Facts, Leaf
from axonax.graph.program._plan import Plan, Step
from axonax.graph.show._grid import Table

_COLUMNS = ("Layer", "Shape", "Policy", "Parameters", "Parameters Memory")


def table(plan: Plan, facts: Facts) -> Table:
    """The table of a model: a row a node, totals, inputs; ``?`` where the inputs have no shape."""
    leaves = by_step(facts)
    rows = tuple(
        _row(step, plan, value, leaves.get(step.name, []))
        for step, value in zip(plan.steps, facts.values, strict=True)
    )
    return Table(title="Model", columns=_COLUMNS, rows=rows, notes=(*totals(facts), _inputs(plan)))


def by_step(facts: Facts) -> dict[str, list[Leaf]]:
    """The leaves of each node that is the first to use them, by its name."""
    leaves: dict[str, list[Leaf]] = {}
    for leaf in facts.leaves.values():
        leaves.setdefault(leaf.step.name, []).append(leaf)
    return leaves


def _row(step: Step, plan: Plan, value: Any, leaves: list[Leaf]) -> tuple[str, ...]:
    """The cells of a node; ``leaves`` are those that it is the first to use."""
    params = [leaf for leaf in leaves if leaf.trained]
    memory = f"{total_bytes(params)} bytes"
    return title(step, plan), shape(value), str(step.layer.policy), counts(leaves), memory


def counts(leaves: list[Leaf]) -> str:
    """The elements of parameters, and of buffers if there are any."""
    params = [leaf for leaf in leaves if leaf.trained]
    buffers = [leaf for leaf in leaves if not leaf.trained]
    return elements(params) + (f" (+{elements(buffers)} in buffers)" if buffers else "")


def title(step: Step, plan: Plan) -> str:
    """The name of a node, what it does, and of what."""
    sources = ", ".join(f'"{plan.steps[source].name}"' for source in step.sources)
    return f"{step.name} ( {step.layer.op}{f'[{sources}]' if sources else ''} )"


def shape(value: Any) -> str:
    """The shapes of a value, nested as it is."""
    if value is UNKNOWN:
        return "?"
    return str(jax.tree.map(lambda leaf: _Bare(leaf.shape), value))


class _Bare:
    """A shape that shows as it is within any container."""

    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape

    def __repr__(self) -> str:
        return str(self.shape)


def totals(facts: Facts) -> list[str]:
    """The lines below the rows."""
    leaves = list(facts.leaves.values())
    params = [leaf for leaf in leaves if leaf.trained]
    buffers = [leaf for leaf in leaves if not leaf.trained]
    lines = [f"Total Parameters: {elements(params)}", f"Total Parameters Memory: {total_bytes(params)} bytes"]
    if buffers:
        lines += [
            f"Total Buffers: {elements(buffers)}",
            f"Total Buffers Memory: {total_bytes(buffers)} bytes",
        ]
    return lines


def elements(leaves: list[Leaf]) -> str:
    """The number of elements of leaves; ``?`` if one is open."""
    return total(leaf.size for leaf in leaves)


def total_bytes(leaves: list[Leaf]) -> str:
    """The number of bytes of leaves; ``?`` if one is open."""
    return total(leaf.nbytes for leaf in leaves)


def total(numbers: Iterable[int | None]) -> str:
    """The sum of numbers; ``?`` if one is not known."""
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
