"""Pools over windows of the spatial axes. Channels last."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from axonax.tensor.layers._arrays import Sizes, per_axis
from axonax.tensor.layers._windows import Padding, Windows

# Unrolled comparisons run up to 20 times faster on a CPU than XLA's reduce_window and its gradient, but the
# time to compile them grows with the window.
_UNROLLED = 5


def max_pool(
    x: ArrayLike,
    *,
    window: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> jax.Array:
    """The largest value in each window.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        window: one size or one for each spatial axis.
        strides: steps of the window, by default its size.
        padding: as for `conv`; padding is ``-inf`` (or the smallest integer).
        dilation: the inputs in a window are this many steps apart.

    Returns:
        ``(batch, *positions, channels)`` in the dtype of ``x``. The gradient goes to the first of equal
        values in the order of the window's rows, and NaN spreads to every window that holds it.

    Raises:
        ValueError: fewer than three axes, or options that do not fit.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), window=2)[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    x = jnp.asarray(x)
    axes = x.ndim - 2
    if axes < 1:
        raise ValueError(f"max_pool: input must be (batch, *spatial, channels), got {x.shape}")
    sizes = per_axis("max_pool", "window", window, axes)
    windows = Windows(
        op="max_pool",
        sizes=x.shape[1:-1],
        window=sizes,
        strides=sizes if strides is None else per_axis("max_pool", "strides", strides, axes),
        dilation=per_axis("max_pool", "dilation", dilation, axes),
        input_dilation=(1,) * axes,
    )
    lowest = _lowest(x.dtype)
    pads = ((0, 0, 0), *((low, high, 0) for low, high in windows.pads(padding)), (0, 0, 0))
    x = jax.lax.pad(x, lowest, pads)
    # The maximum over a box is the maximum of maxima along its axes, the first of equals with it.
    for axis in range(axes, 0, -1):
        options = (windows.window[axis - 1], windows.strides[axis - 1], windows.dilation[axis - 1])
        x = _unrolled(x, axis, *options) if options[0] <= _UNROLLED else _reduced(x, axis, *options)
    return x


def _unrolled(x: jax.Array, axis: int, window: int, stride: int, dilation: int) -> jax.Array:
    """The maximum of ``window`` strided slices."""
    reach = (window - 1) * dilation + 1
    span = max(x.shape[axis] - reach, -1) // stride * stride + 1
    slices = [
        jax.lax.slice_in_dim(x, start, start + max(span, 0), stride, axis)
        for start in range(0, window * dilation, dilation)
    ]
    largest = slices[0]
    for each in slices[1:]:
        largest = jnp.where((each > largest) | jnp.isnan(each), each, largest)
    return largest


def _reduced(x: jax.Array, axis: int, window: int, stride: int, dilation: int) -> jax.Array:
    def only(value: int) -> tuple[int, ...]:
        return tuple(value if each == axis else 1 for each in range(x.ndim))

    largest: jax.Array = jax.lax.reduce_window(
        x,
        _lowest(x.dtype),
        jax.lax.max,
        window_dimensions=only(window),
        window_strides=only(stride),
        padding="VALID",
        window_dilation=only(dilation),
    )
    return largest


def _lowest(dtype: np.dtype) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(-np.inf, dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        return np.asarray(jnp.iinfo(dtype).min, dtype)  # type: ignore[no-untyped-call]
    raise ValueError(f"max_pool: input must be float or integer, got {dtype.name}")
