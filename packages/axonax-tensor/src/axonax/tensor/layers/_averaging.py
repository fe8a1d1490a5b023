"""Pools that add up their windows: means, norms, blurs. Sums are float32 at least."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor import names
from axonax.tensor._moments import narrowed, widened
from axonax.tensor.layers._arrays import Sizes, per_axis
from axonax.tensor.layers._pooling import over_axes, spatial_axes, spatial_pads, strided, windows_of
from axonax.tensor.layers._windows import Padding, Windows

_EDGES = {"reflect": "reflect", "edge": "edge", "constant": "constant", "wrap": "wrap"}


def avg_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    *,
    window: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    count_padding: bool = False,
) -> Shaped[Array, " batch *positions channels"]:
    """The mean of each window.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        window: one size or one for each spatial axis.
        strides: steps of the window, by default its size.
        padding: as for `conv`.
        dilation: the inputs in a window are this many steps apart.
        count_padding: padding counts as zeros, rather than not at all.

    Returns:
        ``(batch, *positions, channels)`` in the dtype of ``x``; a window of padding alone is 0.

    Raises:
        ValueError: fewer than three axes, or options that do not fit.

    >>> avg_pool(jnp.arange(4.0).reshape(1, 4, 1), window=2).ravel().tolist()
    [0.5, 2.5]
    """
    wide = widened(x)
    windows = windows_of("avg_pool", wide, window, strides, dilation)
    total = _sums(wide, windows, padding)
    if count_padding:
        return narrowed(total / math.prod(windows.window), x)
    ones = jnp.ones((1, *wide.shape[1:-1], 1), wide.dtype)
    return narrowed(total / jnp.maximum(_sums(ones, windows, padding), 1), x)


def lp_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    *,
    window: Sizes,
    norm: float = 2,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> Shaped[Array, " batch *positions channels"]:
    """The norm of each window: ``sum(|x| ** norm) ** (1 / norm)``.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        window: one size or one for each spatial axis.
        norm: the exponent, at least 1.
        strides: steps of the window, by default its size.
        padding: as for `conv`.
        dilation: the inputs in a window are this many steps apart.

    Returns:
        ``(batch, *positions, channels)`` in the dtype of ``x``; the gradient at 0 is 0.

    Raises:
        ValueError: fewer than three axes, a norm below 1, or options that do not fit.

    >>> lp_pool(jnp.array([3.0, 4.0]).reshape(1, 2, 1), window=2).ravel().tolist()
    [5.0]
    """
    wide = powers("lp_pool", x, norm)
    windows = windows_of("lp_pool", wide, window, strides, dilation)
    return narrowed(root(_sums(wide, windows, padding), norm), x)


def blur_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    *,
    window: Sizes = 3,
    strides: Sizes = 1,
    mode: Literal["reflect", "edge", "constant", "wrap"] = "constant",
) -> Shaped[Array, " batch *positions channels"]:
    """Blur with a binomial filter, such as ``[1, 2, 1] / 4``, before taking every ``strides``-th position.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        window: the length of the filter, one or one for each spatial axis.
        strides: of the positions that are kept.
        mode: what lies beyond the edges, as `jax.numpy.pad` names it.

    Returns:
        ``(batch, *positions, channels)`` in the dtype of ``x``, with ``ceil(size / stride)`` positions.

    Raises:
        ValueError: fewer than three axes, or options that do not fit.

    Source: Zhang, Making Convolutional Networks Shift-Invariant Again (2019), section 3.2.

    >>> blur_pool(jnp.array([0.0, 4.0, 0.0]).reshape(1, 3, 1)).ravel().tolist()
    [1.0, 2.0, 1.0]
    """
    wide = widened(x)
    axes = spatial_axes("blur_pool", wide)
    sizes = per_axis("blur_pool", "window", window, axes)
    steps = per_axis("blur_pool", "strides", strides, axes)
    names.lookup(_EDGES, mode, "blur_pool mode")
    pads = ((0, 0), *(((size - 1) // 2, size // 2) for size in sizes), (0, 0))
    wide = jnp.pad(wide, pads, mode=mode)
    for axis, (size, step) in enumerate(zip(sizes, steps, strict=True), 1):
        weights = [math.comb(size - 1, k) / 2 ** (size - 1) for k in range(size)]
        slices = strided(wide, axis, size, step, 1)
        wide = sum((each * w for each, w in zip(slices, weights, strict=True)), jnp.zeros_like(slices[0]))
    return narrowed(wide, x)


def powers(op: str, x: ArrayLike, norm: float) -> jax.Array:
    """``|x| ** norm`` in float32 at least."""
    if not norm >= 1 or math.isinf(norm):
        raise ValueError(f"{op}: norm must be a finite number of at least 1, got {norm}")
    wide = widened(x)
    return jnp.square(wide) if norm == 2 else jnp.abs(wide) ** norm


def root(total: jax.Array, norm: float) -> jax.Array:
    """``total ** (1 / norm)``, with gradient 0 at 0."""
    positive = total > 0
    safe = jnp.where(positive, total, 1)
    return jnp.where(positive, jnp.sqrt(safe) if norm == 2 else safe ** (1 / norm), 0)


def _sums(x: jax.Array, windows: Windows, padding: Padding) -> jax.Array:
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), spatial_pads(windows.pads(padding)))
    return over_axes(padded, windows, jnp.add, jax.lax.add, 0)
