"""What windows see, side by side, and the sum of what they give back. Channels last."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._arrays import Sizes, accumulator, per_axis
from axonax.tensor.layers._pooling import spatial_axes, spatial_pads, strided
from axonax.tensor.layers._windows import Padding, Pairs, Windows


def unfold(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    *,
    window: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> Shaped[Array, "batch *positions elements"]:
    """The patch that each window sees, as one vector: rows of the window first, channels last.

    In this order ``unfold(x, window=window) @ kernel.reshape(-1, out)`` is `conv`. (PyTorch's vector has the
    channels first.)

    Args:
        x: ``(batch, *spatial, channels)`` with at least one spatial axis.
        window: one size or one for each spatial axis.
        strides: steps of the window.
        padding: as for `conv`, with zeros.
        dilation: the inputs in a window are this many steps apart.

    Returns:
        ``(batch, *positions, window * channels)`` in the dtype of ``x``.

    Raises:
        ValueError: fewer than three axes, or options that do not fit.

    >>> unfold(jnp.arange(4.0).reshape(1, 4, 1), window=2)[0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    x = jnp.asarray(x)
    spatial_axes("unfold", x)
    windows = _windows("unfold", x.shape[1:-1], window, strides, dilation)
    return _patches(x, windows, windows.pads(padding))


def fold(
    patches: Shaped[ArrayLike, " batch *positions elements"],
    *,
    output_size: Sizes,
    window: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> Shaped[Array, "batch *spatial channels"]:
    """The sum of overlapping patches, each at its place: the adjoint of `unfold`.

    Where windows do not overlap and leave nothing out it is the inverse.

    Args:
        patches: ``(batch, *positions, window * channels)``, in the order of `unfold`.
        output_size: the spatial sizes of the result, one number or one for each axis.
        window: as it was for `unfold`.
        strides: as they were for `unfold`.
        padding: as it was for `unfold`; what lies in the padding is left out.
        dilation: as it was for `unfold`.

    Returns:
        ``(batch, *output_size, channels)`` in the dtype of ``patches``; half precision is summed in float32.

    Raises:
        ValueError: fewer than three axes, or positions, elements or options that do not fit.

    >>> patches = unfold(jnp.arange(4.0).reshape(1, 4, 1), window=2)
    >>> fold(patches, output_size=4, window=2).ravel().tolist()
    [0.0, 2.0, 4.0, 3.0]
    """
    patches = jnp.asarray(patches)
    wide = patches.astype(accumulator(patches.dtype) or patches.dtype)
    axes = spatial_axes("fold", wide)
    windows = _windows("fold", per_axis("fold", "output_size", output_size, axes), window, strides, dilation)
    pads = windows.pads(padding)
    elements = math.prod(windows.window)
    if wide.shape[-1] % elements:
        raise ValueError(
            f"fold: patches must have a multiple of {elements} elements for window {windows.window}, got "
            f"{wide.shape}"
        )
    unfolded = functools.partial(_patches, windows=windows, pads=pads)
    shape = (wide.shape[0], *windows.sizes, wide.shape[-1] // elements)
    target = jax.ShapeDtypeStruct(shape, wide.dtype)  # type: ignore[no-untyped-call]
    expected = jax.eval_shape(unfolded, target).shape
    if wide.shape != expected:
        raise ValueError(
            f"fold: patches must be {expected} for output_size {windows.sizes}, got {wide.shape}"
        )
    summed: jax.Array = jax.linear_transpose(unfolded, target)(wide)[0]
    return summed.astype(patches.dtype)


def _windows(op: str, sizes: tuple[int, ...], window: Sizes, strides: Sizes, dilation: Sizes) -> Windows:
    axes = len(sizes)
    return Windows(
        op=op,
        sizes=sizes,
        window=per_axis(op, "window", window, axes),
        strides=per_axis(op, "strides", strides, axes),
        dilation=per_axis(op, "dilation", dilation, axes),
        input_dilation=(1,) * axes,
    )


def _patches(x: jax.Array, windows: Windows, pads: Pairs) -> jax.Array:
    """Axis by axis, so that there are as many slices as the sides of the window are long together."""
    axes = len(windows.sizes)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), spatial_pads(pads))
    for axis in range(axes, 0, -1):
        options = (windows.window[axis - 1], windows.strides[axis - 1], windows.dilation[axis - 1])
        x = jnp.stack(strided(x, axis, *options), 1 + axes)
    return x.reshape(*x.shape[: 1 + axes], -1)
