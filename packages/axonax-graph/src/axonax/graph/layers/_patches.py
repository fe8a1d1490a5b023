"""Windows side by side: patches as vectors, products with them, and their sum."""

from __future__ import annotations

import functools

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, padding_of, positive, sizes
from axonax.graph.layers._convolution import check_rank, kernel_shape, spatial_rank
from axonax.tensor import layers


@builder
def patch_embed(
    units: int,
    window: Sizes,
    *,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A product of each patch with a kernel: a convolution whose strides are its window.

    Args:
        units: the channels of the output.
        window: the size of a patch, one integer for all spatial axes or one an axis; it divides their sizes.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (*window, in, units)``.
        bias_initializer: of ``bias (units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, in)`` to ``(batch, *patches, units)``;
        ``nn.reshape(("batch", -1, units))`` makes a sequence of it.

    Raises:
        ValueError: a size that is not a positive integer, an unknown name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 32, 32, 3)) | nn.patch_embed(64, 8)
    """
    units, window = positive("patch_embed", "units", units), sizes("patch_embed", "window", window)
    shape = functools.partial(kernel_shape, filters=units, kernel_size=window, groups=1)
    params = {"kernel": param(shape, kernel_initializer)}
    if use_bias:
        params["bias"] = param((units,), bias_initializer)
    check = functools.partial(check_rank, rank=spatial_rank("patch_embed", {"window": window}))
    return computes(layers.patch_embed, params=params, check=check, then=as_activation(activation))


@builder
def unfold(
    window: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    name: str | None = None,
) -> Layer:
    """The patch that each window sees, as one vector: rows of the window first, channels last.

    Sizes are one integer for all spatial axes, or one an axis.

    Args:
        window: its size.
        strides: its steps.
        padding: as for `conv`, with zeros.
        dilation: the steps at which a window takes its values.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, *positions, window * channels)``.

    Raises:
        ValueError: a size that is not a positive integer, sizes of several lengths, an unknown padding.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.unfold(3, strides=2)
    """
    options = {
        "window": sizes("unfold", "window", window),
        "strides": sizes("unfold", "strides", strides),
        "padding": padding_of("unfold", padding),
        "dilation": sizes("unfold", "dilation", dilation),
    }
    check = functools.partial(check_rank, rank=spatial_rank("unfold", options))
    return computes(layers.unfold, options=options, check=check)


@builder
def fold(
    output_size: Sizes,
    window: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    name: str | None = None,
) -> Layer:
    """The sum of overlapping patches, each at its place: the adjoint of `unfold`.

    Args:
        output_size: the spatial sizes of the result.
        window: as it was for `unfold`.
        strides: as they were for `unfold`.
        padding: as it was for `unfold`; what lies in the padding is left out.
        dilation: as it was for `unfold`.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *positions, window * channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ValueError: a size that is not a positive integer, sizes of several lengths, an unknown padding.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.unfold(4, strides=4) | nn.fold(28, 4, strides=4)
    """
    options = {
        "output_size": sizes("fold", "output_size", output_size),
        "window": sizes("fold", "window", window),
        "strides": sizes("fold", "strides", strides),
        "padding": padding_of("fold", padding),
        "dilation": sizes("fold", "dilation", dilation),
    }
    check = functools.partial(check_rank, rank=spatial_rank("fold", options))
    return computes(layers.fold, options=options, check=check)
