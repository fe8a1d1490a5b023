"""Activations whose rows lie on the simplex but need more than a softmax."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened
from axonax.tensor.activations import _normalized


def sparsemax(
    x: Shaped[ArrayLike, "*shape"],
    *,
    axis: int | tuple[int, ...] = -1,
    where: Shaped[ArrayLike, " ..."] | None = None,
) -> Shaped[Array, "*shape"]:
    """The point of the simplex nearest to ``x``: ``max(x - t, 0)`` with ``t`` such that the sum is 1.

    Args:
        x: scores of any shape; ``-inf`` is allowed.
        axis: one axis or several.
        where: mask that broadcasts to ``x``; what is ``False`` gets 0.

    Returns:
        the shape and dtype of ``x``, exactly 0 for low scores; a row with nothing allowed is 0, with
        gradient 0.

    Source: Martins and Astudillo, From Softmax to Sparsemax (2016), algorithm 1.

    >>> sparsemax(jnp.array([1.0, 0.5, -1.0])).tolist()
    [0.75, 0.25, 0.0]
    """
    wide = widened(x)
    keep = wide != -jnp.inf
    if where is not None:
        keep &= jnp.asarray(where, bool)
    axes = tuple(each % wide.ndim for each in ((axis,) if isinstance(axis, int) else axis))
    order = (*(each for each in range(wide.ndim) if each not in axes), *axes)
    turned = jnp.transpose(jnp.where(keep, wide, -jnp.inf), order)
    rows = turned.reshape(*turned.shape[: wide.ndim - len(axes)], math.prod(wide.shape[a] for a in axes))
    found = _projected(rows).reshape(turned.shape)
    inverse = sorted(range(wide.ndim), key=order.__getitem__)
    return narrowed(jnp.transpose(found, inverse), x)


def gumbel_softmax(
    x: Shaped[ArrayLike, "*shape"],
    *,
    key: Any = None,
    temperature: ArrayLike = 1.0,
    hard: bool = False,
    axis: int = -1,
    where: Shaped[ArrayLike, " ..."] | None = None,
) -> Shaped[Array, "*shape"]:
    """``softmax((x + noise) / temperature)``: a differentiable sample from the classes of ``softmax(x)``.

    Args:
        x: logits of any shape; ``-inf`` is allowed.
        key: a PRNG key; ``None`` is no noise.
        temperature: above 0; the lower, the nearer to one class.
        hard: the result is one-hot, its gradient that of the soft one (straight through).
        axis: the axis of the classes.
        where: mask that broadcasts to ``x``; what is ``False`` gets 0.

    Returns:
        the shape and dtype of ``x``; a row with nothing allowed is 0, with gradient 0.

    Raises:
        ValueError: ``temperature`` is a number that is not above 0.

    Source: Jang et al., Categorical Reparameterization with Gumbel-Softmax (2016), equation 2.

    >>> gumbel_softmax(jnp.array([0.0, 9.0]), key=jax.random.key(0), hard=True).tolist()
    [0.0, 1.0]
    """
    if isinstance(temperature, int | float) and not temperature > 0:
        raise ValueError(f"gumbel_softmax: temperature must be above 0, got {temperature}")
    wide = widened(x)
    if key is not None:
        wide = wide + jax.random.gumbel(key, wide.shape, wide.dtype)
    soft = _normalized.softmax(wide / temperature, axis=axis, where=where)
    if hard:
        largest = jnp.argmax(soft, axis, keepdims=True) == jax.lax.broadcasted_iota(
            int, soft.shape, axis % soft.ndim
        )
        # The difference is exactly 0; a row with nothing allowed has no largest.
        soft = jnp.where(largest & (soft > 0), 1, 0) + (soft - jax.lax.stop_gradient(soft))
    return narrowed(soft, x)


def _projected(rows: jax.Array) -> jax.Array:
    """Each row's projection; the threshold is a mean over the support, which is constant to the gradient."""
    top = jax.lax.stop_gradient(jnp.max(rows, -1, keepdims=True, initial=-jnp.inf))
    shifted = rows - jnp.where(top == -jnp.inf, 0, top)
    # What is 1 or more below the largest has no share, however far it is.
    fixed = jax.lax.stop_gradient(jnp.maximum(shifted, -2))
    ordered = -jnp.sort(-fixed, -1)
    counts = jnp.arange(1, rows.shape[-1] + 1, dtype=rows.dtype).reshape(*(1,) * (rows.ndim - 1), -1)
    sums = jnp.cumsum(ordered, -1)
    size = jnp.maximum(jnp.sum(counts * ordered + 1 > sums, -1, keepdims=True, dtype=rows.dtype), 1)
    threshold = (jnp.sum(jnp.where(counts <= size, ordered, 0), -1, keepdims=True) - 1) / size
    support = (fixed > threshold) & (shifted != -jnp.inf)
    count = jnp.maximum(jnp.sum(support, -1, keepdims=True, dtype=rows.dtype), 1)
    mean = (jnp.sum(jnp.where(support, shifted, 0), -1, keepdims=True) - 1) / count
    return jnp.where(support, shifted - mean, 0)
