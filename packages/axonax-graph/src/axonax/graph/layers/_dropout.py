"""Layers that draw at random while training, and are the identity else.

What they draw follows from the ``key`` that ``apply`` is given, the path of the layer and the number of its
application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import fraction, is_array, number
from axonax.tensor import layers


@builder
def dropout(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """Zero a share of the values while training, and scale up the rest; the identity otherwise.

    The mask follows from the ``key`` that ``apply`` is given, the path of the layer and the number of its
    application.

    Args:
        rate: the share that is dropped, in [0, 1].
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``rate`` is not in [0, 1].

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dropout(0.5)
    """
    return _dropping(layers.dropout, rate)


@builder
def spatial_dropout(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """`dropout` of whole channels of an example, ``(batch, *spatial, channels)``.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 8)) | nn.spatial_dropout(0.2)
    """
    return _dropping(layers.spatial_dropout, rate, check=_check_spatial)


@builder
def drop_path(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """`dropout` of whole examples: in a residual branch, of the branch for a share of the batch.

    >>> from axonax import graph as nn
    >>> x = nn.input("x", (None, 8))
    >>> model = x + (x | nn.dense(8) | nn.drop_path(0.1))
    """
    return _dropping(layers.drop_path, rate, check=_check_batch)


@builder
def alpha_dropout(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """`dropout` for what follows a ``selu``: dropped values saturate, mean and variance stay.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(8, activation="selu") | nn.alpha_dropout(0.1)
    """
    return _dropping(layers.alpha_dropout, rate)


@builder
def feature_alpha_dropout(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """`alpha_dropout` of whole channels of an example, ``(batch, *spatial, channels)``.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 8)) | nn.feature_alpha_dropout(0.1)
    """
    return _dropping(layers.feature_alpha_dropout, rate, check=_check_spatial)


@builder
def gaussian_dropout(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """Values times normal numbers of mean 1 while training, with the variance that `dropout` has.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.gaussian_dropout(0.1)
    """
    return _dropping(layers.gaussian_dropout, rate)


@builder
def gaussian_noise(stddev: float, *, name: str | None = None) -> Layer:
    """Normal numbers of mean 0 added to the values while training; the identity otherwise.

    Args:
        stddev: of the noise, at least 0.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``stddev`` is no number of at least 0.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.gaussian_noise(0.1)
    """
    return _drawing(layers.gaussian_noise, stddev=number("gaussian_noise", "stddev", stddev))


def _dropping(function: Callable[..., Any], rate: Any, check: Any = is_array) -> Layer:
    return _drawing(function, check=check, rate=fraction(function.__name__, "rate", rate))


def _drawing(function: Callable[..., Any], check: Any = is_array, **options: float) -> Layer:
    """The layer of a function that draws, unless its option is 0."""
    needs = frozenset({"key"}) if any(options.values()) else frozenset()
    return computes(function=function, options=options, needs=needs, check=check)


def _check_spatial(x: Any) -> str | None:
    return None if x.ndim >= 3 else "needs an input (batch, *spatial, channels)"


def _check_batch(x: Any) -> str | None:
    return None if x.ndim else "needs an input (batch, ...)"
