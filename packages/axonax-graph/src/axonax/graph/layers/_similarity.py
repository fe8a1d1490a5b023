"""Nodes compared and averaged: what joins them in one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from axonax.graph.data._layer import MANY, Layer, computes
from axonax.graph.layers._builder import joining
from axonax.graph.layers._checks import has_axes, integer
from axonax.tensor import layers


@joining
def average(*nodes: Any, name: str | None = None) -> Any:
    """The mean of two or more nodes, element by element.

    Args:
        *nodes: two or more of as many axes, whose sizes agree or are 1; none makes a layer to be called on
            them.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node of the shape that theirs broadcast to.

    Raises:
        TypeError: something that is no node, or one alone.

    >>> from axonax import graph as nn
    >>> model = nn.average(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    """
    return computes(_average, arity=(2, MANY), check=_check_shapes)


@joining
def dot(*nodes: Any, axis: int = -1, keep_axis: bool = False, name: str | None = None) -> Any:
    """The scalar products of the vectors in two nodes: ``sum_i a_i b_i``.

    Args:
        *nodes: two of as many axes, whose sizes agree or (but at ``axis``) are 1; none makes a layer to be
            called on them.
        axis: that of the vectors.
        keep_axis: whether it stays, with size 1.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node of the shape that theirs broadcast to, without ``axis``.

    Raises:
        TypeError: other than two nodes.
        ValueError: ``axis`` is no integer.

    >>> from axonax import graph as nn
    >>> score = nn.dot(nn.input("user", (None, 16)), nn.input("item", (None, 16)))
    """
    return _along(layers.dot, axis, keep_axis)


@joining
def cosine_similarity(*nodes: Any, axis: int = -1, keep_axis: bool = False, name: str | None = None) -> Any:
    """The cosine of the angle between the vectors in two nodes; 0 where one of them is 0.

    Arguments as for `dot`.

    >>> from axonax import graph as nn
    >>> score = nn.cosine_similarity(nn.input("user", (None, 16)), nn.input("item", (None, 16)))
    """
    return _along(layers.cosine_similarity, axis, keep_axis)


def _along(function: Callable[..., Any], axis: Any, keep_axis: Any) -> Layer:
    axis = integer(function.__name__, "axis", axis)
    return computes(
        function=function,
        options={"axis": axis, "keep_axis": bool(keep_axis)},
        arity=2,
        check=functools.partial(_check_vectors, axis=axis),
    )


def _average(*values: Any) -> Any:
    return layers.average(values)


def _check_shapes(*inputs: Any) -> str | None:
    same = len({each.ndim for each in inputs}) == 1
    sizes = zip(*(each.shape for each in inputs), strict=same)
    fits = same and all(len(set(each) - {1}) <= 1 for each in sizes)
    return None if fits else "needs inputs of as many axes, whose sizes agree or are 1"


def _check_vectors(a: Any, b: Any, *, axis: int) -> str | None:
    if complaint := _check_shapes(a, b) or has_axes(a, axis):
        return complaint
    return (
        None if a.shape[axis] == b.shape[axis] else f"needs vectors along axis {axis} that are equally long"
    )
