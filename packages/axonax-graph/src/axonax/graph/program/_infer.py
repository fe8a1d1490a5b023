"""Shapes of all values and leaves of a model, found without computing anything.

A size that is left open (``None``) is tried with two numbers at once: what comes out the same is known,
what differs depends on it and is open as well. Layers of equal data on inputs of equal shapes are tried once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.data._param import Param
from axonax.graph.data._values import PROBES
from axonax.graph.program._plan import Plan, Step
from axonax.graph.program._run import Call, check, dtype_of, execute, lacks, required, spec, struct

Shape = tuple[int | None, ...]

_OPEN = re.compile("|".join(rf"\b{probe}\b" for probe in PROBES))


@dataclass(frozen=True)
class Abstract:
    """An array of which only the shape is known; ``None`` is an open size."""

    shape: Shape
    dtype: Any


class Unknown:
    """The value of a step of which nothing is known, not even the number of its axes."""


UNKNOWN = Unknown()


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A parameter or buffer of a model, with its shape (``None``: it depends on inputs without one)."""

    step: Step
    name: str
    shape: Shape | None

    @property
    def trained(self) -> bool:
        """Whether it is a parameter, not a buffer."""
        return self.name in self.step.layer.computation.params

    @property
    def param(self) -> Param:
        """Its description."""
        computation = self.step.layer.computation
        return computation.params[self.name] if self.trained else computation.buffers[self.name]

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

    A value is a tree of `Abstract`, ``None`` where an optional input is missing, or ``UNKNOWN``.
    """

    values: list[Any] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)


def declared(plan: Plan) -> Facts:
    """What follows from the declared shapes of the inputs; optional ones are there.

    Raises:
        ValueError: a layer does not fit its inputs, whatever the open sizes are.
    """
    lanes: list[list[Any]] = [[], []]
    for place in plan.inputs:
        arguments = plan.steps[place].layer.arguments
        for lane, probe in zip(lanes, PROBES, strict=True):
            lane.append(_filled(arguments["shape"], arguments["dtype"] or "float32", probe))
    return infer(plan, *lanes)


def infer(plan: Plan, *lanes: Sequence[Any]) -> Facts:
    """What follows from input shapes: one lane of them, or several for one model with open sizes.

    Args:
        plan: the model.
        *lanes: for each input a tree of ``jax.ShapeDtypeStruct``, ``None`` where it is missing, or
            ``UNKNOWN``.

    Raises:
        ValueError: a layer does not fit its inputs.
    """
    facts = Facts()
    trial = _Trial(facts=facts, leaves=[{} for _ in lanes], known={})
    pending = zip(*lanes, strict=True)
    values: list[Any] = []
    try:
        for step in plan.steps:
            if step.layer.op == "input":
                result = _cast(step, next(pending))
                joined = result if result is None or result is UNKNOWN else _join(result)
            elif step.layer.op == "placeholder":  # the model of a block, shown by itself
                result = joined = UNKNOWN
            else:
                shown = [facts.values[source] for source in step.sources]
                result, joined = trial.step(step, [values[source] for source in step.sources], shown)
            values.append(result)
            facts.values.append(joined)
    except ValueError as error:
        # A new one: JAX may have put a note about its own frames on the error on its way.
        text = str(error) if len(lanes) == 1 else _OPEN.sub("None", str(error))
        raise ValueError(text) from error.__cause__
    return facts


def _cast(step: Step, arrived: tuple[Any, ...]) -> Any:
    """The values of an input, as its policy has them."""
    if arrived[0] is None or arrived[0] is UNKNOWN:
        return arrived[0]
    return tuple(step.layer.policy.cast_output(value) for value in arrived)


def _filled(shape: Any, dtype: str, probe: int) -> Any:
    """The declared shapes of an input with a number in the place of each open size."""
    if shape is None:
        return UNKNOWN
    if isinstance(shape, dict):
        return {key: _filled(each, dtype, probe) for key, each in shape.items()}
    if any(isinstance(each, dict | tuple) for each in shape):
        return tuple(_filled(each, dtype, probe) for each in shape)
    return struct(tuple(probe if size is None else size for size in shape), dtype)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What is found while a model runs on shapes alone, in all lanes side by side.

    ``leaves`` are those met so far, a dict by path in each lane; ``known`` are results by layer and inputs.
    """

    facts: Facts
    leaves: list[dict[str, jax.ShapeDtypeStruct]]
    known: dict[Any, Any]

    def step(self, step: Step, inputs: list[Any], shown: list[Any]) -> tuple[Any, Any]:
        """The values of a step, one a lane, and joined; ``UNKNOWN`` where an input is.

        ``shown`` are the inputs joined.
        """
        if lacks(step, inputs):
            return None, None
        computation = step.layer.computation
        names = [*computation.params, *computation.buffers]
        if any(value is UNKNOWN for value in inputs):
            for name in names:
                self.declare_unknown(step, name)
            return UNKNOWN, UNKNOWN
        text = _text(shown)
        lanes = [
            [None if value is None else spec(value[lane]) for value in inputs]
            for lane in range(len(self.leaves))
        ]
        key = _key(step, lanes)
        known = None if key is None else self.known.get(key)
        if known is None:
            check(step, lanes[0], text)
            needed = {name: [required(step, name, mine, text) for mine in lanes] for name in names}
            known = _Known(shapes={name: (each, _joined_shape(each)) for name, each in needed.items()})
        for name in names:
            shapes, joined = known.shapes[name]
            self.declare(step, name, shapes, joined, text)
        if known.result is None:
            result = self.tried(step, lanes, text, shown)
            known = replace(known, result=result, joined=UNKNOWN if result is UNKNOWN else _join(result))
            if key is not None:
                self.known[key] = known
        return known.result, known.joined

    def tried(self, step: Step, lanes: list[list[Any]], text: str, shown: list[Any]) -> Any:
        """The shapes of the result in each lane."""
        try:
            return tuple(
                _abstract(step, mine, leaves, text) for mine, leaves in zip(lanes, self.leaves, strict=True)
            )
        except ValueError:
            # A function of the user may serve the one size that will come, and no other.
            if step.layer.computation.bare and any(None in leaf.shape for leaf in jax.tree.leaves(shown)):
                return UNKNOWN
            raise

    def declare(self, step: Step, name: str, shapes: list[tuple[int, ...]], joined: Shape, text: str) -> None:
        """Note a leaf when it is met first; see that it fits when it is met again."""
        leaf = Leaf(step=step, name=name, shape=None)
        path, tie = step.leaf(name), step.ties.get(name)
        for shape, leaves in zip(shapes, self.leaves, strict=True):
            have = leaves.setdefault(path, struct(shape, leaf.dtype)).shape
            if tie is not None and tie.path in leaves:  # its owner may also come later
                have = jax.eval_shape(tie.transform, leaves[tie.path]).shape
            if have != shape:
                raise ValueError(f"{step}: {name} {have} does not fit input {text}, which needs {shape}")
        if tie is None and path not in self.facts.leaves:
            self.facts.leaves[path] = replace(leaf, shape=joined)

    def declare_unknown(self, step: Step, name: str) -> None:
        """Note a leaf whose shape is known only if it does not follow from inputs."""
        leaf = Leaf(step=step, name=name, shape=None)
        known = None if callable(leaf.param.shape) else leaf.param.shape
        if name not in step.ties:
            self.facts.leaves.setdefault(step.leaf(name), replace(leaf, shape=known))


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a layer needs and gives for inputs of certain shapes: both by lane, and joined."""

    shapes: dict[str, tuple[list[tuple[int, ...]], Shape]]
    result: Any = None
    joined: Any = None


def _by_lane(values: Sequence[Any], count: int) -> list[list[Any]]:
    """The values of each lane; what is missing is so in all of them."""
    return [[None if value is None else value[lane] for value in values] for lane in range(count)]


def _key(step: Step, lanes: list[list[Any]]) -> Any:
    """What decides the shapes of a step: equal data on equal inputs."""
    if step.layer.signature is None or step.ties:
        return None
    leaves, structure = jax.tree.flatten(lanes)
    return (
        step.layer.signature,
        step.named,
        structure,
        tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves),
    )


def _abstract(step: Step, inputs: list[Any], leaves: dict[str, Any], text: str) -> Any:
    """The shapes of a step's result for inputs and leaves of these shapes."""
    computation = step.layer.computation
    params, buffers = (
        {step.leaf(name): leaves[step.leaf(name)] for name in names}
        for names in (computation.params, computation.buffers)
    )
    own = replace(step, ties={})  # what a tied parameter must be is what it is taken to be

    def run(inputs: Any, params: Any, buffers: Any) -> Any:
        return execute(own, inputs, Call(variables=params, buffers=buffers), text)

    return jax.eval_shape(run, inputs, params, buffers)


def _join(lanes: Sequence[Any]) -> Any:
    """The one value that several lanes show."""

    def one(*leaves: Any) -> Abstract:
        shapes = [jnp.shape(leaf) for leaf in leaves]
        if len({len(shape) for shape in shapes}) > 1:
            return Abstract((), None)
        return Abstract(_joined_shape(shapes), dtype_of(leaves[0]))

    return jax.tree.map(one, *lanes)


def _joined_shape(shapes: Sequence[tuple[int, ...]]) -> Shape:
    """The sizes that are the same in all lanes; the others are open."""
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))


def _text(values: Sequence[Any]) -> str:
    return ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(list(values))) or "nothing"
