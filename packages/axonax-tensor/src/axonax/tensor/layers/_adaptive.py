"""Pools to a given number of positions, or to one."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened
from axonax.tensor.layers._arrays import Sizes, per_axis
from axonax.tensor.layers._averaging import avg_pool, lp_pool, powers, root
from axonax.tensor.layers._pooling import larger, max_pool, spatial_axes


def adaptive_max_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"], *, output_size: Sizes
) -> Shaped[Array, " batch *positions channels"]:
    """The largest value of each of ``output_size`` windows.

    Position ``i`` of ``m`` sees the inputs from ``floor(i * n / m)`` to ``ceil((i + 1) * n / m)``, exclusive.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        output_size: positions, one number or one for each spatial axis.

    Returns:
        ``(batch, *output_size, channels)`` in the dtype of ``x``.

    Raises:
        ValueError: fewer than three axes, or sizes that do not fit.

    >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1), output_size=2).ravel().tolist()
    [2.0, 4.0]
    """
    x = jnp.asarray(x)
    counts = _counts("adaptive_max_pool", x, output_size)
    if window := _even(x, counts):
        return max_pool(x, window=window)
    for axis, count in enumerate(counts, 1):
        starts, ends = _bounds(x.shape[axis], count)
        # A window that is shorter than the longest sees its last input again, which never wins.
        seen = [np.minimum(starts + step, ends - 1) for step in range(int((ends - starts).max()))]
        x = functools.reduce(larger, [jnp.take(x, each, axis) for each in seen])
    return x


def adaptive_avg_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"], *, output_size: Sizes
) -> Shaped[Array, " batch *positions channels"]:
    """The mean of each of ``output_size`` windows, which are those of `adaptive_max_pool`.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        output_size: positions, one number or one for each spatial axis.

    Returns:
        ``(batch, *output_size, channels)`` in the dtype of ``x``.

    Raises:
        ValueError: fewer than three axes, or sizes that do not fit.

    >>> adaptive_avg_pool(jnp.arange(5.0).reshape(1, 5, 1), output_size=2).ravel().tolist()
    [1.0, 3.0]
    """
    wide = widened(x)
    counts = _counts("adaptive_avg_pool", wide, output_size)
    if window := _even(wide, counts):
        return avg_pool(x, window=window)
    for axis, count in enumerate(counts, 1):
        chosen = _members(wide.shape[axis], count)
        wide = _product(wide, axis, chosen / chosen.sum(1, keepdims=True))
    return narrowed(wide, x)


def adaptive_lp_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"], *, output_size: Sizes, norm: float = 2
) -> Shaped[Array, " batch *positions channels"]:
    """The norm of each of ``output_size`` windows, which are those of `adaptive_max_pool`.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        output_size: positions, one number or one for each spatial axis.
        norm: the exponent, at least 1.

    Returns:
        ``(batch, *output_size, channels)`` in the dtype of ``x``; the gradient at 0 is 0.

    Raises:
        ValueError: fewer than three axes, a norm below 1, or sizes that do not fit.

    >>> adaptive_lp_pool(jnp.array([3.0, 4.0]).reshape(1, 2, 1), output_size=1).ravel().tolist()
    [5.0]
    """
    wide = powers("adaptive_lp_pool", x, norm)
    counts = _counts("adaptive_lp_pool", wide, output_size)
    if window := _even(wide, counts):
        return lp_pool(x, window=window, norm=norm)
    for axis, count in enumerate(counts, 1):
        wide = _product(wide, axis, _members(wide.shape[axis], count))
    return narrowed(root(wide, norm), x)


def global_max_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"], *, keep_axes: bool = False
) -> Shaped[Array, " batch *ones channels"]:
    """The largest value of each channel of each example.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        keep_axes: keep the spatial axes with size 1.

    Returns:
        ``(batch, channels)`` in the dtype of ``x``.

    Raises:
        ValueError: fewer than three axes.

    >>> global_max_pool(jnp.arange(4.0).reshape(1, 4, 1)).tolist()
    [[3.0]]
    """
    x = jnp.asarray(x)
    axes = range(1, 1 + spatial_axes("global_max_pool", x))
    return jnp.max(x, tuple(axes), keepdims=keep_axes)


def global_avg_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"], *, keep_axes: bool = False
) -> Shaped[Array, " batch *ones channels"]:
    """The mean of each channel of each example.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        keep_axes: keep the spatial axes with size 1.

    Returns:
        ``(batch, channels)`` in the dtype of ``x``.

    Raises:
        ValueError: fewer than three axes.

    >>> global_avg_pool(jnp.arange(4.0).reshape(1, 4, 1)).tolist()
    [[1.5]]
    """
    wide = widened(x)
    axes = range(1, 1 + spatial_axes("global_avg_pool", wide))
    return narrowed(jnp.mean(wide, tuple(axes), keepdims=keep_axes), x)


def global_lp_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"], *, norm: float = 2, keep_axes: bool = False
) -> Shaped[Array, " batch *ones channels"]:
    """The norm of each channel of each example.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        norm: the exponent, at least 1.
        keep_axes: keep the spatial axes with size 1.

    Returns:
        ``(batch, channels)`` in the dtype of ``x``; the gradient at 0 is 0.

    Raises:
        ValueError: fewer than three axes, or a norm below 1.

    >>> global_lp_pool(jnp.array([3.0, 4.0]).reshape(1, 2, 1)).tolist()
    [[5.0]]
    """
    wide = powers("global_lp_pool", x, norm)
    axes = range(1, 1 + spatial_axes("global_lp_pool", wide))
    return narrowed(root(jnp.sum(wide, tuple(axes), keepdims=keep_axes), norm), x)


def _even(x: jax.Array, counts: tuple[int, ...]) -> tuple[int, ...]:
    """The window of the plain pool that does the same; ``()`` where positions do not divide the sizes."""
    sizes = x.shape[1:-1]
    divides = all(size % count == 0 for size, count in zip(sizes, counts, strict=True))
    return tuple(size // count for size, count in zip(sizes, counts, strict=True)) if divides else ()


def _counts(op: str, x: jax.Array, output_size: Sizes) -> tuple[int, ...]:
    counts = per_axis(op, "output_size", output_size, spatial_axes(op, x))
    if 0 in x.shape[1:-1]:
        raise ValueError(f"{op}: spatial axes must not be empty, got {x.shape}")
    return counts


def _bounds(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    position = np.arange(count)
    return position * size // count, -(-(position + 1) * size // count)


def _members(size: int, count: int) -> np.ndarray:
    """``(count, size)``: 1 where a window holds an input."""
    starts, ends = _bounds(size, count)
    inputs = np.arange(size)
    return ((inputs >= starts[:, None]) & (inputs < ends[:, None])).astype(np.float64)


def _product(x: jax.Array, axis: int, matrix: np.ndarray) -> jax.Array:
    """``matrix`` applied along an axis."""
    found = jnp.tensordot(x, jnp.asarray(matrix, x.dtype), ((axis,), (1,)), precision="highest")
    return jnp.moveaxis(found, -1, axis)
