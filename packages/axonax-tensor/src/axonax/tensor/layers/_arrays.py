"""What the layer functions share: dtypes, options by axis, and vectors along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor.precision import promoted

Sizes = int | Sequence[int]


def along(vector: ArrayLike, ndim: int, axis: int = -1) -> jax.Array:
    """``vector`` in a shape of ``ndim`` axes, all but ``axis`` of size 1."""
    shape = [1] * ndim
    shape[axis] = -1
    return jnp.reshape(jnp.asarray(vector), shape)


def together(x: ArrayLike, kernel: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Both in the dtype that holds both."""
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    dtype = promoted(x.dtype, kernel.dtype)
    return x.astype(dtype), kernel.astype(dtype)


def accumulator(dtype: jnp.dtype) -> jnp.dtype | None:
    """In which dtype products of ``dtype`` are summed: float32 for half precision, else as they come."""
    is_half = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
    return jnp.dtype(jnp.float32) if is_half else None


def finished(total: jax.Array, bias: ArrayLike | None, dtype: jnp.dtype) -> jax.Array:
    """``total`` plus a bias on its last axis, rounded to ``dtype`` once."""
    if bias is not None:
        total = total + along(bias, total.ndim).astype(total.dtype)
    return total.astype(dtype)


def per_axis(op: str, option: str, value: Sizes, count: int, *, least: int = 1) -> tuple[int, ...]:
    """``value`` for each of ``count`` spatial axes; one number stands for all of them.

    Raises:
        ValueError: another number of values, or one that is not an integer of at least ``least``.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * count
    if len(values) != count:
        raise ValueError(f"{op}: {option} must have one value or one for each of {count} axes, got {value}")
    if not all(isinstance(each, Integral) and each >= least for each in values):
        raise ValueError(f"{op}: {option} must be integers of at least {least}, got {value}")
    return tuple(map(int, values))


def check_bias(op: str, bias: ArrayLike | None, units: int) -> None:
    """Raise a ValueError unless the bias has one value for each unit."""
    if bias is not None and jnp.shape(bias) != (units,):
        raise ValueError(f"{op}: bias {jnp.shape(bias)} does not fit {units} units: it must be ({units},)")
