"""Linear layers."""

from __future__ import annotations

import functools
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import positive
from axonax.tensor import layers


@builder
def dense(
    units: int,
    *,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A dense layer.

    ``y = activation(x @ kernel + bias)``

    Args:
        units: the size of the last axis of the output.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (in, units)``.
        bias_initializer: of ``bias (units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(..., in)`` to ``(..., units)``; integers are taken as the floats of their value.

    Raises:
        ValueError: ``units`` is not a positive integer, an unknown name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(2, activation="relu")
    """
    units = positive("dense", "units", units)
    params = {"kernel": param(functools.partial(_kernel_shape, units=units), kernel_initializer)}
    if use_bias:
        params["bias"] = param((units,), bias_initializer)
    return computes(
        function=layers.dense,
        params=params,
        check=_check,
        then=as_activation(activation),
    )


@builder
def bilinear(
    units: int,
    *,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A layer of two inputs: a product of each pair of their features, weighed.

    ``y[k] = activation(sum over i, j of a[i] * kernel[i, j, k] * b[j] + bias[k])``

    Args:
        units: the size of the last axis of the output.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (in_a, in_b, units)``.
        bias_initializer: of ``bias (units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(..., in_a)`` and ``(..., in_b)`` to ``(..., units)``.

    Raises:
        ValueError: ``units`` is not a positive integer, an unknown name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.bilinear(2)(nn.input("a", (None, 3)), nn.input("b", (None, 4)))
    """
    units = positive("bilinear", "units", units)
    params = {"kernel": param(functools.partial(_pair_shape, units=units), kernel_initializer)}
    if use_bias:
        params["bias"] = param((units,), bias_initializer)
    return computes(
        function=layers.bilinear,
        params=params,
        arity=2,
        check=_check_pair,
        then=as_activation(activation),
    )


@builder
def bias(*, bias_initializer: str | Initializer = "zeros", name: str | None = None) -> Layer:
    """A bias alone: ``y = x + bias``.

    Args:
        bias_initializer: of ``bias (features,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: an unknown initializer; the text lists near matches.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.bias()
    """
    return computes(function=layers.bias, params={"bias": param(_features, bias_initializer)}, check=_check)


def _kernel_shape(x: Any, *, units: int) -> tuple[int, int]:
    return x.shape[-1], units


def _pair_shape(a: Any, b: Any, *, units: int) -> tuple[int, int, int]:
    return a.shape[-1], b.shape[-1], units


def _features(x: Any) -> tuple[int]:
    return (x.shape[-1],)


def _check(x: Any) -> str | None:
    return None if x.ndim else "needs an input of at least one axis (..., features)"


def _check_pair(a: Any, b: Any) -> str | None:
    fits = a.ndim and b.ndim and a.shape[:-1] == b.shape[:-1]
    return None if fits else "needs two inputs (..., features) that agree in all axes but the last"
