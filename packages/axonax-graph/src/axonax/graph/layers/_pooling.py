"""Pooling over one to three spatial axes, channels last."""

from __future__ import annotations

import functools

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, padding_of, sizes
from axonax.graph.layers._convolution import check_rank, spatial_rank
from axonax.tensor import layers


@builder
def max_pool(
    window: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    name: str | None = None,
) -> Layer:
    """The largest value of each window, channel by channel.

    Sizes are one integer for all spatial axes, or one an axis.

    Args:
        window: its size.
        strides: its steps; ``None`` are those of ``window``.
        padding: as for `conv`; what is padded is never the largest.
        dilation: the steps at which a window takes its values.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to the same with fewer positions.

    Raises:
        ValueError: a size that is not a positive integer, sizes of several lengths, an unknown padding.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.max_pool(2)
    """
    options = {
        "window": sizes("max_pool", "window", window),
        "strides": None if strides is None else sizes("max_pool", "strides", strides),
        "padding": padding_of("max_pool", padding),
        "dilation": sizes("max_pool", "dilation", dilation),
    }
    check = functools.partial(check_rank, rank=spatial_rank("max_pool", options))
    return computes(function=layers.max_pool, options=options, check=check)
