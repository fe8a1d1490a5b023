"""Arrays element by element: their mean, their products along an axis, the angle between them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened
from axonax.tensor.layers._arrays import accumulator, together
from axonax.tensor.precision import promoted


def average(xs: Sequence[Shaped[ArrayLike, "*_"]]) -> Shaped[Array, "*whole"]:
    """The mean of several arrays, element by element.

    ``(xs[0] + ... + xs[n - 1]) / n``

    Args:
        xs: one or more arrays of as many axes, whose sizes agree or are 1.

    Returns:
        the shape that theirs broadcast to, in the dtype that holds all of them, of integers float32; half
        precision is summed in float32 and rounded once.

    Raises:
        ValueError: no arrays, or shapes that do not fit.

    >>> average([jnp.array([1.0, 2.0]), jnp.array([3.0, 6.0])]).tolist()
    [2.0, 4.0]
    """
    arrays = [jnp.asarray(x) for x in xs]
    if not arrays:
        raise ValueError("average: at least one array is required, got none")
    _check_shapes("average", *arrays)
    dtype = promoted(*(x.dtype for x in arrays))
    total = functools.reduce(operator.add, (x.astype(promoted(dtype, jnp.float32)) for x in arrays))
    return narrowed(total / len(arrays), jnp.zeros((), dtype))


def dot(
    a: Shaped[ArrayLike, "*_"], b: Shaped[ArrayLike, "*_"], *, axis: int = -1, keep_axis: bool = False
) -> Shaped[Array, "*rest"]:
    """The scalar products of vectors along an axis: ``sum_i a_i b_i``.

    Args:
        a: any shape but a scalar's.
        b: as many axes, of sizes that agree or are 1.
        axis: that of the vectors.
        keep_axis: whether it stays, with size 1.

    Returns:
        the shape that theirs broadcast to without ``axis``, in the dtype that holds both; half precision is
        summed in float32 and rounded once.

    Raises:
        ValueError: shapes that do not fit, or an axis that they do not have.

    >>> dot(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])).tolist()
    [11.0]
    """
    a, b = together(a, b)
    _check_axis("dot", a, b, axis)
    wide = accumulator(a.dtype) or a.dtype
    return jnp.sum(a.astype(wide) * b.astype(wide), axis, keepdims=keep_axis).astype(a.dtype)


def cosine_similarity(
    a: Shaped[ArrayLike, "*_"], b: Shaped[ArrayLike, "*_"], *, axis: int = -1, keep_axis: bool = False
) -> Shaped[Array, "*rest"]:
    """The cosine of the angle between vectors along an axis: ``sum_i a_i b_i / (|a| |b|)``.

    However large or small the numbers are, their squares neither overflow nor vanish.

    Args:
        a: any shape but a scalar's.
        b: as many axes, of sizes that agree or are 1.
        axis: that of the vectors.
        keep_axis: whether it stays, with size 1.

    Returns:
        the shape that theirs broadcast to without ``axis``, in the dtype that holds both, of integers
        float32; 0, with gradient 0, where one of the vectors is 0.

    Raises:
        ValueError: shapes that do not fit, or an axis that they do not have.

    >>> cosine_similarity(jnp.array([[3.0, 4.0]]), jnp.array([[30.0, 40.0]])).tolist()
    [1.0]
    """
    a, b = together(a, b)
    _check_axis("cosine_similarity", a, b, axis)
    product = _direction(widened(a), axis) * _direction(widened(b), axis)
    return narrowed(jnp.sum(product, axis, keepdims=keep_axis), a)


def _direction(x: jax.Array, axis: int) -> jax.Array:
    """``x / |x|``, and 0 with gradient 0 at 0."""
    tiny = float(np.finfo(x.dtype).tiny)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis, keepdims=True, initial=0))
    # Within these bounds the inverse is no subnormal number, which a CPU takes for 0.
    scaled = x / jnp.clip(largest, tiny, 1 / (8 * tiny))
    square = jnp.sum(jnp.square(scaled), axis, keepdims=True)
    return jnp.where(square > 0, scaled / jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _check_axis(op: str, a: jax.Array, b: jax.Array, axis: int) -> None:
    _check_shapes(op, a, b)
    if not -a.ndim <= axis < a.ndim:
        raise ValueError(f"{op}: axis {axis} is out of bounds for {a.ndim} axes")
    if a.shape[axis] != b.shape[axis]:
        raise ValueError(f"{op}: vectors along axis {axis} must be equally long, got {a.shape} and {b.shape}")


def _check_shapes(op: str, *arrays: jax.Array) -> None:
    ranks = {x.ndim for x in arrays}
    if len(ranks) > 1 or any(
        len(set(each) - {1}) > 1 for each in zip(*(x.shape for x in arrays), strict=True)
    ):
        came = ", ".join(str(x.shape) for x in arrays)
        raise ValueError(f"{op}: shapes must have as many axes, of sizes that agree or are 1, got {came}")
