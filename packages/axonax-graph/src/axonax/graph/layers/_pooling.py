"""Pooling over one to three spatial axes, channels last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Padding, Sizes, number, padding_of, sizes
from axonax.graph.layers._convolution import check_rank, spatial_rank
from axonax.tensor import layers, names

_MODES = {mode: mode for mode in ("constant", "reflect", "edge", "wrap")}


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
    return _pool(layers.max_pool, window, strides=strides, padding=padding, dilation=dilation)


@builder
def min_pool(
    window: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    name: str | None = None,
) -> Layer:
    """The smallest value of each window, channel by channel; arguments as for `max_pool`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.min_pool(2)
    """
    return _pool(layers.min_pool, window, strides=strides, padding=padding, dilation=dilation)


@builder
def avg_pool(
    window: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    count_padding: bool = False,
    name: str | None = None,
) -> Layer:
    """The mean of each window, channel by channel.

    Args:
        window: as for `max_pool`.
        strides: as for `max_pool`.
        padding: as for `conv`.
        dilation: as for `max_pool`.
        count_padding: whether padding counts as zeros, rather than not at all.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to the same with fewer positions.

    Raises:
        ValueError: as for `max_pool`.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.avg_pool(2)
    """
    return _pool(
        layers.avg_pool,
        window,
        strides=strides,
        padding=padding,
        dilation=dilation,
        count_padding=bool(count_padding),
    )


@builder
def lp_pool(
    window: Sizes = 2,
    *,
    norm: float = 2,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    name: str | None = None,
) -> Layer:
    """The norm of each window, channel by channel: ``sum(|x| ** norm) ** (1 / norm)``.

    Args:
        window: as for `max_pool`.
        norm: the exponent, at least 1.
        strides: as for `max_pool`.
        padding: as for `conv`, with zeros.
        dilation: as for `max_pool`.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to the same with fewer positions.

    Raises:
        ValueError: as for `max_pool`, and for a ``norm`` below 1.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.lp_pool(2, norm=3)
    """
    norm = number("lp_pool", "norm", norm, least=1)
    return _pool(layers.lp_pool, window, strides=strides, padding=padding, dilation=dilation, norm=norm)


@builder
def blur_pool(
    window: Sizes = 3,
    *,
    strides: Sizes = 1,
    mode: Literal["constant", "reflect", "edge", "wrap"] = "constant",
    name: str | None = None,
) -> Layer:
    """A blur by a binomial filter, such as ``[1, 2, 1] / 4``, of which every ``strides``-th position is kept.

    Args:
        window: the length of the filter.
        strides: of the positions that are kept.
        mode: what lies beyond the edges, as `pad` names it.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to the same with ``ceil(size / strides)`` positions.

    Raises:
        ValueError: a size that is not a positive integer, sizes of several lengths, an unknown mode.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 1)) | nn.blur_pool(strides=2)
    """
    return _sized(
        layers.blur_pool,
        {"window": sizes("blur_pool", "window", window), "strides": sizes("blur_pool", "strides", strides)},
        mode=names.lookup(_MODES, str(mode), "blur_pool mode"),
    )


def _pool(
    function: Callable[..., Any], window: Any, *, strides: Any, padding: Any, dilation: Any, **rest: Any
) -> Layer:
    who = function.__name__
    options = {
        "window": sizes(who, "window", window),
        "strides": None if strides is None else sizes(who, "strides", strides),
        "padding": padding_of(who, padding),
        "dilation": sizes(who, "dilation", dilation),
    }
    return _sized(function, options, **rest)


def _sized(function: Callable[..., Any], options: dict[str, Any], **rest: Any) -> Layer:
    """The layer of a function whose options speak of one number of spatial axes."""
    check = functools.partial(check_rank, rank=spatial_rank(function.__name__, options))
    return computes(function=function, options={**options, **rest}, check=check)
