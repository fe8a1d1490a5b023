"""Where a model takes its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from axonax.graph._node import Layer, Node
from axonax.graph._where import builder


@builder
def input(name: str, shape: Sequence[int | None] | None = None, *, dtype: Any = None) -> Node:
    """An input of a model: the node that all others start from.

    Args:
        name: what a dict of inputs calls it.
        shape: with the batch in front; ``None`` in it is any size. Without a shape any array will do, and
            what follows from it is known when the model meets its data.
        dtype: the kind of number that it must hold (any float dtype goes for ``"float32"``); ``None`` takes
            every kind.

    Returns:
        a node.

    Raises:
        ValueError: no name, a size that is neither ``None`` nor a positive integer, no dtype.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 784)) | nn.dense(10)
    """
    if not isinstance(name, str):
        raise ValueError(f"input: name must be text, got {name!r}")
    if shape is not None:
        if isinstance(shape, str) or not isinstance(shape, Sequence) or not all(map(_is_size, shape)):
            raise ValueError(f"input: shape must hold positive integers or None, got {shape!r}")
        shape = tuple(shape)
    try:
        kind = None if dtype is None else jnp.dtype(dtype).name
    except TypeError:
        raise ValueError(f"input: dtype must be a dtype or None, got {dtype!r}") from None
    options = {"shape": shape, "dtype": kind}
    return Layer(op="input", function=_given, options=options, arity=0, name=name)()


def _is_size(size: Any) -> bool:
    return size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0)


def _given(x: Any, **declared: Any) -> Any:
    """The value of an input is what the caller of the model gives."""
    return x
