"""Nodes joined along an axis, and cut along one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from axonax.graph.data._layer import MANY, Layer, computes
from axonax.graph.layers._builder import builder, joining
from axonax.graph.layers._checks import has_axes, integer, positive
from axonax.tensor import layers


@joining
def concatenate(*nodes: Any, axis: int = -1, name: str | None = None) -> Any:
    """The values of several nodes one behind the other.

    Args:
        *nodes: one or more, whose shapes differ in ``axis`` alone; none makes a layer to be called on them.
        axis: which axis.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node with the sum of the sizes at ``axis``.

    Raises:
        TypeError: something that is no node.
        ValueError: ``axis`` is no integer.

    >>> from axonax import graph as nn
    >>> model = nn.concatenate(nn.input("a", (None, 3)), nn.input("b", (None, 4)))
    """
    axis = integer("concatenate", "axis", axis)
    check = functools.partial(_check_alike, axis=axis)
    return computes(_concatenated, options={"axis": axis}, arity=(1, MANY), check=check)


@builder
def split(parts: int | Sequence[int], *, axis: int = -1, name: str | None = None) -> Any:
    """A layer that cuts along an axis: a tuple of nodes.

    Args:
        parts: into how many equal parts, or the size of each part.
        axis: which axis.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that gives a tuple of nodes.

    Raises:
        ValueError: ``parts`` is neither a positive integer nor sizes, ``axis`` is no integer.

    >>> from axonax import graph as nn
    >>> mean, spread = nn.input("x", (None, 8)) | nn.split(2)
    """
    if isinstance(parts, tuple | list):
        sizes = tuple(positive("split", "a size of parts", each) for each in parts)
        if not sizes:
            raise ValueError("split: parts must be a positive integer or sizes, got none")
        count, parts = len(sizes), sizes
    else:
        count = parts = positive("split", "parts", parts)
    axis = integer("split", "axis", axis)
    return computes(
        function=layers.split,
        options={"parts": parts, "axis": axis},
        check=functools.partial(has_axes, axis=axis),
        outputs=("",) * count,
    )


@builder
def stack_columns(*, ignore: Sequence[Any] = (), name: str | None = None) -> Layer:
    """The columns of a record as the last axis of one array, those of a dict in the order of their names.

    Args:
        ignore: names (in a tuple: places) to leave out.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from a container of ``(...)`` to ``(..., columns)``.

    Raises:
        ValueError: ``ignore`` is no sequence of names.

    >>> from axonax import graph as nn
    >>> record = nn.input("record", {"height": (None,), "id": (None,), "width": (None,)})
    >>> model = record | nn.stack_columns(ignore=("id",))
    """
    if not isinstance(ignore, tuple | list):
        raise ValueError(f"stack_columns: ignore must hold names, got {ignore!r}")
    return computes(layers.stack_columns, options={"ignore": ignore}, check=_check_columns)


def _concatenated(*values: Any, axis: int) -> Any:
    return layers.concatenate(values, axis)


def _check_alike(*inputs: Any, axis: int) -> str | None:
    if complaint := has_axes(inputs[0], axis):
        return complaint
    place = axis % inputs[0].ndim
    rest = {(each.ndim, each.shape[:place], each.shape[place + 1 :]) for each in inputs}
    return None if len(rest) == 1 else f"needs inputs that agree in all axes but {axis}"


def _check_columns(x: Any) -> str | None:
    container = isinstance(x, Mapping | tuple)
    return None if container else "needs a container of columns, such as nn.container({...})"
