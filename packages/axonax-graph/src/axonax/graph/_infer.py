"""Shapes of all values and leaves of a model, found without computing anything.

A size that is left open (``None``) is tried with two numbers at once: what comes out the same is known,
what differs depends on it and is open as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph._param import Param
from axonax.graph._plan import Plan, Step
from axonax.graph._run import Call, check, dtype_of, execute, required, spec, struct

Shape = tuple[int | None, ...]

# Divisible by much (so that reshapes and strides go through), too large for kernels to exceed.
_PROBES = (1680, 3360)
_OPEN = re.compile("|".join(rf"\b{probe}\b" for probe in _PROBES))


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
                lane.append(struct(sizes, dtype or "float32"))
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
        # Made within: what stands for the leaves ends with the trace, and only facts outlive it.
        run = _Trace(calls=[Call(variables={}, buffers={}) for _ in lanes], facts=facts)
        pending = zip(*lanes, strict=True)
        values: list[tuple[Any, ...] | None] = []
        for step in plan.steps:
            if step.layer.op == "input":
                arrived = next(pending)
                cast = step.layer.policy.cast_output
                result = None if arrived[0] is None else tuple(cast(value) for value in arrived)
            else:
                result = run.step(step, [values[source] for source in step.sources])
            values.append(result)
            facts.values.append(None if result is None else _join(result))

    try:
        jax.eval_shape(trace, list(lanes))
    except ValueError as error:
        # A new one: JAX has put a note about its own frames on the error on its way.
        text = str(error) if len(lanes) == 1 else _OPEN.sub("None", str(error))
        raise ValueError(text) from error.__cause__
    return facts


@dataclass(frozen=True, kw_only=True)
class _Trace:
    """What is found while a model runs on abstract values, in all lanes side by side."""

    calls: list[Call]
    facts: Facts

    def step(self, step: Step, inputs: list[Any]) -> tuple[Any, ...] | None:
        """The values of a step, one a lane; ``None`` where an input is unknown."""
        leaves = [*step.layer.params, *step.layer.buffers]
        if any(value is None for value in inputs):
            for name in leaves:
                self.declare_unknown(step, name)
            return None
        shown = [_join(value) for value in inputs]
        text = _text(shown)
        lanes = [[value[lane] for value in inputs] for lane in range(len(self.calls))]
        specs = [[spec(value) for value in mine] for mine in lanes]
        check(step, specs[0], text)
        for name in leaves:
            self.declare(step, name, specs, text)
        try:
            return tuple(
                execute(step, mine, call, text) for mine, call in zip(lanes, self.calls, strict=True)
            )
        except ValueError:
            # A function of the user may serve the one size that will come, and no other.
            if step.layer.custom and any(None in leaf.shape for leaf in jax.tree.leaves(shown)):
                return None
            raise

    def declare(self, step: Step, name: str, specs: list[list[Any]], text: str) -> None:
        """Note a leaf when it is met first; zeros stand for it in each lane."""
        path = step.leaf(name)
        leaf = Leaf(step=step, name=name, shape=None)
        for mine, call in zip(specs, self.calls, strict=True):
            stored = call.variables if leaf.trained else call.buffers
            if path not in stored:
                shape = required(step, name, mine, text)
                stored[path] = jnp.zeros(shape, leaf.dtype)
        arrays = [(call.variables if leaf.trained else call.buffers)[path] for call in self.calls]
        self.facts.leaves.setdefault(path, replace(leaf, shape=_join(arrays).shape))

    def declare_unknown(self, step: Step, name: str) -> None:
        """Note a leaf whose shape is known only if it does not follow from inputs."""
        leaf = Leaf(step=step, name=name, shape=None)
        known = None if callable(leaf.param.shape) else leaf.param.shape
        self.facts.leaves.setdefault(step.leaf(name), replace(leaf, shape=known))


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
