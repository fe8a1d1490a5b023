"""Changes of shape and of the order of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor import names

_PLACES = {"batch": 0}


def flatten(x: Shaped[ArrayLike, " batch *rest"]) -> Shaped[Array, "batch features"]:
    """All axes but the first become one.

    Args:
        x: ``(batch, ...)``.

    Returns:
        ``(batch, features)``; ``(batch, 1)`` where ``x`` has no other axis.

    Raises:
        ValueError: ``x`` is a scalar.

    >>> flatten(jnp.ones((2, 3, 4))).shape
    (2, 12)
    """
    shape = jnp.shape(x)
    if not shape:
        raise ValueError("flatten: input must have a batch axis, got a scalar")
    return jnp.reshape(x, (shape[0], math.prod(shape[1:])))


def reshape(
    x: Shaped[ArrayLike, "*before"], shape: Sequence[int | Literal["batch"]]
) -> Shaped[Array, "*after"]:
    """The same elements in the same order (the last axis runs fastest), in another shape.

    Args:
        x: any shape.
        shape: the whole shape, the batch axis included. ``"batch"`` stands for the size of the first axis
            of ``x``, one ``-1`` for what is left.

    Returns:
        ``shape`` in the dtype of ``x``.

    Raises:
        ValueError: an unknown name, more than one ``-1``, or a shape of another number of elements.

    >>> reshape(jnp.ones((2, 4, 6)), ("batch", 3, -1)).shape
    (2, 3, 8)
    """
    came = jnp.shape(x)
    sizes = [_size(came, each) for each in shape]
    if sizes.count(-1) > 1:
        raise ValueError(f"reshape: shape may have one -1, got {tuple(shape)}")
    rest = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and rest:
        sizes[sizes.index(-1)] = math.prod(came) // rest
    if -1 in sizes or math.prod(sizes) != math.prod(came):
        raise ValueError(
            f"reshape: input {came} has {math.prod(came)} elements, which {tuple(shape)} cannot hold"
        )
    return jnp.reshape(x, sizes)


def _size(came: tuple[int, ...], size: int | str) -> int:
    if isinstance(size, str):
        place = names.lookup(_PLACES, size, "size in reshape")
        if not came:
            raise ValueError('reshape: a scalar input has no "batch"')
        return came[place]
    if not isinstance(size, Integral) or size < -1:
        raise ValueError(f'reshape: sizes must be integers of at least 0, -1 or "batch", got {size}')
    return int(size)


def transpose(x: Shaped[ArrayLike, "*before"], axes: Sequence[int] | None = None) -> Shaped[Array, "*after"]:
    """The axes in another order.

    Args:
        x: any shape.
        axes: which axis of ``x`` comes at each place, the batch axis included; negative ones count from the
            end. All in reverse if ``None``.

    Returns:
        ``x.shape[axis]`` for each of ``axes``, in the dtype of ``x``.

    Raises:
        ValueError: ``axes`` does not name each axis once.

    >>> transpose(jnp.ones((2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """
    ndim = jnp.ndim(x)
    order = range(ndim)[::-1] if axes is None else axes
    if sorted(axis + ndim if axis < 0 else axis for axis in order) != list(range(ndim)):
        raise ValueError(f"transpose: axes must name each of {ndim} axes once, got {tuple(order)}")
    return jnp.transpose(jnp.asarray(x), tuple(order))
