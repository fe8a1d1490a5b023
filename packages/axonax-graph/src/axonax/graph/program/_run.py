"""One step of a model on values: fetch its leaves, check that all fits, call its function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.graph.program._keys import fold_path
from axonax.graph.program._plan import Plan, Step
from axonax.tensor import names


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a run gives every step: the leaves by path, and the mode."""

    variables: dict[str, Any]
    buffers: dict[str, Any]
    train: bool = False
    key: Any = None


def run(plan: Plan, inputs: Sequence[Any], call: Call) -> Any:
    """The value of the last step; new values of buffers are written to ``call.buffers``.

    A value is kept until its last reader has run.

    Raises:
        ValueError: an optional input that the output cannot do without is missing.
    """
    pending = iter(inputs)
    values: dict[int, Any] = {}
    for place, step in enumerate(plan.steps):
        if step.layer.op == "input":
            values[place] = step.layer.policy.cast_output(next(pending))
        else:
            values[place] = execute(step, [values[source] for source in step.sources], call)
        for each in step.done:
            del values[each]
    output = values[len(plan.steps) - 1]
    if output is None:
        given = zip(plan.inputs, inputs, strict=True)
        absent = ", ".join(str(plan.steps[place]) for place, value in given if value is None)
        raise ValueError(f"{plan.steps[-1]}: has no value, since {absent} is missing: see nn.or_else")
    return output


def execute(step: Step, inputs: Sequence[Any], call: Call, shown: str | None = None) -> Any:
    """The value of one step; ``None`` where an input that it needs is missing.

    Args:
        step: what to run.
        inputs: the values of its sources.
        call: leaves and mode.
        shown: the shapes of the inputs for error texts; ``None`` takes those of ``inputs``.

    Raises:
        ValueError: the inputs, the leaves or the mode do not fit the layer; the text names the node, the
            line that made it, and both shapes.
    """
    if lacks(step, inputs):
        return None
    layer, computation = step.layer, step.layer.computation
    shown = shapes_text(inputs) if shown is None else shown
    specs = [spec(value) for value in inputs]
    check(step, specs, shown)
    params = {name: _leaf(step, name, specs, call.variables, shown) for name in computation.params}
    buffers = {name: _leaf(step, name, specs, call.buffers, shown) for name in computation.buffers}
    mode = {name: _key(step, call) if name == "key" else call.train for name in computation.needs}
    cast = layer.policy.cast_compute if computation.casts else _same
    plain, named = split(step, cast(list(inputs)))
    try:
        # The path of the node in profiles and in what JAX says of a program.
        with jax.named_scope(step.name):
            result = computation.function(
                *plain, **named, **cast(params), **buffers, **computation.options, **mode
            )
    except Exception as error:
        misfit = isinstance(error, TypeError | ValueError | IndexError)
        if isinstance(error, jax.errors.JAXTypeError) or not misfit:
            error.add_note(f"in {step}, with input {shown}")
            raise
        text = str(error).removeprefix(f"{layer.op}: ")
        raise ValueError(f"{step}: cannot take input {shown}: {text}") from error
    if computation.buffers:
        result = _keep_buffers(step, result, call)
    for leaf in jax.tree.leaves(result, is_leaf=lambda each: each is None):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, bool | int | float | complex):
            raise ValueError(f"{step}: must return arrays, got {type(leaf).__name__}")
    return layer.policy.cast_output(result) if computation.casts else result


def _same(tree: Any) -> Any:
    return tree


def lacks(step: Step, inputs: Sequence[Any]) -> bool:
    """Whether an input that the step needs is missing: one that came by name may be."""
    needed = inputs[: len(inputs) - len(step.named)]
    return not step.layer.computation.takes_none and any(value is None for value in needed)


def split(step: Step, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Those inputs that come in order, and those by name that are there."""
    count = len(inputs) - len(step.named)
    named = zip(step.named, inputs[count:], strict=True)
    return list(inputs[:count]), {name: value for name, value in named if value is not None}


def check(step: Step, specs: Sequence[Any], shown: str) -> None:
    """Ask the layer what is wrong with inputs of these shapes.

    Raises:
        ValueError: something is.
    """
    if step.layer.computation.check is None:
        return
    plain, named = split(step, specs)
    try:
        complaint = step.layer.computation.check(*plain, **named)
    except AttributeError:  # a container has no axes
        if all(hasattr(each, "shape") for each in specs if each is not None):
            raise
        complaint = "needs arrays and no container, whose parts are node[...]"
    if complaint:
        raise ValueError(f"{step}: {complaint}, got {shown}")


def required(step: Step, name: str, specs: Sequence[Any], shown: str) -> tuple[int, ...]:
    """The shape that a leaf must have for these inputs, of which those by name do not count.

    Raises:
        ValueError: the layer's own function of shapes fails, or gives no shape.
    """
    computation = step.layer.computation
    leaf = computation.params[name] if name in computation.params else computation.buffers[name]
    try:
        return leaf.shape_for(*split(step, specs)[0])
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        problem = f"the shape of {name} does not follow from input {shown}"
        raise ValueError(f"{step}: {problem}: {error}") from error


def spec(value: Any) -> Any:
    """The shapes and dtypes of a value, in its structure."""

    def one(leaf: Any) -> Any:
        known = isinstance(leaf, jax.ShapeDtypeStruct)
        return leaf if known else struct(np.shape(leaf), dtype_of(leaf))

    return jax.tree.map(one, value)


def struct(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """An array of which only shape and dtype are known."""
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def dtype_of(leaf: Any) -> Any:
    """The dtype of an array or a Python number."""
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def shapes_text(values: Sequence[Any]) -> str:
    """The shapes of the leaves of several values, as the errors show them."""
    return ", ".join(str(np.shape(leaf)) for leaf in jax.tree.leaves(list(values))) or "nothing"


def _leaf(step: Step, name: str, specs: Sequence[Any], leaves: Mapping[str, Any], shown: str) -> Any:
    tie = step.ties.get(name)
    path = step.leaf(name) if tie is None else tie.path
    if path not in leaves:
        near = names.suggestion(path, leaves)
        hint = near if near.startswith("did you mean") else f"it has {len(leaves)} leaves of other names"
        raise ValueError(f'{step}: the state has no "{path}": {hint}')
    value = leaves[path] if tie is None else tie.transform(leaves[path])
    have, need = np.shape(value), required(step, name, specs, shown)
    if have != need:
        raise ValueError(f"{step}: {name} {have} does not fit input {shown}, which needs {need}")
    return value


def _key(step: Step, call: Call) -> Any:
    """The key of this application of the layer: none when nothing is trained."""
    if not call.train:
        return None
    if call.key is None:
        raise ValueError(f"{step}: draws at random when training: pass key=jax.random.key(...) to apply")
    return fold_path(call.key, f"{step.path}@{step.use}")


def _keep_buffers(step: Step, result: Any, call: Call) -> Any:
    """Write the new values of a layer's buffers, and return its output."""
    expected = sorted(step.layer.computation.buffers)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
        raise ValueError(f"{step}: must return (output, {{name: new value}}) for its buffers {expected}")
    output, news = result
    if sorted(news) != expected:
        raise ValueError(f"{step}: must return new values of its buffers {expected}, got {sorted(news)}")
    for name, value in news.items():
        path = step.leaf(name)
        have, got = np.shape(call.buffers[path]), np.shape(value)
        if have != got:
            raise ValueError(f"{step}: the new value of buffer {name} has shape {got}, it needs {have}")
        call.buffers[path] = jnp.asarray(value, call.buffers[path].dtype)
    return output
