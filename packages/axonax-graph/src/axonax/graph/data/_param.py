"""What a layer keeps: parameters and buffers, described before any size is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor import initializers
from axonax.tensor.precision import Policy

Initializer = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Param:
    """A parameter or buffer of a layer: its shape (or how it follows from the inputs), first value, dtype."""

    shape: tuple[int, ...] | Callable[..., Sequence[int]]
    initializer: str | Initializer
    dtype: str | None

    def shape_for(self, *inputs: jax.ShapeDtypeStruct) -> tuple[int, ...]:
        """The shape for inputs of these shapes."""
        found = self.shape(*inputs) if callable(self.shape) else self.shape
        return tuple(int(size) for size in found)

    def dtype_for(self, policy: Policy) -> str:
        """The dtype as declared, else that of the policy's parameters."""
        return self.dtype or policy.params

    def initial(self, key: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """The first value."""
        return initializers.by_name(self.initializer)(key, shape, jnp.dtype(dtype))


def param(
    shape: int | Sequence[int] | Callable[..., Sequence[int]],
    initializer: str | Initializer = "glorot_uniform",
    *,
    dtype: Any = None,
) -> Param:
    """Describe a parameter (or buffer) of a custom layer.

    Args:
        shape: a shape, or a function of the layer's inputs (as ``jax.ShapeDtypeStruct``) that returns one.
        initializer: a name, or a function ``(key, shape, dtype) -> array``.
        dtype: kept whatever the precision policy says; ``None`` follows the policy.

    Raises:
        ValueError: an unknown initializer (the text lists near matches), a size below 0, no dtype.

    >>> param(lambda x: x.shape[-1:], "ones").shape_for(jax.ShapeDtypeStruct((8, 3), "float32"))
    (3,)
    """
    initializers.by_name(initializer)
    if not callable(shape):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise ValueError(f"param: shape must hold integers of at least 0, got {shape}")
    try:
        name = None if dtype is None else jnp.dtype(dtype).name
    except TypeError:
        raise ValueError(f"param: dtype must be a dtype or None, got {dtype!r}") from None
    return Param(shape=shape, initializer=initializer, dtype=name)
