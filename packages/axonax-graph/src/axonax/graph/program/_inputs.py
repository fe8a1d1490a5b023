"""What a caller hands to a model, matched with the inputs that the model declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.graph.program._plan import Plan, Step
from axonax.graph.program._run import struct
from axonax.tensor import names


def bind(plan: Plan, inputs: tuple[Any, ...]) -> list[Any]:
    """The values of the model's inputs in its own order, as JAX arrays; ``None`` for one that is left out.

    Args:
        plan: the model.
        inputs: one a declared input, in their order, or one dict by name.

    Raises:
        ValueError: too many, too few, an unknown or a missing name, a shape or dtype that does not fit.
        TypeError: something that is not an array.
    """
    return [_array(step, value) for step, value in _matched(plan, inputs)]


def bind_abstract(plan: Plan, inputs: tuple[Any, ...]) -> list[Any]:
    """The same for `init`: shapes and dtypes alone, of arrays, ``ShapeDtypeStruct`` or shapes.

    Raises:
        ValueError: as for `bind`.
        TypeError: something that is neither an array nor a shape.
    """
    return [_abstract(step, value) for step, value in _matched(plan, inputs)]


def _matched(plan: Plan, inputs: tuple[Any, ...]) -> list[tuple[Step, Any]]:
    """Each input step with what was given for it, ``None`` for an optional one that was not."""
    steps = [plan.steps[place] for place in plan.inputs]
    if len(inputs) == 1 and isinstance(inputs[0], Mapping) and not _takes_a_dict(steps, inputs[0]):
        given = inputs[0]
        for name in given:
            if name not in plan.known_inputs:
                raise ValueError(f'unknown input "{name}": {names.suggestion(str(name), plan.known_inputs)}')
        for step in steps:
            if given.get(step.path) is None and not _is_optional(step):
                got = ", ".join(f'"{name}"' for name in given) or "none"
                raise ValueError(f"{step}: missing among the inputs by name, got {got}")
        return [(step, given.get(step.path)) for step in steps]
    needed = [step for step in steps if not _is_optional(step)]
    if len(inputs) not in (len(steps), len(needed)):
        expected = ", ".join(f'"{step.path}"' for step in steps) or "none"
        raise ValueError(f"the model takes {len(steps)} input(s), {expected}, got {len(inputs)}")
    taken = dict(
        zip((step.path for step in (steps if len(inputs) == len(steps) else needed)), inputs, strict=True)
    )
    return [(step, taken.get(step.path)) for step in steps]


def _is_optional(step: Step) -> bool:
    return bool(step.layer.arguments["optional"])


def _takes_a_dict(steps: list[Step], given: Mapping[str, Any]) -> bool:
    """Whether a dict is the value of the only input: that of a container, whose keys it has."""
    declared = steps[0].layer.arguments["shape"] if len(steps) == 1 else None
    return isinstance(declared, dict) and steps[0].path not in given


def _array(step: Step, value: Any) -> Any:
    if value is None:
        return _missing(step, "an array")

    def one(leaf: Any, shape: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct) or not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            raise TypeError(f"{step}: needs an array, got {type(leaf).__name__}")
        _check(step, tuple(leaf.shape), leaf.dtype, shape)
        return jnp.asarray(leaf)

    return _nested(step, value, step.layer.arguments["shape"], one)


def _abstract(step: Step, value: Any) -> Any:
    if value is None:
        return _missing(step, "an array, a ShapeDtypeStruct or a shape")

    def one(leaf: Any, shape: Any) -> Any:
        if isinstance(leaf, tuple) and all(isinstance(size, int) for size in leaf):
            leaf = struct(leaf, step.layer.arguments["dtype"] or "float32")
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            kind = type(leaf).__name__
            raise TypeError(f"{step}: needs an array, a ShapeDtypeStruct or a shape, got {kind}")
        _check(step, tuple(leaf.shape), leaf.dtype, shape)
        dtype = leaf.dtype if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else _canonical(leaf.dtype)
        return struct(tuple(leaf.shape), dtype)

    return _nested(step, value, step.layer.arguments["shape"], one)


def _missing(step: Step, needed: str) -> None:
    if not _is_optional(step):
        raise TypeError(f"{step}: needs {needed}, got NoneType")


def _nested(step: Step, value: Any, shape: Any, one: Callable[[Any, Any], Any]) -> Any:
    """``one`` of each array in ``value``, which is nested as the declared ``shape``."""
    if isinstance(shape, dict):
        if not isinstance(value, Mapping) or set(value) != set(shape):
            got = sorted(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(f"{step}: needs a dict with the keys {sorted(shape)}, got {got}")
        return {key: _nested(step, value[key], each, one) for key, each in shape.items()}
    if isinstance(shape, tuple) and any(isinstance(each, dict | tuple) for each in shape):
        if not isinstance(value, tuple | list) or len(value) != len(shape):
            raise ValueError(f"{step}: needs a tuple of {len(shape)}, got {type(value).__name__}")
        return tuple(_nested(step, each, size, one) for each, size in zip(value, shape, strict=True))
    return one(value, shape)


def _canonical(dtype: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(dtype)


def _check(step: Step, shape: tuple[int, ...], dtype: Any, declared: Any) -> None:
    kind = step.layer.arguments["dtype"]
    if declared is not None:
        fits = len(declared) == len(shape) and all(
            size in (None, got) for size, got in zip(declared, shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{step}: declared with shape {declared}, got {shape}")
    if isinstance(dtype, np.dtype) and dtype.kind in "OUSMm":
        raise TypeError(f"{step}: needs an array of numbers, got dtype {dtype}")
    if kind is not None and _kind(dtype) is not _kind(kind):
        raise ValueError(f"{step}: declared with dtype {kind}, got {dtype}")


def _kind(dtype: Any) -> Any:
    kinds = (jnp.floating, jnp.integer, jnp.bool_, jnp.complexfloating, jax.dtypes.extended)
    return next((kind for kind in kinds if jnp.issubdtype(dtype, kind)), None)
