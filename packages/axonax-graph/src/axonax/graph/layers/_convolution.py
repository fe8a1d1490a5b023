"""Convolutions over one to three spatial axes, channels last."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, padding_of, positive, sizes
from axonax.tensor import layers


@builder
def conv(
    filters: int,
    kernel_size: Sizes = 1,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    groups: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A convolution: `axonax.tensor.layers.conv` with a kernel and a bias of its own.

    Sizes are one integer for all spatial axes, or one an axis.

    Args:
        filters: the channels of the output.
        kernel_size: of the window.
        strides: the steps of the window.
        padding: ``"valid"``, ``"same"``, ``"causal"`` (one spatial axis), a number, or a number or a pair
            ``(front, behind)`` an axis.
        input_dilation: the steps at which the input is spread out, with zeros in between.
        kernel_dilation: the steps at which the kernel is.
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
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.conv(32, 3, activation="relu")
    """
    filters, groups = positive("conv", "filters", filters), positive("conv", "groups", groups)
    if filters % groups:
        raise ValueError(f"conv: groups must divide filters, got {groups} and {filters}")
    kernel_size = sizes("conv", "kernel_size", kernel_size)
    options = {
        "strides": sizes("conv", "strides", strides),
        "padding": padding_of("conv", padding),
        "input_dilation": sizes("conv", "input_dilation", input_dilation),
        "kernel_dilation": sizes("conv", "kernel_dilation", kernel_dilation),
    }
    rank = spatial_rank("conv", {"kernel_size": kernel_size, **options})
    shape = functools.partial(kernel_shape, filters=filters, kernel_size=kernel_size, groups=groups)
    params = {"kernel": param(shape, kernel_initializer)}
    if use_bias:
        params["bias"] = param((filters,), bias_initializer)
    return computes(
        function=layers.conv,
        params=params,
        options={**options, "groups": groups},
        check=functools.partial(check_groups, rank=rank, groups=groups),
        then=as_activation(activation),
    )


def spatial_rank(who: str, options: Mapping[str, Any]) -> int | None:
    """How many spatial axes the options speak of; ``None`` where each stands for all.

    Raises:
        ValueError: two of them speak of different numbers.
    """
    given = {name: value for name, value in options.items() if isinstance(value, tuple)}
    ranks = {len(value) for value in given.values()}
    if len(ranks) > 1:
        raise ValueError(f"{who}: options must agree on the number of spatial axes, got {given}")
    return ranks.pop() if ranks else None


def check_rank(x: Any, rank: int | None) -> str | None:
    """What is wrong with an input that should have ``rank`` spatial axes (or one to three)."""
    if (rank is None and 3 <= x.ndim <= 5) or (rank is not None and x.ndim == rank + 2):
        return None
    axes = "one to three" if rank is None else str(rank)
    return f"needs an input (batch, *spatial, channels) with {axes} spatial axes"


def kernel_shape(x: Any, *, filters: int, kernel_size: Sizes, groups: int) -> tuple[int, ...]:
    """The shape of a kernel for an input."""
    return (*window_of(x, kernel_size), x.shape[-1] // groups, filters)


def window_of(x: Any, size: Sizes) -> tuple[int, ...]:
    """A size for each spatial axis of an input."""
    return (size,) * (x.ndim - 2) if isinstance(size, int) else tuple(size)


def check_groups(x: Any, *, rank: int | None, groups: int) -> str | None:
    """What is wrong with an input for a convolution in so many groups."""
    if complaint := check_rank(x, rank):
        return complaint
    return f"needs channels that groups={groups} divides" if x.shape[-1] % groups else None
