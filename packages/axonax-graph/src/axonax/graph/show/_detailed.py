"""The table of a model with what each layer takes, gives, was asked for and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from axonax.graph.data._layer import Applied
from axonax.graph.program import _infer, _inputs, _plan, _run
from axonax.graph.show import _arguments, _cost, _table
from axonax.graph.show._grid import Table
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState

_COLUMNS = ("Layer", "Input", "Output", "Dtype", "Options", "Parameters", "Memory")
_COSTS = ("FLOPs", "Activations")


def table(model: Applied, *inputs: Any, state: ModelState | None = None) -> Table:
    """A table of what each layer takes and gives, its options, parameters and cost, found on shapes alone.

    FLOPs are those of one prediction, counted on the program as it is written, before XLA makes it faster: a
    multiplication and an addition are two, a function such as ``exp`` is one, a scan counts as often as it
    runs (XLA's own analysis counts it once), a loop of unknown length once. Activations are the bytes of the
    values; those of inputs are no part of the total. ``?`` stands for what depends on an open size.

    Args:
        model: any node.
        *inputs: arrays, ``jax.ShapeDtypeStruct``, shapes, or one dict of these by input name; none takes the
            declared shapes.
        state: tells which parameters are trained and which are frozen.

    Returns:
        a table that prints as text and shows as HTML in a notebook.

    Raises:
        ValueError: the inputs do not fit the model.
        TypeError: ``model`` is no node, ``state`` no state.

    >>> from axonax import graph as nn
    >>> print(nn.table(nn.input("x", (None, 3)) | nn.dense(2), (8, 3)))
    -----------------------------------------------------------------------------------------------------
                                                    Model
    =====================================================================================================
     Layer     Input    Output   Dtype     Options           Parameters   Memory     FLOPs   Activations
    =====================================================================================================
     x                  (8, 3)   float32   shape=(None, 3)   0            0 bytes    0       96 bytes
     dense_0   (8, 3)   (8, 2)   float32   units=2           8            32 bytes   112     64 bytes
    -----------------------------------------------------------------------------------------------------
    Total Parameters: 8
    Total Parameters Memory: 32 bytes
    Total FLOPs: 112
    Total Activations: 64 bytes
    """
    if not isinstance(model, Applied):
        raise TypeError(f'table: needs a node, such as nn.input("x") | nn.dense(2), got {model!r}')
    if not isinstance(state, ModelState | None):
        raise TypeError(f"table: state must be a ModelState, got {type(state).__name__}")
    plan = _plan.plan(model)
    facts = _infer.infer(plan, _inputs.bind_abstract(plan, inputs)) if inputs else _infer.declared(plan)
    leaves, count = _table.by_step(facts), _counter(facts)
    frozen = None if state is None else trees.flatten(state.frozen)
    rows, flops, activations = [], [], []
    for step, value in zip(plan.steps, facts.values, strict=True):
        given = [facts.values[source] for source in step.sources]
        cost, size = count(step, given), _cost.nbytes(value)
        cells = _cells(step, given, value, leaves.get(step.name, []), frozen)
        rows.append((*cells, _table.total([cost]), f"{_table.total([size])} bytes"))
        flops.append(cost)
        activations += [size] if step.layer.op != "input" else []
    notes = [f"Total FLOPs: {_table.total(flops)}", f"Total Activations: {_table.total(activations)} bytes"]
    columns = (*_COLUMNS, *(() if state is None else ("Trained",)), *_COSTS)
    return Table(title="Model", columns=columns, rows=tuple(rows), notes=(*_table.totals(facts), *notes))


def _cells(
    step: _plan.Step,
    inputs: list[Any],
    value: Any,
    leaves: list[_infer.Leaf],
    frozen: Mapping[str, Any] | None,
) -> tuple[str, ...]:
    """What there is to say of a node but its cost; ``leaves`` are those that it is the first to use."""
    memory = _table.total_bytes([leaf for leaf in leaves if leaf.trained])
    return (
        step.name,
        ", ".join(map(_table.shape, inputs)),
        _table.shape(value),
        _dtypes(value),
        _arguments.options(step.layer),
        _table.counts(leaves),
        f"{memory} bytes",
        *(() if frozen is None else [_trained(leaves, frozen)]),
    )


def _counter(facts: _infer.Facts) -> Callable[[_plan.Step, list[Any]], int | None]:
    """The FLOPs of a step by its inputs: counted once for layers of equal data on equal shapes."""
    leaves = {
        path: None if leaf.size is None else _run.struct(leaf.shape, leaf.dtype)  # type: ignore[arg-type]
        for path, leaf in facts.leaves.items()
    }
    known: dict[Any, int | None] = {}

    def count(step: _plan.Step, inputs: list[Any]) -> int | None:
        if step.layer.op == "input" or _run.lacks(step, inputs):
            return 0
        if any(value is _infer.UNKNOWN for value in inputs):
            return None
        if step.layer.signature is None or step.ties:
            return _cost.flops(step, inputs, leaves)
        flat, structure = jax.tree.flatten(inputs)
        key = (step.layer.signature, step.named, structure, *((leaf.shape, leaf.dtype) for leaf in flat))
        if key not in known:
            known[key] = _cost.flops(step, inputs, leaves)
        return known[key]

    return count


def _dtypes(value: Any) -> str:
    """The dtypes of a value, each once."""
    if value is _infer.UNKNOWN:
        return "?"
    return ", ".join(dict.fromkeys(str(leaf.dtype) for leaf in jax.tree.leaves(value)))


def _trained(leaves: list[_infer.Leaf], frozen: Mapping[str, Any]) -> str:
    """Whether the parameters of a node are trained, or among the frozen ones."""
    paths = [leaf.step.leaf(leaf.name) for leaf in leaves if leaf.trained]
    count = sum(path in frozen for path in paths)
    if not paths:
        return ""
    return "trained" if not count else "frozen" if count == len(paths) else f"{count} of {len(paths)} frozen"
