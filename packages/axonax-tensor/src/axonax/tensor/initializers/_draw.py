"""What every initializer here is made of: the type, and checks of what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Shape = Sequence[int]
Initializer = Callable[..., jax.Array]


def random(name: str, draw: Callable[[Any, Shape, Any], jax.Array], least_axes: int = 0) -> Initializer:
    """``draw`` after checks of the dtype and of the number of axes."""

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"{name}: dtype must be float, got {jnp.dtype(dtype).name}")
        if len(shape) < least_axes:
            raise ValueError(f"{name}: shape must have at least {least_axes} axes, got {tuple(shape)}")
        return draw(key, shape, jnp.dtype(dtype)).astype(dtype)

    return init


def check_not_negative(name: str, option: str, value: float) -> None:
    """Raise a ValueError if ``value`` is negative."""
    if value < 0:
        raise ValueError(f"{name}: {option} must not be negative, got {value}")
