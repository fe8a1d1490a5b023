"""Transposed convolutions over one to three spatial axes, channels last."""

from __future__ import annotations

import functools

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, padding_of, positive, sizes
from axonax.graph.layers._convolution import check_groups, kernel_shape, spatial_rank
from axonax.tensor import layers


@builder
def conv_transpose(
    filters: int,
    kernel_size: Sizes = 1,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    output_padding: Sizes = 0,
    kernel_dilation: Sizes = 1,
    groups: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A transposed convolution: `axonax.tensor.layers.conv_transpose` with a kernel and a bias of its own.

    Sizes are one integer for all spatial axes, or one an axis.

    Args:
        filters: the channels of the output.
        kernel_size: of the window.
        strides: how far apart the positions of the input come to lie.
        padding: ``"valid"``, ``"same"`` (``strides`` positions for each of the input), a number, or a number
            or a pair ``(front, behind)`` an axis.
        output_padding: so many further positions behind.
        kernel_dilation: the steps at which the kernel is spread out.
        groups: parts of the channels that do not see each other.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (*kernel_size, in / groups, filters)``.
        bias_initializer: of ``bias (filters,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, in)`` to ``(batch, *spatial, filters)``.

    Raises:
        ValueError: a size that is not a positive integer, sizes of several lengths, ``filters`` that
            ``groups`` does not divide, an unknown padding or other name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 7, 7, 64)) | nn.conv_transpose(32, 3, strides=2, padding="same")
    """
    who = "conv_transpose"
    filters, groups = positive(who, "filters", filters), positive(who, "groups", groups)
    if filters % groups:
        raise ValueError(f"{who}: groups must divide filters, got {groups} and {filters}")
    kernel_size = sizes(who, "kernel_size", kernel_size)
    options = {
        "strides": sizes(who, "strides", strides),
        "padding": padding_of(who, padding, causal=False),
        "output_padding": sizes(who, "output_padding", output_padding, least=0),
        "kernel_dilation": sizes(who, "kernel_dilation", kernel_dilation),
    }
    rank = spatial_rank(who, {"kernel_size": kernel_size, **options})
    shape = functools.partial(kernel_shape, filters=filters, kernel_size=kernel_size, groups=groups)
    params = {"kernel": param(shape, kernel_initializer)}
    if use_bias:
        params["bias"] = param((filters,), bias_initializer)
    return computes(
        function=layers.conv_transpose,
        params=params,
        options={**options, "groups": groups},
        check=functools.partial(check_groups, rank=rank, groups=groups),
        then=as_activation(activation),
    )
