"""Arithmetic on nodes, with the shapes that NumPy's broadcasting allows; what the operators make."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from axonax.graph.data._layer import MANY, Layer, computes
from axonax.graph.data._values import PROBES
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

    Raises:
        ValueError: (by `build`) a number outside of its axis, which JAX would move to the nearest end.

    >>> from axonax import graph as nn
    >>> last = nn.input("x", (None, 7, 3)) | nn.getitem((slice(None), -1))
    """
    return computes(_item, options={"index": index}, check=functools.partial(_in_range, index=index))


def _folded(function: Callable[[Any, Any], Any]) -> Layer:
    return computes(functools.partial(_fold, function=function), arity=(2, MANY), check=_broadcasts)


def _fold(*values: Any, function: Callable[[Any, Any], Any]) -> Any:
    return functools.reduce(function, values)


def _item(x: Any, *, index: Any) -> Any:
    return x[index]


def _in_range(x: Any, *, index: Any) -> str | None:
    """What is wrong with the numbers of an index; those on an axis of open size are not looked at."""
    parts = [part for part in (index if isinstance(index, tuple) else (index,)) if part is not None]
    known = all(part is ... or _is_number(part) or isinstance(part, slice) for part in parts)
    if not hasattr(x, "shape") or not known or parts.count(...) > 1:
        return None
    rest = len(x.shape) - (len(parts) - parts.count(...))
    if rest < 0:
        return f"needs an input of {len(parts) - parts.count(...)} axes or more"
    place = parts.index(...) if ... in parts else len(parts)
    parts[place : place + 1] = [slice(None)] * rest
    for axis, (part, size) in enumerate(zip(parts, x.shape, strict=True)):
        if _is_number(part) and size not in PROBES and not -size <= part < size:
            return f"has no index {part} on axis {axis}, of size {size}"
    return None


def _is_number(part: Any) -> bool:
    return isinstance(part, int) and not isinstance(part, bool)


def _broadcasts(*inputs: Any) -> str | None:
    rank = max(len(each.shape) for each in inputs)
    padded = [(1,) * (rank - len(each.shape)) + tuple(each.shape) for each in inputs]
    fits = all(len(set(sizes) - {1}) <= 1 for sizes in zip(*padded, strict=True))
    return None if fits else "needs inputs whose shapes broadcast"
