"""A model within a layer: what the layer keeps for it, and how it runs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from axonax.graph.data._layer import Applied, Layer, inside, order
from axonax.graph.data._param import Param
from axonax.graph.layers._combining import container
from axonax.graph.nodes._block import substituted, traced
from axonax.graph.nodes._input import input_layer
from axonax.graph.nodes._node import Node
from axonax.graph.program import _infer, _run
from axonax.graph.program._plan import Plan, plan


def as_part(who: str, block: Any) -> Node:
    """A function of nodes as the node that it makes of placeholders; such a node as it is.

    Raises:
        TypeError: neither a function of nodes nor a node.
        ValueError: a model that has other inputs than placeholders, or not one; a function that takes nodes
            from outside.
    """
    if not isinstance(block, Applied):
        if isinstance(block, Layer) and block.scope is not None:
            block = replace(block, scope=None)
        with inside(None):
            inputs, output = traced(who, block)
        node: Node = output if isinstance(output, Node) else container(output)
        _check_inputs(who, node, {each.layer for each in inputs})
        return node
    inputs = tuple(each for each in order(block) if each.layer.op == "input")
    stand_ins = {each.layer for each in order(block) if each.layer.op == "placeholder"}
    if len(inputs) + (len(stand_ins) > 0) != 1:
        count = len(inputs) + len(stand_ins)
        raise ValueError(f"{who}: a model in the place of a function needs one input, it has {count}")
    if inputs:
        return as_part(who, lambda x: substituted(block, {inputs[0]: x}))
    return block  # type: ignore[return-value]


def _check_inputs(who: str, node: Node, mine: set[Layer]) -> None:
    for each in order(node):
        if each.layer.op in ("input", "placeholder") and each.layer not in mine:
            hint = "make it an input of the function, and call the layer on both"
            raise ValueError(f"{who}: its function takes {each!r} from outside: {hint}")


@dataclass(frozen=True, eq=False)
class Part:
    """A model over placeholders, with its names, and its own inputs in their places."""

    node: Node
    places: dict[Layer, int] = field(init=False)
    plan: Plan = field(init=False)
    arity: int = field(init=False)
    _known: dict[Any, _infer.Facts] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        found = [each for each in order(self.node) if each.layer.op == "placeholder"]
        table = {
            each: Node(layer=replace(input_layer(), policy=each.layer.policy), parents=()) for each in found
        }
        places = {node.layer: each.layer.arguments["place"] for each, node in table.items()}
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "plan", plan(substituted(self.node, table)))
        object.__setattr__(self, "arity", max((each.layer.arguments["count"] for each in found), default=1))

    @functools.cached_property
    def needs(self) -> frozenset[str]:
        """What its layers need; a key is none unless training."""
        found = frozenset[str]().union(*(step.layer.computation.needs for step in self.plan.steps))
        return found | {"train"} if found else found

    @functools.cached_property
    def leaves(self) -> dict[str, _infer.Leaf]:
        """Its parameters and buffers by path, of no known shape."""
        return {
            step.leaf(name): _infer.Leaf(step=step, name=name, shape=None)
            for step in self.plan.steps
            for name in (*step.layer.computation.params, *step.layer.computation.buffers)
            if name not in step.ties
        }

    def params(self, *, trained: bool) -> dict[str, Param]:
        """Its parameters, or its buffers, by path, as a layer describes its own."""
        return {
            path: replace(leaf.param, shape=functools.partial(_shape, part=self, path=path), dtype=leaf.dtype)
            for path, leaf in self.leaves.items()
            if leaf.trained is trained
        }

    def facts(self, specs: Sequence[Any]) -> _infer.Facts:
        """What follows from inputs of these shapes.

        Raises:
            ValueError: a layer does not fit its inputs.
        """
        leaves, structure = jax.tree.flatten(list(specs))
        leaves = [_run.struct(leaf.shape, leaf.dtype) for leaf in leaves]
        key = (structure, *leaves)
        if key not in self._known:
            lane = self._ordered(jax.tree.unflatten(structure, leaves))
            # A lane holds one value an input; infer joins several of them.
            self._known[key] = _infer.infer(self.plan, lane)
        return self._known[key]

    def cast(self, values: Sequence[Any]) -> list[Any]:
        """The values in the dtypes in which they come to its layers."""
        policies = {self.places[layer]: layer.policy for layer in self.places}
        return [
            policies[place].cast_output(value) if place in policies else value
            for place, value in enumerate(values)
        ]

    def run(self, values: Sequence[Any], call: _run.Call) -> Any:
        """Its value; new values of buffers are written to ``call.buffers``."""
        return _run.run(self.plan, self._ordered(values), call)

    def _ordered(self, values: Sequence[Any]) -> list[Any]:
        """The values in the order of the plan's inputs, which may leave some of them out."""
        return [values[self.places[self.plan.steps[place].layer]] for place in self.plan.inputs]


def _shape(*specs: Any, part: Part, path: str) -> tuple[int, ...]:
    shape: Any = part.facts(specs).leaves[path].shape
    return tuple(shape)
