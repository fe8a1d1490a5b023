"""Convolutions of each channel on its own. Channels last."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._arrays import Sizes, accumulator
from axonax.tensor.layers._convolution import conv
from axonax.tensor.layers._windows import Padding
from axonax.tensor.precision import promoted


def depthwise_conv(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    kernel: Shaped[ArrayLike, "*window 1 units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
) -> Shaped[Array, "batch *positions units"]:
    """Convolution of each channel on its own, with as many outputs a channel as ``out / channels``.

    ``y[b, p, c * m + j] = bias[c * m + j] + sum over k of x[b, p * stride + k, c] * kernel[k, 0, c * m + j]``

    Args:
        x: ``(batch, *spatial, channels)``.
        kernel: ``(*window, 1, channels * multiplier)``; the outputs of a channel stand side by side.
        bias: ``(channels * multiplier,)`` or none.
        strides: as for `conv`.
        padding: as for `conv`.
        input_dilation: as for `conv`.
        kernel_dilation: as for `conv`.

    Returns:
        ``(batch, *positions, channels * multiplier)`` in the dtype that holds ``x`` and ``kernel``.

    Raises:
        ValueError: shapes or options that do not fit.

    >>> depthwise_conv(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 1, 6))).shape
    (1, 3, 3, 6)
    """
    came, held = jnp.shape(x), jnp.shape(kernel)
    if len(came) < 3 or len(held) != len(came):
        raise ValueError(
            "depthwise_conv: input must be (batch, *spatial, channels) and kernel (*window, 1, channels * "
            f"multiplier), got input {came} and kernel {held}"
        )
    if held[-2] != 1 or not came[-1] or held[-1] % came[-1]:
        raise ValueError(
            f"depthwise_conv: kernel {held} does not fit input {came}: it must be (*window, 1, a multiple of "
            f"{came[-1]})"
        )
    return conv(
        x,
        kernel,
        bias,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        groups=came[-1],
    )


def separable_conv2d(
    x: Shaped[ArrayLike, "batch height width channels"],
    kernel_1: Shaped[ArrayLike, "rows 1 1 inner"],
    kernel_2: Shaped[ArrayLike, "1 columns 1 outer"],
    bias_1: Shaped[ArrayLike, " inner"] | None = None,
    bias_2: Shaped[ArrayLike, " outer"] | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
) -> Shaped[Array, "batch new_height new_width outer"]:
    """A depthwise convolution along the height, then one along the width, both with all the options.

    Strides hence count twice, as in Axon. (Keras calls a depthwise convolution followed by one of window 1
    separable: that is `depthwise_conv` and `conv`.)

    Args:
        x: ``(batch, height, width, channels)``.
        kernel_1: ``(rows, 1, 1, channels * multiplier)``.
        kernel_2: ``(1, columns, 1, out)`` with ``out`` a multiple of ``channels * multiplier``.
        bias_1: ``(channels * multiplier,)`` or none.
        bias_2: ``(out,)`` or none.
        strides: as for `conv`.
        padding: as for `conv`.
        input_dilation: as for `conv`.
        kernel_dilation: as for `conv`.

    Returns:
        ``(batch, height', width', out)`` in the dtype that holds all; half precision is rounded once on a
        CPU, after each stage elsewhere.

    Raises:
        ValueError: shapes or options that do not fit.

    >>> separable_conv2d(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 1, 1, 4)), jnp.ones((1, 2, 1, 4))).shape
    (1, 3, 4, 4)
    """
    options = {"strides": strides, "padding": padding, "input_dilation": input_dilation}
    stages = ((kernel_1, bias_1), (kernel_2, bias_2))
    return _separable("separable_conv2d", x, stages, {**options, "kernel_dilation": kernel_dilation})


def separable_conv3d(
    x: Shaped[ArrayLike, "batch depth height width channels"],
    kernel_1: Shaped[ArrayLike, "slices 1 1 1 inner"],
    kernel_2: Shaped[ArrayLike, "1 rows 1 1 middle"],
    kernel_3: Shaped[ArrayLike, "1 1 columns 1 outer"],
    bias_1: Shaped[ArrayLike, " inner"] | None = None,
    bias_2: Shaped[ArrayLike, " middle"] | None = None,
    bias_3: Shaped[ArrayLike, " outer"] | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
) -> Shaped[Array, "batch new_depth new_height new_width outer"]:
    """Depthwise convolutions along the depth, the height and the width, all as in `separable_conv2d`.

    Args:
        x: ``(batch, depth, height, width, channels)``.
        kernel_1: ``(slices, 1, 1, 1, channels * multiplier)``.
        kernel_2: ``(1, rows, 1, 1, further)`` with ``further`` a multiple of ``channels * multiplier``.
        kernel_3: ``(1, 1, columns, 1, out)`` with ``out`` a multiple of ``further``.
        bias_1: ``(channels * multiplier,)`` or none.
        bias_2: ``(further,)`` or none.
        bias_3: ``(out,)`` or none.
        strides: as for `conv`.
        padding: as for `conv`.
        input_dilation: as for `conv`.
        kernel_dilation: as for `conv`.

    Returns:
        ``(batch, depth', height', width', out)`` in the dtype that holds all.

    Raises:
        ValueError: shapes or options that do not fit.

    >>> kernels = jnp.ones((3, 1, 1, 1, 2)), jnp.ones((1, 2, 1, 1, 2)), jnp.ones((1, 1, 2, 1, 4))
    >>> separable_conv3d(jnp.ones((1, 5, 5, 5, 2)), *kernels).shape
    (1, 3, 4, 4, 4)
    """
    options = {"strides": strides, "padding": padding, "input_dilation": input_dilation}
    stages = ((kernel_1, bias_1), (kernel_2, bias_2), (kernel_3, bias_3))
    return _separable("separable_conv3d", x, stages, {**options, "kernel_dilation": kernel_dilation})


def _separable(
    op: str, x: ArrayLike, stages: tuple[tuple[ArrayLike, ArrayLike | None], ...], options: dict[str, Any]
) -> jax.Array:
    """One depthwise convolution for each spatial axis; on a CPU rounded once."""
    held = [jnp.shape(kernel) for kernel, _ in stages]
    axes = len(stages)
    if jnp.ndim(x) != axes + 2:
        raise ValueError(f"{op}: input must be (batch, {axes} spatial axes, channels), got {jnp.shape(x)}")
    for axis, shape in enumerate(held):
        others = [size for place, size in enumerate(shape[:-1]) if place != axis]
        if len(shape) != axes + 2 or set(others) != {1}:
            raise ValueError(
                f"{op}: kernel_{axis + 1} must have a window along spatial axis {axis} alone and size 1 "
                f"on the others, got {shape}"
            )
    dtype = promoted(*map(jnp.result_type, (x, *(kernel for kernel, _ in stages))))

    def chained(dtype: Any, arrays: Any) -> Any:
        y, stages = jax.tree.map(lambda each: each.astype(dtype), arrays)
        for kernel, bias in stages:
            y = depthwise_conv(y, kernel, bias, **options)
        return y

    def on_cpu(arrays: Any) -> Any:
        return chained(accumulator(dtype) or dtype, arrays).astype(dtype)

    # Elsewhere half precision is convolved as such, so that it is rounded after each stage.
    elsewhere = functools.partial(chained, dtype)
    arrays = jax.tree.map(jnp.asarray, (x, stages))
    result: jax.Array = jax.lax.platform_dependent(arrays, cpu=on_cpu, default=elsewhere)
    return result
