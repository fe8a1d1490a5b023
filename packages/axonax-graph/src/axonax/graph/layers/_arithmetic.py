"""Arithmetic on nodes, with the shapes that NumPy's broadcasting allows; what the operators make."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from axonax.graph.data._layer import MANY, Layer, computes
from axonax.graph.layers._builder import builder, joining
from axonax.graph.layers._checks import is_array


@joining
def add(*nodes: Any, name: str | None = None) -> Any:
    """The sum of two or more nodes, element by element.

    Args:
        *nodes: two or more; none makes a layer to be called on them.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node of the shape that theirs broadcast to.

    Raises:
        TypeError: something that is no node, or one alone.

    >>> from axonax import graph as nn
    >>> a, b = nn.input("a", (None, 3)), nn.input("b", (None, 3))
    >>> model = nn.add(a, b)
    """
    return _folded(operator.add)


@joining
def subtract(*nodes: Any, name: str | None = None) -> Any:
    """The first of two or more nodes less all others, element by element; arguments as for `add`.

    >>> from axonax import graph as nn
    >>> model = nn.subtract(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    """
    return _folded(operator.sub)


@joining
def multiply(*nodes: Any, name: str | None = None) -> Any:
    """The product of two or more nodes, element by element; arguments as for `add`.

    >>> from axonax import graph as nn
    >>> model = nn.multiply(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    """
    return _folded(operator.mul)


@joining
def divide(*nodes: Any, name: str | None = None) -> Any:
    """The first of two or more nodes divided by all others, element by element; arguments as for `add`.

    >>> from axonax import graph as nn
    >>> model = nn.divide(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    """
    return _folded(operator.truediv)


@joining
def maximum(*nodes: Any, name: str | None = None) -> Any:
    """The largest of two or more nodes, element by element; arguments as for `add`.

    >>> from axonax import graph as nn
    >>> model = nn.maximum(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    """
    return _folded(jnp.maximum)


@joining
def minimum(*nodes: Any, name: str | None = None) -> Any:
    """The smallest of two or more nodes, element by element; arguments as for `add`.

    >>> from axonax import graph as nn
    >>> model = nn.minimum(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    """
    return _folded(jnp.minimum)


@joining
def matmul(*nodes: Any, name: str | None = None) -> Any:
    """The matrix product of two nodes, ``a @ b``.

    Args:
        *nodes: ``(..., n, k)`` and ``(..., k, m)``; none makes a layer to be called on them.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node ``(..., n, m)``.

    >>> from axonax import graph as nn
    >>> model = nn.matmul(nn.input("a", (None, 3)), nn.constant([[1.0], [2.0], [3.0]]))
    """
    return computes(operator.matmul, arity=2)


@builder
def negative(*, name: str | None = None) -> Layer:
    """A layer that changes the sign.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.negative()
    """
    return computes(operator.neg, check=is_array)


@builder
def getitem(index: Any, *, name: str | None = None) -> Layer:
    """A layer that takes part of its input: ``x[index]``, as ``node[index]`` makes it.

    Args:
        index: numbers, slices, ``...``, ``None``, arrays, or a tuple of these; a key or place of a container.
        name: the path of the layer; ``None`` numbers it.

    >>> from axonax import graph as nn
    >>> last = nn.input("x", (None, 7, 3)) | nn.getitem((slice(None), -1))
    """
    return computes(_item, options={"index": index})


def _folded(function: Callable[[Any, Any], Any]) -> Layer:
    return computes(functools.partial(_fold, function=function), arity=(2, MANY), check=_broadcasts)


def _fold(*values: Any, function: Callable[[Any, Any], Any]) -> Any:
    return functools.reduce(function, values)


def _item(x: Any, *, index: Any) -> Any:
    return x[index]


def _broadcasts(*inputs: Any) -> str | None:
    rank = max(len(each.shape) for each in inputs)
    padded = [(1,) * (rank - len(each.shape)) + tuple(each.shape) for each in inputs]
    fits = all(len(set(sizes) - {1}) <= 1 for sizes in zip(*padded, strict=True))
    return None if fits else "needs inputs whose shapes broadcast"
