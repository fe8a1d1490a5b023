"""Pooling to a size that is given: so many positions, or one. Channels last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Sizes, number, sizes
from axonax.graph.layers._convolution import check_rank, spatial_rank
from axonax.tensor import layers


@builder
def adaptive_max_pool(output_size: Sizes, *, name: str | None = None) -> Layer:
    """The largest value of each of so many windows that they make up ``output_size``.

    Position ``i`` of ``m`` sees the inputs from ``floor(i * n / m)`` to ``ceil((i + 1) * n / m)``, exclusive.

    Args:
        output_size: positions, one integer for all spatial axes or one an axis.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ValueError: a size that is not a positive integer.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.adaptive_max_pool(7)
    """
    return _adaptive(layers.adaptive_max_pool, output_size)


@builder
def adaptive_avg_pool(output_size: Sizes, *, name: str | None = None) -> Layer:
    """The mean of each of so many windows that they make up ``output_size``; as `adaptive_max_pool`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.adaptive_avg_pool((7, 4))
    """
    return _adaptive(layers.adaptive_avg_pool, output_size)


@builder
def adaptive_lp_pool(output_size: Sizes, *, norm: float = 2, name: str | None = None) -> Layer:
    """The norm of each of so many windows that they make up ``output_size``; as `adaptive_max_pool`.

    ``norm`` is the exponent, at least 1.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.adaptive_lp_pool(7, norm=3)
    """
    return _adaptive(layers.adaptive_lp_pool, output_size, norm=number("adaptive_lp_pool", "norm", norm, 1))


@builder
def global_max_pool(*, keep_axes: bool = False, name: str | None = None) -> Layer:
    """The largest value of each channel over all spatial axes.

    Args:
        keep_axes: whether the spatial axes stay, with size 1.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, channels)``.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, None, None, 3)) | nn.global_max_pool()
    """
    return _global(layers.global_max_pool, keep_axes=bool(keep_axes))


@builder
def global_avg_pool(*, keep_axes: bool = False, name: str | None = None) -> Layer:
    """The mean of each channel over all spatial axes; arguments as for `global_max_pool`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, None, None, 3)) | nn.global_avg_pool() | nn.dense(10)
    """
    return _global(layers.global_avg_pool, keep_axes=bool(keep_axes))


@builder
def global_lp_pool(*, norm: float = 2, keep_axes: bool = False, name: str | None = None) -> Layer:
    """The norm of each channel over all spatial axes: ``sum(|x| ** norm) ** (1 / norm)``.

    ``norm`` is at least 1; all else as for `global_max_pool`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, None, None, 3)) | nn.global_lp_pool(norm=4)
    """
    norm = number("global_lp_pool", "norm", norm, 1)
    return _global(layers.global_lp_pool, norm=norm, keep_axes=bool(keep_axes))


def _adaptive(function: Callable[..., Any], output_size: Any, **rest: Any) -> Layer:
    options = {"output_size": sizes(function.__name__, "output_size", output_size)}
    check = functools.partial(check_rank, rank=spatial_rank(function.__name__, options))
    return computes(function=function, options={**options, **rest}, check=check)


def _global(function: Callable[..., Any], **options: Any) -> Layer:
    return computes(function=function, options=options, check=functools.partial(check_rank, rank=None))
