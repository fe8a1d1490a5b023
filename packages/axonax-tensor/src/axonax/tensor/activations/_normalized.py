"""Activations that look at a whole axis. They compute in float32 at least."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor._moments import moments, narrowed, widened

Axis = int | tuple[int, ...]


def softmax(x: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None) -> jax.Array:
    """``exp(x) / sum(exp(x))`` along ``axis``.

    Args:
        x: scores of any shape; ``-inf`` is allowed.
        axis: one axis or several.
        where: mask that broadcasts to ``x``; what is ``False`` gets 0.

    Returns:
        the shape and dtype of ``x``; a row with nothing allowed is 0, with gradient 0.

    >>> softmax(jnp.zeros(3), where=jnp.array([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    powers = jnp.exp(_shifted(x, axis, where))
    return narrowed(powers / _total(powers, axis), x)


def softmin(x: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None) -> jax.Array:
    """``exp(-x) / sum(exp(-x))`` along ``axis``: the `softmax` of ``-x``, with its options.

    >>> softmin(jnp.array([0.0, jnp.inf])).tolist()
    [1.0, 0.0]
    """
    return softmax(-jnp.asarray(x), axis=axis, where=where)


def log_softmax(x: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None) -> jax.Array:
    """``x - log(sum(exp(x)))`` along ``axis``.

    Args:
        x: scores of any shape; ``-inf`` is allowed.
        axis: one axis or several.
        where: mask that broadcasts to ``x``; what is ``False`` gets ``-inf``.

    Returns:
        the shape and dtype of ``x``; a row with nothing allowed is ``-inf``, with gradient 0.

    >>> log_softmax(jnp.array([0.0, -jnp.inf])).tolist()
    [0.0, -inf]
    """
    shifted = _shifted(x, axis, where)
    return narrowed(shifted - jnp.log(_total(jnp.exp(shifted), axis)), x)


def logsumexp(
    x: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None, keepdims: bool = False
) -> jax.Array:
    """``log(sum(exp(x)))`` along ``axis``; also called ``log_sumexp``.

    Args:
        x: any shape; ``-inf`` is allowed.
        axis: one axis or several.
        where: mask that broadcasts to ``x``; what is ``False`` does not count.
        keepdims: keep the axes with size 1.

    Returns:
        ``x`` without ``axis``, in its dtype; a row with nothing allowed is ``-inf``, with gradient 0.

    >>> logsumexp(jnp.array([200.0, -jnp.inf])).tolist()
    200.0
    """
    allowed = _allowed(x, where)
    top = _top(allowed, axis)
    total = jnp.sum(jnp.exp(allowed - top), axis, keepdims=True)
    empty = total == 0
    result = narrowed(jnp.where(empty, -jnp.inf, jnp.log(jnp.where(empty, 1, total)) + top), x)
    return result if keepdims else jnp.squeeze(result, axis)


def standardize(
    x: ArrayLike, *, axis: Axis = -1, eps: float = 1e-5, where: ArrayLike | None = None
) -> jax.Array:
    """``(x - mean) / sqrt(variance + eps)`` along ``axis``, the variance in two passes.

    Args:
        x: any shape.
        axis: one axis or several.
        eps: added to the variance.
        where: mask that broadcasts to ``x``; what is ``False`` does not count.

    Returns:
        the shape and dtype of ``x``.

    >>> standardize(jnp.array([1.0, 3.0]), eps=0.0).tolist()
    [-1.0, 1.0]
    """
    x = jnp.asarray(x)
    found = moments(widened(x), axis, where)
    return narrowed(found.centered * jax.lax.rsqrt(found.variance + eps), x)


def _allowed(x: ArrayLike, where: ArrayLike | None) -> jax.Array:
    """``x`` with ``-inf`` where it must not count; the selection cuts the gradient there as well."""
    wide = widened(x)
    keep = wide != -jnp.inf
    if where is not None:
        keep &= jnp.asarray(where, bool)
    return jnp.where(keep, wide, -jnp.inf)


def _top(x: jax.Array, axis: Axis) -> jax.Array:
    """The largest entry, a constant to the gradient; 0 in a row of ``-inf`` keeps differences defined."""
    top = jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True, initial=-jnp.inf))
    return jnp.where(top == -jnp.inf, 0, top)


def _shifted(x: ArrayLike, axis: Axis, where: ArrayLike | None) -> jax.Array:
    allowed = _allowed(x, where)
    return allowed - _top(allowed, axis)


def _total(powers: jax.Array, axis: Axis) -> jax.Array:
    total = jnp.sum(powers, axis, keepdims=True)
    return jnp.where(total == 0, 1, total)


log_sumexp = logsumexp
