"""Layers that only rearrange."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import Sizes, integers, sizes
from axonax.graph.layers._convolution import check_rank, spatial_rank
from axonax.tensor import layers


@builder
def flatten(*, name: str | None = None) -> Layer:
    """All axes but the batch in one.

    Args:
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, ...)`` to ``(batch, features)``.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28)) | nn.flatten()
    """
    return computes(function=layers.flatten, check=_check_batch)


@builder
def reshape(shape: Sequence[int | Literal["batch"]], *, name: str | None = None) -> Layer:
    """The same values in the same order, in another shape.

    Args:
        shape: the whole shape: ``"batch"`` stands for the size of the first axis of the input, one ``-1`` for
            what is left.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer to an output of that shape.

    Raises:
        ValueError: a size that is neither an integer of at least -1 nor ``"batch"``, or more than one ``-1``.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 12)) | nn.reshape(("batch", 3, -1))
    """
    known = isinstance(shape, tuple | list) and all(
        each == "batch" if isinstance(each, str) else isinstance(each, int) and each >= -1 for each in shape
    )
    if not known or list(shape).count(-1) > 1:
        raise ValueError(f'reshape: shape must hold sizes, "batch" and at most one -1, got {shape!r}')
    return computes(
        function=layers.reshape, options={"shape": shape}, check=functools.partial(_check_size, shape=shape)
    )


@builder
def transpose(axes: Sequence[int] | None = None, *, name: str | None = None) -> Layer:
    """The axes in another order.

    Args:
        axes: which axis of the input comes at each place, the batch among them; negative ones count from the
            end. All in reverse if ``None``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer to an output with the axes in that order.

    Raises:
        ValueError: something else than integers that differ.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 12, 3)) | nn.transpose((0, 2, 1))
    """
    if axes is not None and not isinstance(integers("transpose", "axes", axes), tuple):
        raise ValueError(f"transpose: axes must be all axes in their new order, got {axes!r}")
    return computes(
        function=layers.transpose, options={"axes": axes}, check=functools.partial(_check_order, axes=axes)
    )


@builder
def pixel_shuffle(factor: Sizes, *, name: str | None = None) -> Layer:
    """Channels become finer positions; in the channels, those of the result are outermost, as in PyTorch.

    Args:
        factor: how much finer, one integer for all spatial axes or one an axis.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, *spatial, channels)`` to ``(batch, *(size * factor), fewer channels)``.

    Raises:
        ValueError: a factor that is not a positive integer.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 7, 7, 16)) | nn.pixel_shuffle(2)
    """
    return _finer(layers.pixel_shuffle, factor)


@builder
def depth_to_space(factor: Sizes, *, name: str | None = None) -> Layer:
    """As `pixel_shuffle`, with the channels of the result innermost, as in TensorFlow and ONNX.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 7, 7, 16)) | nn.depth_to_space(2)
    """
    return _finer(layers.depth_to_space, factor)


def _finer(function: Callable[..., Any], factor: Any) -> Layer:
    options = {"factor": sizes(function.__name__, "factor", factor)}
    check = functools.partial(check_rank, rank=spatial_rank(function.__name__, options))
    return computes(function, options=options, check=check)


def _check_batch(x: Any) -> str | None:
    return None if x.ndim else "needs an input (batch, ...)"


def _check_size(x: Any, *, shape: Sequence[Any]) -> str | None:
    if not x.ndim and "batch" in shape:
        return "needs an input (batch, ...)"
    count = math.prod(x.shape)
    rest = math.prod(x.shape[0] if size == "batch" else size for size in shape if size != -1)
    fits = rest and count % rest == 0 if -1 in shape else rest == count
    if fits:
        return None
    whole = "batch" in shape or -1 in shape or rest * x.shape[0] != count if x.ndim else True
    hint = "" if whole else f" (the batch is an axis too: {('batch', *shape)})"
    return f"needs an input with the elements of {shape}{hint}"


def _check_order(x: Any, *, axes: Sequence[int] | None) -> str | None:
    ndim = x.ndim
    if axes is None or sorted(axis + ndim if axis < 0 else axis for axis in axes) == list(range(ndim)):
        return None
    return f"needs an input of {len(axes)} axes, for axes={axes}"
