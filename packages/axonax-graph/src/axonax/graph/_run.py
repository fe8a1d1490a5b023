"""One step of a model on values: fetch its leaves, check that all fits, call its function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.graph._keys import fold_path
from axonax.graph._plan import Plan, Step
from axonax.tensor import names


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a run gives every step: the leaves by path, and the mode."""

    variables: dict[str, Any]
    buffers: dict[str, Any]
    train: bool = False
    key: Any = None


def run(plan: Plan, inputs: Sequence[Any], call: Call) -> Any:
    """The value of the last step; new values of buffers are written to ``call.buffers``."""
    pending = iter(inputs)
    values: list[Any] = []
    for step in plan.steps:
        if step.layer.op == "input":
            values.append(step.layer.policy.cast_output(next(pending)))
        else:
            values.append(execute(step, [values[source] for source in step.sources], call))
    return values[-1]


def execute(step: Step, inputs: Sequence[Any], call: Call, shown: str | None = None) -> Any:
    """The value of one step.

    Args:
        step: what to run.
        inputs: the values of its sources.
        call: leaves and mode.
        shown: the shapes of the inputs for error texts; ``None`` takes those of ``inputs``.

    Raises:
        ValueError: the inputs, the leaves or the mode do not fit the layer; the text names the node, the
            line that made it, and both shapes.
    """
    layer = step.layer
    shown = shapes_text(inputs) if shown is None else shown
    specs = [spec(value) for value in inputs]
    check(step, specs, shown)
    params = {name: _leaf(step, name, specs, call.variables, shown) for name in layer.params}
    buffers = {name: _leaf(step, name, specs, call.buffers, shown) for name in layer.buffers}
    mode = {name: _key(step, call) if name == "key" else call.train for name in layer.needs}
    cast = layer.policy.cast_compute
    try:
        result = layer.function(*cast(list(inputs)), **cast(params), **buffers, **layer.options, **mode)
    except jax.errors.JAXTypeError as error:
        error.add_note(f"in {step}, with input {shown}")
        raise
    except (TypeError, ValueError, IndexError) as error:
        text = str(error).removeprefix(f"{layer.op}: ")
        raise ValueError(f"{step}: cannot take input {shown}: {text}") from error
    if layer.buffers:
        result = _keep_buffers(step, result, call)
    for leaf in jax.tree.leaves(result, is_leaf=lambda each: each is None):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, bool | int | float | complex):
            raise ValueError(f"{step}: must return arrays, got {type(leaf).__name__}")
    return layer.policy.cast_output(result)


def check(step: Step, specs: Sequence[Any], shown: str) -> None:
    """Ask the layer what is wrong with inputs of these shapes.

    Raises:
        ValueError: something is.
    """
    complaint = step.layer.check(*specs) if step.layer.check else None
    if complaint:
        raise ValueError(f"{step}: {complaint}, got {shown}")


def required(step: Step, name: str, specs: Sequence[Any], shown: str) -> tuple[int, ...]:
    """The shape that a leaf must have for these inputs.

    Raises:
        ValueError: the layer's own function of shapes fails, or gives no shape.
    """
    leaf = {**step.layer.params, **step.layer.buffers}[name]
    try:
        return leaf.shape_for(*specs)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        problem = f"the shape of {name} does not follow from input {shown}"
        raise ValueError(f"{step}: {problem}: {error}") from error


def spec(value: Any) -> Any:
    """The shapes and dtypes of a value, in its structure."""
    return jax.tree.map(lambda leaf: struct(np.shape(leaf), dtype_of(leaf)), value)


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
    path = step.leaf(name)
    if path not in leaves:
        near = names.suggestion(path, leaves)
        hint = near if near.startswith("did you mean") else f"it has {len(leaves)} leaves of other names"
        raise ValueError(f'{step}: the state has no "{path}": {hint}')
    have, need = np.shape(leaves[path]), required(step, name, specs, shown)
    if have != need:
        raise ValueError(f"{step}: {name} {have} does not fit input {shown}, which needs {need}")
    return leaves[path]


def _key(step: Step, call: Call) -> Any:
    """The key of this application of the layer: none when nothing is trained."""
    if not call.train:
        return None
    if call.key is None:
        raise ValueError(f"{step}: draws at random when training: pass key=jax.random.key(...) to apply")
    return fold_path(call.key, f"{step.path}@{step.use}")


def _keep_buffers(step: Step, result: Any, call: Call) -> Any:
    """Write the new values of a layer's buffers, and return its output."""
    expected = sorted(step.layer.buffers)
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
