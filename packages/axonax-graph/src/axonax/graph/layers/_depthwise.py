"""Convolutions of each channel on its own, channels last."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, padding_of, positive, sizes
from axonax.graph.layers._convolution import check_rank, spatial_rank, window_of
from axonax.tensor import layers


@builder
def depthwise_conv(
    multiplier: int,
    kernel_size: Sizes = 1,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A convolution of each channel on its own.

    Sizes are one integer for all spatial axes, or one an axis.

    Args:
        multiplier: the channels of the output for each of the input; they stand side by side.
        kernel_size: of the window.
        strides: as for `conv`.
        padding: as for `conv`.
        input_dilation: as for `conv`.
        kernel_dilation: as for `conv`.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (*kernel_size, 1, in * multiplier)``.
        bias_initializer: of ``bias (in * multiplier,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, in)`` to ``(batch, *spatial, in * multiplier)``.

    Raises:
        ValueError: a size that is not a positive integer, sizes of several lengths, an unknown padding or
            other name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.depthwise_conv(2, 3, activation="relu")
    """
    who = "depthwise_conv"
    multiplier = positive(who, "multiplier", multiplier)
    kernel_size = sizes(who, "kernel_size", kernel_size)
    options = {
        "strides": sizes(who, "strides", strides),
        "padding": padding_of(who, padding),
        "input_dilation": sizes(who, "input_dilation", input_dilation),
        "kernel_dilation": sizes(who, "kernel_dilation", kernel_dilation),
    }
    rank = spatial_rank(who, {"kernel_size": kernel_size, **options})
    params = {
        "kernel": param(
            lambda x: (*window_of(x, kernel_size), 1, x.shape[-1] * multiplier), kernel_initializer
        )
    }
    if use_bias:
        params["bias"] = param(functools.partial(_outputs, multiplier=multiplier), bias_initializer)
    return computes(
        function=layers.depthwise_conv,
        params=params,
        options=options,
        check=functools.partial(check_rank, rank=rank),
        then=as_activation(activation),
    )


@builder
def separable_conv2d(
    multiplier: int,
    kernel_size: Sizes = 1,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A convolution of each channel along the height, then one along the width, both with all the options.

    Strides hence count twice, as in Axon. What Keras calls separable is a `depthwise_conv` followed by a
    `conv` of window 1.

    Args:
        multiplier: the channels of the output for each of the input.
        kernel_size: of the window, one for both axes or ``(rows, columns)``.
        strides: as for `conv`.
        padding: as for `conv`, but for ``"causal"``.
        input_dilation: as for `conv`.
        kernel_dilation: as for `conv`.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there are biases.
        kernel_initializer: of ``kernel_1 (rows, 1, 1, out)`` and ``kernel_2 (1, columns, 1, out)``.
        bias_initializer: of ``bias_1 (out,)`` and ``bias_2 (out,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, height, width, in)`` to ``(batch, height, width, in * multiplier)``.

    Raises:
        ValueError: as for `depthwise_conv`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.separable_conv2d(2, (3, 5))
    """
    return _separable(
        layers.separable_conv2d,
        positive("separable_conv2d", "multiplier", multiplier),
        {"kernel_size": kernel_size, "strides": strides, "input_dilation": input_dilation}
        | {"kernel_dilation": kernel_dilation, "padding": padding},
        (kernel_initializer, bias_initializer if use_bias else None),
        activation,
    )


@builder
def separable_conv3d(
    multiplier: int,
    kernel_size: Sizes = 1,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Convolutions of each channel along the depth, the height and the width, all as in `separable_conv2d`.

    Its parameters are ``kernel_1 (slices, 1, 1, 1, out)``, ``kernel_2 (1, rows, 1, 1, out)``,
    ``kernel_3 (1, 1, columns, 1, out)``, and ``bias_1``, ``bias_2``, ``bias_3``, all ``(out,)``.

    >>> from axonax import graph as nn
    >>> model = nn.input("scan", (None, 9, 28, 28, 1)) | nn.separable_conv3d(2, 3)
    """
    return _separable(
        layers.separable_conv3d,
        positive("separable_conv3d", "multiplier", multiplier),
        {"kernel_size": kernel_size, "strides": strides, "input_dilation": input_dilation}
        | {"kernel_dilation": kernel_dilation, "padding": padding},
        (kernel_initializer, bias_initializer if use_bias else None),
        activation,
    )


def _separable(
    function: Callable[..., Any],
    multiplier: int,
    given: Mapping[str, Any],
    initializers: tuple[Any, Any],
    activation: Activation | None,
) -> Layer:
    """The layer of a function of a kernel, and perhaps a bias, for each spatial axis."""
    who = function.__name__
    axes = int(who.removeprefix("separable_conv").removesuffix("d"))
    options: dict[str, Any] = {
        name: sizes(who, name, value) for name, value in given.items() if name != "padding"
    }
    options["padding"] = padding_of(who, given["padding"], causal=False)
    if spatial_rank(who, options) not in (None, axes):
        raise ValueError(f"{who}: options must speak of {axes} spatial axes, got {options}")
    window = options.pop("kernel_size")
    params = {}
    for axis in range(axes):
        shape = functools.partial(_along, axis=axis, window=window, multiplier=multiplier)
        params[f"kernel_{axis + 1}"] = param(shape, initializers[0])
        if initializers[1] is not None:
            biases = functools.partial(_outputs, multiplier=multiplier)
            params[f"bias_{axis + 1}"] = param(biases, initializers[1])
    return computes(
        function=function,
        params=params,
        options=options,
        check=functools.partial(check_rank, rank=axes),
        then=as_activation(activation),
    )


def _along(x: Any, *, axis: int, window: Sizes, multiplier: int) -> tuple[int, ...]:
    """The shape of a kernel whose window lies along one axis."""
    lengths = (size if place == axis else 1 for place, size in enumerate(window_of(x, window)))
    return (*lengths, 1, x.shape[-1] * multiplier)


def _outputs(x: Any, *, multiplier: int) -> tuple[int]:
    return (x.shape[-1] * multiplier,)
