"""Activations of which one half gates the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor._moments import narrowed, widened


def glu(x: ArrayLike, *, axis: int = -1) -> jax.Array:
    """``a * sigmoid(b)``, where ``a`` and ``b`` are the halves of ``x`` along ``axis``.

    Args:
        x: any shape whose size along ``axis`` is even.
        axis: the axis that is halved.

    Raises:
        ValueError: the size is odd.

    Source: Dauphin et al., Language Modeling with Gated Convolutional Networks (2016), equation 1.

    >>> glu(jnp.array([2.0, 0.0])).tolist()
    [1.0]
    """
    size = jnp.shape(x)[axis]
    if size % 2:
        raise ValueError(f"glu: axis {axis} must have an even size, got {size} in {jnp.shape(x)}")
    return narrowed(jax.nn.glu(widened(x), axis), x)
