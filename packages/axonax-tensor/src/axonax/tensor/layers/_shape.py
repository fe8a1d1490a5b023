"""Changes of shape."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped


def flatten(x: Shaped[ArrayLike, " batch *rest"]) -> Shaped[Array, "batch features"]:
    """All axes but the first become one.

    Args:
        x: ``(batch, ...)``.

    Returns:
        ``(batch, features)``; ``(batch, 1)`` where ``x`` has no other axis.

    Raises:
        ValueError: ``x`` is a scalar.

    >>> flatten(jnp.ones((2, 3, 4))).shape
    (2, 12)
    """
    shape = jnp.shape(x)
    if not shape:
        raise ValueError("flatten: input must have a batch axis, got a scalar")
    return jnp.reshape(x, (shape[0], math.prod(shape[1:])))
