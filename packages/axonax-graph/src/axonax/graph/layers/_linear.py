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
        a layer from ``(..., in)`` to ``(..., units)``.

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


def _kernel_shape(x: Any, *, units: int) -> tuple[int, int]:
    return x.shape[-1], units


def _check(x: Any) -> str | None:
    return None if x.ndim else "needs an input of at least one axis (..., features)"
