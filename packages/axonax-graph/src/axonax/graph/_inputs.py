"""What a caller hands to a model, matched with the inputs that the model declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.graph._plan import Plan, Step
from axonax.graph._run import struct
from axonax.tensor import names


def bind(plan: Plan, inputs: tuple[Any, ...]) -> list[Any]:
    """The values of the model's inputs in its own order, as JAX arrays.

    Args:
        plan: the model.
        inputs: one a declared input, in their order, or one dict by name.

    Raises:
        ValueError: too many, too few, an unknown or a missing name, a shape or dtype that does not fit.
        TypeError: something that is not an array.
    """
    return [_array(step, value) for step, value in _matched(plan, inputs)]


def bind_abstract(plan: Plan, inputs: tuple[Any, ...]) -> list[jax.ShapeDtypeStruct]:
    """The same for `init`: shapes and dtypes alone, of arrays, ``ShapeDtypeStruct`` or shapes.

    Raises:
        ValueError: as for `bind`.
        TypeError: something that is neither an array nor a shape.
    """
    return [_abstract(step, value) for step, value in _matched(plan, inputs)]


def _matched(plan: Plan, inputs: tuple[Any, ...]) -> list[tuple[Step, Any]]:
    steps = [plan.steps[place] for place in plan.inputs]
    expected = ", ".join(f'"{step.path}"' for step in steps) or "none"
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        given = inputs[0]
        for name in given:
            if name not in plan.known_inputs:
                raise ValueError(f'unknown input "{name}": {names.suggestion(str(name), plan.known_inputs)}')
        for step in steps:
            if step.path not in given:
                got = ", ".join(f'"{name}"' for name in given) or "none"
                raise ValueError(f"{step}: missing among the inputs by name, got {got}")
        return [(step, given[step.path]) for step in steps]
    if len(inputs) != len(steps):
        raise ValueError(f"the model takes {len(steps)} input(s), {expected}, got {len(inputs)}")
    return list(zip(steps, inputs, strict=True))


def _array(step: Step, value: Any) -> Any:
    if isinstance(value, jax.ShapeDtypeStruct) or not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise TypeError(f"{step}: needs an array, got {type(value).__name__}")
    _check(step, tuple(value.shape), value.dtype)
    return jnp.asarray(value)


def _abstract(step: Step, value: Any) -> jax.ShapeDtypeStruct:
    if isinstance(value, tuple) and all(isinstance(size, int) for size in value):
        value = struct(value, step.layer.options["dtype"] or "float32")
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise TypeError(f"{step}: needs an array, a ShapeDtypeStruct or a shape, got {type(value).__name__}")
    _check(step, tuple(value.shape), value.dtype)
    dtype = value.dtype if jnp.issubdtype(value.dtype, jax.dtypes.extended) else _canonical(value.dtype)
    return struct(tuple(value.shape), dtype)


def _canonical(dtype: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(dtype)


def _check(step: Step, shape: tuple[int, ...], dtype: Any) -> None:
    declared, kind = step.layer.options["shape"], step.layer.options["dtype"]
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
