"""Pools over windows of the spatial axes. Channels last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._arrays import Sizes, per_axis
from axonax.tensor.layers._windows import Padding, Pairs, Windows

# Unrolled comparisons run up to 20 times faster on a CPU than XLA's reduce_window and its gradient, but the
# time to compile them grows with the window.
_UNROLLED = 5
Combine = Callable[[jax.Array, jax.Array], jax.Array]


def max_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    *,
    window: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> Shaped[Array, " batch *positions channels"]:
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
    lowest = _lowest("max_pool", x.dtype)
    windows = windows_of("max_pool", x, window, strides, dilation)
    x = jax.lax.pad(x, lowest, spatial_pads(windows.pads(padding)))
    # The maximum over a box is the maximum of maxima along its axes, the first of equals with it.
    return over_axes(x, windows, larger, jax.lax.max, lowest.item())


def min_pool(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    *,
    window: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> Shaped[Array, " batch *positions channels"]:
    """The smallest value in each window; all else as in `max_pool`, padding being ``inf``.

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        window: one size or one for each spatial axis.
        strides: steps of the window, by default its size.
        padding: as for `conv`.
        dilation: the inputs in a window are this many steps apart.

    Returns:
        ``(batch, *positions, channels)`` in the dtype of ``x``.

    Raises:
        ValueError: as for `max_pool`.

    >>> min_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), window=2)[0, :, :, 0].tolist()
    [[0.0, 2.0], [8.0, 10.0]]
    """
    x = jnp.asarray(x)
    highest = _highest("min_pool", x.dtype)
    windows = windows_of("min_pool", x, window, strides, dilation)
    x = jax.lax.pad(x, highest, spatial_pads(windows.pads(padding)))
    return over_axes(x, windows, smaller, jax.lax.min, highest.item())


def windows_of(op: str, x: jax.Array, window: Sizes, strides: Sizes | None, dilation: Sizes) -> Windows:
    """The windows of a pool over the spatial axes of ``x``."""
    axes = spatial_axes(op, x)
    sizes = per_axis(op, "window", window, axes)
    return Windows(
        op=op,
        sizes=x.shape[1:-1],
        window=sizes,
        strides=sizes if strides is None else per_axis(op, "strides", strides, axes),
        dilation=per_axis(op, "dilation", dilation, axes),
        input_dilation=(1,) * axes,
    )


def spatial_axes(op: str, x: jax.Array) -> int:
    """How many spatial axes ``x`` has: at least one, or a ValueError."""
    if x.ndim < 3:
        raise ValueError(f"{op}: input must be (batch, *spatial, channels), got {x.shape}")
    return x.ndim - 2


def spatial_pads(pads: Pairs) -> tuple[tuple[int, int, int], ...]:
    """``pads`` as `jax.lax.pad` takes them, for all axes."""
    return ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0))


def over_axes(
    x: jax.Array, windows: Windows, combine: Combine, primitive: Combine, start: float
) -> jax.Array:
    """The reduction of every window of a padded ``x``: axis by axis on a CPU, elsewhere as XLA's own."""
    result: jax.Array = _over_axes(x, windows, combine, primitive, start)
    return result


@functools.partial(jax.jit, static_argnames=("windows", "combine", "primitive", "start"))
def _over_axes(
    x: jax.Array, windows: Windows, combine: Combine, primitive: Combine, start: float
) -> jax.Array:
    # Gradients compare again rather than keep what was compared.
    by_axis = jax.checkpoint(
        functools.partial(_by_axis, windows=windows, combine=combine, primitive=primitive, start=start),
        prevent_cse=False,
    )
    # JAX has no gradient of a dilated reduce_window.
    if set(windows.dilation) != {1}:
        dilated: jax.Array = by_axis(x)
        return dilated
    whole = functools.partial(
        _reduced,
        window=(1, *windows.window, 1),
        strides=(1, *windows.strides, 1),
        dilation=(1,) * x.ndim,
        primitive=primitive,
        start=start,
    )
    result: jax.Array = jax.lax.platform_dependent(x, cpu=by_axis, default=whole)
    return result


def _by_axis(x: jax.Array, windows: Windows, combine: Combine, primitive: Combine, start: float) -> jax.Array:
    for axis in range(x.ndim - 2, 0, -1):
        window, stride, dilation = (
            each[axis - 1] for each in (windows.window, windows.strides, windows.dilation)
        )
        if combine is jnp.add and (stride, dilation) == (window, 1) and window <= _UNROLLED:
            x = _sum_side_by_side(x, axis, window)
        elif window <= _UNROLLED:
            x = functools.reduce(combine, strided(x, axis, window, stride, dilation))
        else:
            x = _reduced(
                x,
                _only(axis, window, x.ndim),
                _only(axis, stride, x.ndim),
                _only(axis, dilation, x.ndim),
                primitive=primitive,
                start=start,
            )
    return x


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _sum_side_by_side(x: jax.Array, axis: int, window: int) -> jax.Array:
    """The sums of windows that do not overlap."""
    return functools.reduce(jnp.add, strided(x, axis, window, window, 1))


@_sum_side_by_side.defjvp
def _sum_side_by_side_jvp(axis: int, window: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Slower forward, but what it is transposed to is a broadcast."""
    ((x,), (dx,)) = primals, tangents
    count = x.shape[axis] // window
    held = jax.lax.slice_in_dim(dx, 0, count * window, axis=axis)
    summed = held.reshape(*x.shape[:axis], count, window, *x.shape[axis + 1 :]).sum(axis + 1)
    return _sum_side_by_side(x, axis, window), summed


def _only(axis: int, value: int, ndim: int) -> tuple[int, ...]:
    return tuple(value if each == axis else 1 for each in range(ndim))


def strided(x: jax.Array, axis: int, window: int, stride: int, dilation: int) -> list[jax.Array]:
    """For each element of the window, what all positions see there."""
    reach = (window - 1) * dilation + 1
    span = max(x.shape[axis] - reach, -1) // stride * stride + 1
    return [
        jax.lax.slice_in_dim(x, start, start + max(span, 0), stride, axis)
        for start in range(0, window * dilation, dilation)
    ]


def larger(largest: jax.Array, each: jax.Array) -> jax.Array:
    """The first of equals, or NaN."""
    return jnp.where((each > largest) | jnp.isnan(each), each, largest)


def smaller(smallest: jax.Array, each: jax.Array) -> jax.Array:
    """The first of equals, or NaN."""
    return jnp.where((each < smallest) | jnp.isnan(each), each, smallest)


def _reduced(
    x: jax.Array,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    *,
    primitive: Combine,
    start: float,
) -> jax.Array:
    result: jax.Array = jax.lax.reduce_window(
        x,
        np.asarray(start, x.dtype),
        primitive,
        window_dimensions=window,
        window_strides=strides,
        padding="VALID",
        window_dilation=dilation,
    )
    return result


def _lowest(op: str, dtype: np.dtype) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(-np.inf, dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        return np.asarray(jnp.iinfo(dtype).min, dtype)  # type: ignore[no-untyped-call]
    raise ValueError(f"{op}: input must be float or integer, got {dtype.name}")


def _highest(op: str, dtype: np.dtype) -> np.ndarray:
    lowest = _lowest(op, dtype)
    return -lowest if jnp.issubdtype(dtype, jnp.floating) else ~lowest
