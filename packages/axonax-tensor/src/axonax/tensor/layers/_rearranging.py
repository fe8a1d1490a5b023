"""Channels moved into space, and space into channels. Channels last."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._arrays import Sizes, per_axis, together
from axonax.tensor.layers._linear import dense


def pixel_shuffle(
    x: Shaped[ArrayLike, " batch *spatial channels"], factor: Sizes
) -> Shaped[Array, " batch *finer fewer"]:
    """Channels become finer positions, those of the result outermost: PyTorch's order.

    ``y[h * factor + i, w * factor + j, c] = x[h, w, (c * factor + i) * factor + j]``

    Args:
        x: ``(batch, *spatial, channels)``.
        factor: how much finer, one number or one for each spatial axis.

    Returns:
        ``(batch, *(size * factor), channels / product of the factors)`` in the dtype of ``x``.

    Raises:
        ValueError: no spatial axis, or factors whose product does not divide the channels.

    Source: Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network (2016), equation 4; the order of channels is PyTorch's.

    >>> pixel_shuffle(jnp.arange(4).reshape(1, 1, 1, 4), 2)[0, ..., 0].tolist()
    [[0, 1], [2, 3]]
    """
    return _finer("pixel_shuffle", x, factor, channels_outermost=True)


def depth_to_space(
    x: Shaped[ArrayLike, " batch *spatial channels"], factor: Sizes
) -> Shaped[Array, " batch *finer fewer"]:
    """Channels become finer positions, those of the result innermost: the order of TensorFlow and ONNX.

    ``y[h * factor + i, w * factor + j, c] = x[h, w, (i * factor + j) * channels + c]``, with the channels
    of the result.

    Args:
        x: ``(batch, *spatial, channels)``.
        factor: how much finer, one number or one for each spatial axis.

    Returns:
        ``(batch, *(size * factor), channels / product of the factors)`` in the dtype of ``x``.

    Raises:
        ValueError: no spatial axis, or factors whose product does not divide the channels.

    >>> depth_to_space(jnp.arange(8).reshape(1, 1, 1, 8), 2)[0, ..., 0].tolist()
    [[0, 2], [4, 6]]
    """
    return _finer("depth_to_space", x, factor, channels_outermost=False)


def _finer(op: str, x: ArrayLike, factor: Sizes, *, channels_outermost: bool) -> Array:
    x = jnp.asarray(x)
    axes = x.ndim - 2
    if axes < 1:
        raise ValueError(f"{op}: input must be (batch, *spatial, channels), got {x.shape}")
    factors = per_axis(op, "factor", factor, axes)
    batch, *sizes, channels = x.shape
    fewer, left = divmod(channels, math.prod(factors))
    if left:
        raise ValueError(f"{op}: factor {factor} over {axes} axes does not divide {channels} channels")
    parts = (fewer, *factors) if channels_outermost else (*factors, fewer)
    first = axes + 1 + channels_outermost
    order = [
        axis for pair in zip(range(1, axes + 1), range(first, first + axes), strict=True) for axis in pair
    ]
    last = axes + 1 if channels_outermost else 2 * axes + 1
    apart = jnp.transpose(jnp.reshape(x, (batch, *sizes, *parts)), (0, *order, last))
    finer = (size * each for size, each in zip(sizes, factors, strict=True))
    return jnp.reshape(apart, (batch, *finer, fewer))


def patch_embed(
    x: Shaped[ArrayLike, " batch *spatial inputs"],
    kernel: Shaped[ArrayLike, "*window inputs units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
) -> Shaped[Array, " batch *patches units"]:
    """A product of each patch with a kernel: a convolution whose strides are its window.

    ``y[b, p, u] = bias[u] + sum over k, i of x[b, p * window + k, i] * kernel[k, i, u]``

    Args:
        x: ``(batch, *spatial, inputs)``.
        kernel: ``(*window, inputs, units)``.
        bias: ``(units,)`` or none.

    Returns:
        ``(batch, *(size / window), units)`` in the dtype that holds ``x`` and ``kernel``; half precision is
        summed in float32. `reshape` it to ``("batch", -1, units)`` for a sequence.

    Raises:
        ValueError: shapes that do not fit, or a window that does not divide the spatial sizes.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words (2020), equation 1.

    >>> patch_embed(jnp.ones((1, 8, 6, 3)), jnp.ones((4, 2, 3, 5))).shape
    (1, 2, 3, 5)
    """
    x, kernel = together(x, kernel)
    if x.ndim < 3 or kernel.ndim != x.ndim or kernel.shape[-2] != x.shape[-1]:
        raise ValueError(
            "patch_embed: input must be (batch, *spatial, inputs) and kernel (*window, inputs, units), got "
            f"input {x.shape} and kernel {kernel.shape}"
        )
    (batch, *sizes, inputs), (*window, _, units) = x.shape, kernel.shape
    if not all(each and size % each == 0 for size, each in zip(sizes, window, strict=True)):
        raise ValueError(f"patch_embed: window {tuple(window)} does not divide the sizes {tuple(sizes)}")
    counts = [size // each for size, each in zip(sizes, window, strict=True)]
    parts = [size for pair in zip(counts, window, strict=True) for size in pair]
    axes = range(1, 2 * len(counts) + 1)
    patches = jnp.transpose(
        jnp.reshape(x, (batch, *parts, inputs)), (0, *axes[::2], *axes[1::2], x.ndim * 2 - 3)
    )
    features = math.prod(window) * inputs
    return dense(
        jnp.reshape(patches, (batch, *counts, features)), jnp.reshape(kernel, (features, units)), bias
    )
