"""Activations that look at a whole axis. They compute in float32 at least."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import moments, narrowed, widened

Axis = int | tuple[int, ...]


def softmax(
    x: Shaped[ArrayLike, "*shape"], *, axis: Axis = -1, where: Shaped[ArrayLike, " ..."] | None = None
) -> Shaped[Array, "*shape"]:
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
    return narrowed(_shares(_allowed(x, where), axis), x)


def softmin(
    x: Shaped[ArrayLike, "*shape"], *, axis: Axis = -1, where: Shaped[ArrayLike, " ..."] | None = None
) -> Shaped[Array, "*shape"]:
    """``exp(-x) / sum(exp(-x))`` along ``axis``: the `softmax` of ``-x``, with its options.

    >>> softmin(jnp.array([0.0, jnp.inf])).tolist()
    [1.0, 0.0]
    """
    return softmax(-jnp.asarray(x), axis=axis, where=where)


def log_softmax(
    x: Shaped[ArrayLike, "*shape"], *, axis: Axis = -1, where: Shaped[ArrayLike, " ..."] | None = None
) -> Shaped[Array, "*shape"]:
    """``x - log(sum(exp(x)))`` along ``axis``.

    Args:
        x: scores of any shape; ``-inf`` is allowed.
        axis: one axis or several.
        where: mask that broadcasts to ``x``; what is ``False`` gets ``-inf``.

    Returns:
        the shape and dtype of ``x``; what is ``-inf`` stays so and moves nothing; a row with nothing
        allowed is ``-inf``, with gradient 0.

    >>> log_softmax(jnp.array([0.0, -jnp.inf])).tolist()
    [0.0, -inf]
    """
    return narrowed(_log_shares(_allowed(x, where), axis), x)


def logsumexp(
    x: Shaped[ArrayLike, "*shape"],
    *,
    axis: Axis = -1,
    where: Shaped[ArrayLike, " ..."] | None = None,
    keepdims: bool = False,
) -> Shaped[Array, " ..."]:
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
    x: Shaped[ArrayLike, "*shape"],
    *,
    axis: Axis = -1,
    eps: float = 1e-5,
    where: Shaped[ArrayLike, " ..."] | None = None,
) -> Shaped[Array, "*shape"]:
    """``(x - mean) / sqrt(variance + eps)`` along ``axis``, safe for data far from zero.

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
    wide = widened(x)
    found = moments(wide, axis, where)
    return narrowed((wide - found.shift - found.slip) * jax.lax.rsqrt(found.variance + eps), x)


def _allowed(x: ArrayLike, where: ArrayLike | None) -> jax.Array:
    """``x`` in float32 at least, with ``-inf`` where it must not count."""
    wide = widened(x)
    return wide if where is None else jnp.where(jnp.asarray(where, bool), wide, -jnp.inf)


def _limits(x: jax.Array) -> Any:
    return jnp.finfo(x.dtype)  # type: ignore[no-untyped-call]


def _top(x: jax.Array, axis: Axis) -> jax.Array:
    """The largest entry, a constant to the gradient; finite in a row of ``-inf``, so that differences are."""
    return jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True, initial=_limits(x).min))


def _total(powers: jax.Array, axis: Axis) -> jax.Array:
    """The sum, which is 1 at least unless nothing is allowed."""
    # A selection in place of the maximum would end the fused loop of a CPU.
    return jnp.maximum(jnp.sum(powers, axis, keepdims=True), _limits(powers).tiny)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _shares(x: jax.Array, axis: Axis) -> jax.Array:
    powers = jnp.exp(x - _top(x, axis))
    return powers / _total(powers, axis)


@_shares.defjvp
def _shares_jvp(axis: Axis, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    ((x,), (dx,)) = primals, tangents
    y = _shares(x, axis)
    return y, y * (dx - jnp.sum(y * dx, axis, keepdims=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_shares(x: jax.Array, axis: Axis) -> jax.Array:
    shifted = x - _top(x, axis)
    return shifted - jnp.log(_total(jnp.exp(shifted), axis))


@_log_shares.defjvp
def _log_shares_jvp(axis: Axis, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    ((x,), (dx,)) = primals, tangents
    y = _log_shares(x, axis)
    # By the powers of the value a GPU pulls back in one pass; a CPU is faster by those of the result.
    shares = jax.lax.platform_dependent(
        x, y, cpu=lambda _, y: jnp.exp(y), default=lambda x, _: _shares(x, axis)
    )
    # What is -inf stays so; asked of whole rows, those with nothing allowed would cost a pass of their own.
    return y, jnp.where(x == -jnp.inf, 0, dx) - jnp.sum(shares * dx, axis, keepdims=True)


log_sumexp = logsumexp
