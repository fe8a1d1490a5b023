"""Values that a model brings with it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import recorded


@functools.partial(recorded, op="constant")
def constant_layer(value: Any, *, name: str | None = None) -> Layer:
    """The layer of a constant, an array or a Python number as `as_constant` gives it.

    Raises:
        ValueError: neither.
    """
    number = isinstance(value, bool | int | float | complex)
    if (not number and not (hasattr(value, "shape") and hasattr(value, "dtype"))) or _kind(value) in "OUSMm":
        raise ValueError(f"constant: value must be a number or an array of numbers, got {value!r}")
    return computes(_constant, options={"value": value}, arity=0)


def as_constant(value: Any) -> Any:
    """A value that a layer's data holds as it is: arrays for lists and for NumPy's numbers."""
    return np.asarray(value) if isinstance(value, np.generic | list | tuple) else value


def _constant(*, value: Any) -> Any:
    return value


def _kind(value: Any) -> str:
    return str(getattr(getattr(value, "dtype", None), "kind", "f"))
