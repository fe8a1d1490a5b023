"""Shapes of all values and leaves of a model, found without computing anything.

A size that is left open (``None``) is tried with two numbers at once: what comes out the same is known,
what differs depends on it and is open as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph._param import Param
from axonax.graph._plan import Plan, Step
from axonax.graph._run import Call, dtype_of, execute, required, spec

Shape = tuple[int | None, ...]

# Divisible by much (so that reshapes and strides go through), too large for kernels to exceed.
_PROBES = (1680, 3360)


@dataclass(frozen=True)
class Abstract:
    """An array of which only the shape is known; ``None`` is an open size."""

    shape: Shape
    dtype: Any


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A parameter or buffer of a model, with its shape (``None``: it depends on inputs without one)."""

    step: Step
    name: str
    shape: Shape | None

    @property
    def trained(self) -> bool:
        """Whether it is a parameter, not a buffer."""
        return self.name in self.step.layer.params

    @property
    def param(self) -> Param:
        """Its description."""
        layer = self.step.layer
        return layer.params[self.name] if self.trained else layer.buffers[self.name]

    @property
    def dtype(self) -> str:
        """Its dtype, by its own description or the layer's policy."""
        return self.param.dtype_for(self.step.layer.policy)

    @property
    def size(self) -> int | None:
        """The number of its elements, where the shape is known in full."""
        if self.shape is None:
            return None
        sizes = [size for size in self.shape if size is not None]
        return math.prod(sizes) if len(sizes) == len(self.shape) else None

    @property
    def nbytes(self) -> int | None:
        """Its bytes, where the shape is known in full."""
        return None if self.size is None else self.size * jnp.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a model before it runs: the value of each step, and each leaf by path.

    A value is a tree of `Abstract`, or ``None`` where it is unknown.
    """

    values: list[Any] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)


def declared(plan: Plan) -> Facts:
    """What follows from the declared shapes of the inputs.

    Raises:
        ValueError: a layer does not fit its inputs, whatever the open sizes are.
    """
    lanes: list[list[Any]] = [[], []]
    for place in plan.inputs:
        shape, dtype = (plan.steps[place].layer.options[name] for name in ("shape", "dtype"))
        for lane, probe in zip(lanes, _PROBES, strict=True):
            if shape is None:
                lane.append(None)
            else:
                sizes = tuple(probe if size is None else size for size in shape)
                lane.append(jax.ShapeDtypeStruct(sizes, dtype or "float32"))
    return infer(plan, *lanes)


def infer(plan: Plan, *lanes: Sequence[Any]) -> Facts:
    """What follows from input shapes: one lane of them, or several for one model with open sizes.

    Args:
        plan: the model.
        *lanes: for each input a ``jax.ShapeDtypeStruct``, or ``None`` where nothing is known.

    Raises:
        ValueError: a layer does not fit its inputs.
    """
    facts = Facts()

    def trace(lanes: Sequence[Sequence[Any]]) -> None:
        calls = [Call(variables={}, buffers={}) for _ in lanes]
        pending = zip(*lanes, strict=True)
        values: list[tuple[Any, ...] | None] = []
        for step in plan.steps:
            if step.layer.op == "input":
                arrived = next(pending)
                cast = step.layer.policy.cast_output
                result = None if arrived[0] is None else tuple(cast(value) for value in arrived)
            else:
                result = _step(step, [values[source] for source in step.sources], calls, facts)
            values.append(result)
            facts.values.append(None if result is None else _join(result))

    jax.eval_shape(trace, list(lanes))
    return facts


def _step(step: Step, inputs: list[Any], calls: list[Any], facts: Facts) -> tuple[Any, ...] | None:
    """The values of a step, one a lane; its leaves are noted when they are met first."""
    if any(value is None for value in inputs):
        for name, param in (*step.layer.params.items(), *step.layer.buffers.items()):
            known = None if callable(param.shape) else param.shape
            facts.leaves.setdefault(step.leaf(name), Leaf(step=step, name=name, shape=known))
        return None
    shown = [_join(value) for value in inputs]
    text = _text(shown)
    by_lane = [[value[lane] for value in inputs] for lane in range(len(calls))]
    for name in (*step.layer.params, *step.layer.buffers):
        _declare(step, name, by_lane, calls, facts, text)
    try:
        return tuple(execute(step, mine, call, text) for mine, call in zip(by_lane, calls, strict=True))
    except ValueError:
        # A function of the user may serve the one size that will come, and no other.
        if step.layer.custom and any(None in leaf.shape for leaf in jax.tree.leaves(shown)):
            return None
        raise


def _declare(
    step: Step, name: str, by_lane: list[list[Any]], calls: list[Any], facts: Facts, text: str
) -> None:
    path = step.leaf(name)
    if path in calls[0].variables or path in calls[0].buffers:
        return
    leaf = Leaf(step=step, name=name, shape=None)
    arrays = []
    for inputs, call in zip(by_lane, calls, strict=True):
        shape = required(step, name, [spec(value) for value in inputs], text)
        arrays.append(jnp.zeros(shape, leaf.dtype))
        (call.variables if leaf.trained else call.buffers)[path] = arrays[-1]
    facts.leaves[path] = Leaf(step=step, name=name, shape=_join(arrays).shape)


def _join(lanes: Sequence[Any]) -> Any:
    """The one value that several lanes show."""

    def one(*leaves: Any) -> Abstract:
        shapes = [jnp.shape(leaf) for leaf in leaves]
        if len({len(shape) for shape in shapes}) > 1:
            return Abstract((), None)
        sizes = (each if len(set(each)) == 1 else (None,) for each in zip(*shapes, strict=True))
        return Abstract(tuple(size[0] for size in sizes), dtype_of(leaves[0]))

    return jax.tree.map(one, *lanes)


def _text(values: Sequence[Any]) -> str:
    return ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(list(values))) or "nothing"
