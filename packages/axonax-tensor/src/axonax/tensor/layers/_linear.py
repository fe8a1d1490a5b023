"""Products with a kernel, and biases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor.layers._arrays import accumulator, along, check_bias, finished, together


def dense(x: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None = None) -> jax.Array:
    """``x @ kernel + bias``.

    Args:
        x: ``(..., in)``.
        kernel: ``(in, units)``.
        bias: ``(units,)`` or none.

    Returns:
        ``(..., units)`` in the dtype that holds ``x`` and ``kernel``; half precision is summed in
        float32 and rounded once.

    Raises:
        ValueError: shapes that do not fit.

    >>> dense(jnp.ones((5, 3)), jnp.ones((3, 2)), jnp.ones(2)).tolist()[0]
    [4.0, 4.0]
    """
    came, held = jnp.shape(x), jnp.shape(kernel)
    if len(held) != 2:
        raise ValueError(f"dense: kernel must have 2 axes, (in, units), got {held}")
    if came[-1:] != held[:1]:
        raise ValueError(f"dense: kernel {held} does not fit input {came}")
    check_bias("dense", bias, held[1])
    x, kernel = together(x, kernel)
    total = jax.lax.dot_general(
        x, kernel, (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=accumulator(x.dtype)
    )
    return finished(total, bias, x.dtype)


def bias(x: ArrayLike, bias: ArrayLike) -> jax.Array:
    """``x + bias``.

    Args:
        x: ``(..., units)``.
        bias: ``(units,)``.

    Returns:
        the shape of ``x`` in the dtype that holds both.

    Raises:
        ValueError: ``bias`` does not fit the last axis.

    >>> bias(jnp.zeros((1, 2)), jnp.array([1.0, 2.0])).tolist()
    [[1.0, 2.0]]
    """
    x, bias = together(x, bias)
    if x.ndim < 1 or bias.shape != x.shape[-1:]:
        raise ValueError(f"bias: bias {bias.shape} does not fit input {x.shape}")
    return x + along(bias, x.ndim)
