"""Where a model takes its arrays."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp

from axonax.graph.data._layer import Applied, Layer, computes
from axonax.graph.layers._builder import recorded
from axonax.graph.layers._constant import as_constant, constant_layer
from axonax.graph.nodes._node import Node


def input(name: str, shape: Any = None, *, dtype: Any = None, optional: bool = False) -> Node:
    """An input of a model: the node that all others start from.

    Args:
        name: what a dict of inputs calls it.
        shape: with the batch in front; ``None`` in it is any size. Without a shape any array will do, and
            what follows from it is known when the model meets its data. A dict or tuple of shapes is an input
            of arrays in such a container, whose parts are ``node["key"]`` or ``node[0]``.
        dtype: the kind of number that it must hold (any float dtype goes for ``"float32"``); ``None`` takes
            every kind.
        optional: whether it may be left out. What follows from it is then left out too, up to a layer that
            can do without (`or_else`, inputs by name).

    Returns:
        a node.

    Raises:
        ValueError: no name, a size that is neither ``None`` nor a positive integer, no dtype.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 784)) | nn.dense(10)
    """
    if isinstance(name, Applied) or not isinstance(name, str):
        raise ValueError(f"input: name must be text, got {name!r}")
    return Node(layer=input_layer(shape, dtype=dtype, optional=optional, name=name), parents=())


def constant(value: Any, *, name: str | None = None) -> Node:
    """A number or an array that a model brings with it; no optimizer trains it.

    Args:
        value: a number, an array, or nested lists of numbers.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node.

    Raises:
        ValueError: something else.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) * nn.constant([[1.0, 2.0, 3.0]])
    """
    return Node(layer=constant_layer(as_constant(value), name=name), parents=())


@functools.partial(recorded, op="input")
def input_layer(
    shape: Any = None, *, dtype: Any = None, optional: bool = False, name: str | None = None
) -> Layer:
    """The layer of an input."""
    if not _is_shape(shape):
        raise ValueError(f"input: shape must hold positive integers or None, got {shape!r}")
    try:
        kind = None if dtype is None else jnp.dtype(dtype).name
    except TypeError:
        raise ValueError(f"input: dtype must be a dtype or None, got {dtype!r}") from None
    if kind != dtype:  # once more, with the dtype's full name
        return input_layer(shape, dtype=kind, optional=optional, name=name)
    if not isinstance(optional, bool):
        raise ValueError(f"input: optional must be True or False, got {optional!r}")
    return computes(_given, arity=0, takes_none=True)


def _is_shape(shape: Any) -> bool:
    if isinstance(shape, dict):
        return bool(shape) and all(map(_is_shape, shape.values()))
    if isinstance(shape, tuple) and any(isinstance(each, dict | tuple) for each in shape):
        return all(each is not None and _is_shape(each) for each in shape)
    return shape is None or (isinstance(shape, tuple) and all(map(_is_size, shape)))


def _is_size(size: Any) -> bool:
    return size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0)


def _given(x: Any) -> Any:
    """The value of an input is what the caller of the model gives."""
    return x
