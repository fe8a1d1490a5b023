"""Arguments of builders as plain values: one form for each, that compares, prints and hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from axonax.tensor import initializers

# Divisible by much (so that reshapes and strides go through), too large for kernels to exceed.
PROBES = (1680, 3360)
"""what stands for an open size while shapes are found"""


def plain(value: Any) -> Any:
    """An argument in the form that a layer keeps: tuples for lists, Python numbers, dtypes by name.

    >>> plain([np.int64(2), {"dtype": np.dtype("float32")}])
    (2, {'dtype': 'float32'})
    """
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return tuple(plain(each) for each in value)
    if isinstance(value, np.generic):
        return value.item() if value.dtype.kind in "biufc" else value
    kind = _dtype(value)
    return value if kind is None else kind


def _dtype(value: Any) -> str | None:
    """The name of what stands for a dtype: one of NumPy's, its scalar types, those of JAX."""
    if isinstance(value, type):
        value = value if issubclass(value, np.generic) else getattr(value, "dtype", None)
    is_dtype = isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic))
    return np.dtype(value).name if is_dtype else None


def hashable(value: Any) -> Any:
    """What stands for a plain value in a key: equal where the values are, types included.

    ``None`` if part of it does not hash (an array).

    >>> hashable({"strides": (1, 2)}) == hashable({"strides": (1, 2)})
    True
    >>> hashable(1) == hashable(True)
    False
    >>> hashable(initializers.normal(stddev=0.1)) == hashable(initializers.normal(stddev=0.1))
    True
    """
    try:
        found = _hashable(value)
        hash(found)
    except TypeError:
        return None
    return found


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ("map", *((key, _hashable(value[key])) for key in sorted(value)))
    if isinstance(value, tuple):
        return ("tuple", *map(_hashable, value))
    if isinstance(value, slice):
        return ("slice", *map(_hashable, (value.start, value.stop, value.step)))
    made = initializers.record(value)
    return (type(value), value) if made is None else ("initializer", made[0], _hashable(plain(made[1])))
