"""What differs between two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from axonax.graph.data._layer import Applied, Layer
from axonax.graph.program._plan import Plan, Step, plan
from axonax.graph.show import _arguments


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference:
    """What differs between two models, by the names of their nodes; false if nothing does.

    Args:
        added: nodes of the second alone, with their layer.
        removed: nodes of the first alone.
        changed: of nodes in both, what is not the same, a text each; ``""`` stands for the model itself.
    """

    added: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        lines = [f"- {name}: {layer}" for name, layer in self.removed.items()]
        lines += [f"+ {name}: {layer}" for name, layer in self.added.items()]
        for name, texts in self.changed.items():
            lines += [f"~ {name or 'the model'}: {text}" for text in texts]
        return "\n".join(lines) or "no difference"

    def __repr__(self) -> str:
        return str(self)


def diff(a: Applied, b: Applied) -> Difference:
    """What differs between two models: nodes added and removed, arguments, inputs and outputs changed.

    Nodes are matched by name, so an unnamed layer put between others of its kind shifts those behind it.
    Values of parameters are no part of a model. Functions are equal if they are the same object.

    Args:
        a: any node.
        b: another.

    Returns:
        a value that is false if nothing differs, and prints a line a difference.

    Raises:
        TypeError: one of them is no node.

    >>> from axonax import graph as nn
    >>> x = nn.input("x", (None, 3))
    >>> print(nn.diff(x | nn.dense(2) | nn.relu(), x | nn.dense(4, name="dense_0")))
    - relu_0: relu()
    ~ dense_0: units 2 -> 4
    ~ the model: output "relu_0" -> "dense_0"
    """
    for each in (a, b):
        if not isinstance(each, Applied):
            raise TypeError(f'diff: needs nodes, such as nn.input("x") | nn.dense(2), got {each!r}')
    first, second = plan(a), plan(b)
    steps = [{step.name: step for step in each.steps} for each in (first, second)]
    paths = [{step.layer: step.path for step in each.steps} for each in (first, second)]
    changed: dict[str, tuple[str, ...]] = {}
    for name, step in steps[0].items():
        if name in steps[1]:
            texts = [*_calls(step, steps[1][name], *paths), *_sources(step, steps[1][name], first, second)]
            changed |= {name: tuple(texts)} if texts else {}
    whole = _whole(first, second)
    return Difference(
        added={name: _layer(step) for name, step in steps[1].items() if name not in steps[0]},
        removed={name: _layer(step) for name, step in steps[0].items() if name not in steps[1]},
        changed=changed | ({"": tuple(whole)} if whole else {}),
    )


def _layer(step: Step) -> str:
    return f"{step.layer.op}({_arguments.options(step.layer)})"


def _calls(one: Step, other: Step, here: Mapping[Layer, str], there: Mapping[Layer, str]) -> list[str]:
    """How the layers of two steps differ in op, arguments and policy; told at its first use."""
    old, new = one.layer, other.layer
    if one.use:
        return []
    if old.op != new.op:
        return [f"{_layer(one)} -> {_layer(other)}"]
    texts = []
    for name in dict.fromkeys([*old.arguments, *new.arguments]):
        texts += _argument(name, (old.arguments.get(name), new.arguments.get(name)), (here, there))
    return texts + ([] if old.policy == new.policy else [f"policy {old.policy} -> {new.policy}"])


def _argument(name: str, values: tuple[Any, Any], paths: tuple[Mapping[Layer, str], ...]) -> list[str]:
    """How two values of an argument differ; of models within, line by line."""
    one, other = values
    if isinstance(one, Applied) and isinstance(other, Applied):
        found = diff(one, other)
        return [f"{name}: {line}" for line in str(found).splitlines()] if found else []
    if _arguments.identity(one, paths[0]) == _arguments.identity(other, paths[1]):
        return []
    shown = [_arguments.text(value) for value in values]
    return [f"{name} " + (" -> ".join(shown) if shown[0] != shown[1] else f"another {shown[0]}")]


def _sources(one: Step, other: Step, first: Plan, second: Plan) -> list[str]:
    """How the inputs of two steps differ, in their order."""
    shown = [_inputs(one, first), _inputs(other, second)]
    return [] if shown[0] == shown[1] else [f"inputs {shown[0]} -> {shown[1]}"]


def _inputs(step: Step, whole: Plan) -> str:
    names = [f'"{whole.steps[source].name}"' for source in step.sources]
    count = len(names) - len(step.named)
    named = [f"{key}={name}" for key, name in zip(step.named, names[count:], strict=True)]
    return f"({', '.join([*names[:count], *named])})"


def _whole(first: Plan, second: Plan) -> list[str]:
    """How two models differ in the order of their inputs and in their output."""
    orders = [", ".join(f'"{each.steps[place].path}"' for place in each.inputs) for each in (first, second)]
    outputs = [f'"{each.steps[-1].name}"' for each in (first, second)]
    pairs = (("order of inputs", orders), ("output", outputs))
    return [f"{what} {old} -> {new}" for what, (old, new) in pairs if old != new]
