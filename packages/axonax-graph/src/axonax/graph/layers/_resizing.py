"""Spatial axes made longer or shorter, channels last."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Sizes, sizes
from axonax.graph.layers._convolution import check_rank, spatial_rank
from axonax.tensor import layers, names

Widths = int | Sequence[int | Sequence[int]]

_MODES = {mode: mode for mode in ("constant", "reflect", "edge", "wrap")}
_METHODS = {method: method for method in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")}


@builder
def pad(
    widths: Widths,
    *,
    mode: Literal["constant", "reflect", "edge", "wrap"] = "constant",
    value: float = 0,
    name: str | None = None,
) -> Layer:
    """Values put in front of and behind each spatial axis.

    Args:
        widths: how many: a number for all spatial axes, or a number or a pair ``(front, behind)`` an axis.
            Negative ones crop.
        mode: ``"constant"``, ``"reflect"``, ``"edge"`` or ``"wrap"``.
        value: what ``"constant"`` puts there.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, *(front + size + behind), channels)``.

    Raises:
        ValueError: no such widths, an unknown mode (the text lists near matches), a value that is no number.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.pad(((1, 1), (2, 0)), mode="reflect")
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"pad: value must be a number, got {value!r}")
    options = {
        "widths": _widths("pad", "widths", widths),
        "mode": names.lookup(_MODES, str(mode), "pad mode"),
        "value": value,
    }
    return computes(function=layers.pad, options=options, check=_check_spatial)


@builder
def crop(amounts: Widths, *, name: str | None = None) -> Layer:
    """Values taken off the front and the end of each spatial axis.

    Args:
        amounts: how many: a number for all spatial axes, or a number or a pair ``(front, behind)`` an axis.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, *(size - front - behind), channels)``.

    Raises:
        ValueError: no such amounts, or negative ones.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.crop(2)
    """
    options = {"amounts": _widths("crop", "amounts", amounts, least=0)}
    return computes(function=layers.crop, options=options, check=_check_spatial)


@builder
def resize(
    size: Sizes,
    *,
    method: Literal["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"] = "nearest",
    antialias: bool = True,
    name: str | None = None,
) -> Layer:
    """Another number of samples along each spatial axis.

    Args:
        size: the new sizes, one integer for all spatial axes or one an axis.
        method: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos3"`` or ``"lanczos5"``.
        antialias: whether every sample counts where an axis shrinks.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, *size, channels)``.

    Raises:
        ValueError: a size that is not a positive integer, an unknown method (the text lists near matches).

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28, 3)) | nn.resize((32, 32), method="bilinear")
    """
    options = {"size": sizes("resize", "size", size)}
    check = functools.partial(check_rank, rank=spatial_rank("resize", options))
    kind = names.lookup(_METHODS, str(method), "resize method")
    return computes(
        layers.resize, options={**options, "method": kind, "antialias": bool(antialias)}, check=check
    )


def _widths(who: str, name: str, value: Any, least: float = float("-inf")) -> Any:
    each_axis = value if isinstance(value, tuple) else (value,)
    pairs = [each if isinstance(each, tuple) and len(each) == 2 else (each,) for each in each_axis]
    if not pairs or not all(_is_width(each, least) for pair in pairs for each in pair):
        kind = "a number, or a number or a pair (front, behind) an axis"
        tail = "" if least < 0 else ", none below 0"
        raise ValueError(f"{who}: {name} must be {kind}{tail}, got {value!r}")
    return value


def _is_width(value: Any, least: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_spatial(x: Any) -> str | None:
    return None if x.ndim >= 3 else "needs an input (batch, *spatial, channels)"
