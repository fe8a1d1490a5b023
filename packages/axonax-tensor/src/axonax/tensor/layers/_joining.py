"""Arrays joined along an axis, and cut along one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor import names


def concatenate(xs: Sequence[Shaped[ArrayLike, "*_"]], axis: int = -1) -> Shaped[Array, "*whole"]:
    """The arrays one behind the other.

    Args:
        xs: one or more arrays whose shapes differ in ``axis`` alone.
        axis: which axis.

    Returns:
        the shape of each, with the sum of the sizes at ``axis``, in the dtype that holds all of them.

    Raises:
        ValueError: no arrays, an axis that they do not have, or shapes that do not fit.

    >>> concatenate([jnp.ones((2, 3)), jnp.zeros((2, 1))]).shape
    (2, 4)
    """
    arrays = [jnp.asarray(x) for x in xs]
    if not arrays:
        raise ValueError("concatenate: at least one array is required, got none")
    place = _place("concatenate", axis, arrays[0].ndim)
    if len({(x.shape[:place], x.shape[place + 1 :], x.ndim) for x in arrays}) > 1:
        came = ", ".join(str(x.shape) for x in arrays)
        raise ValueError(f"concatenate: shapes must agree in all axes but {axis}, got {came}")
    return jnp.concatenate(arrays, place)


def split(
    x: Shaped[ArrayLike, "*whole"], parts: int | Sequence[int], axis: int = -1
) -> tuple[Shaped[Array, "*_"], ...]:
    """``x`` cut along an axis: the inverse of `concatenate`.

    Args:
        x: any shape but a scalar's.
        parts: into how many equal parts, or the size of each part.
        axis: which axis.

    Returns:
        the parts in order: the shape of ``x``, with the size of the part at ``axis``.

    Raises:
        ValueError: an axis that ``x`` does not have, or parts that do not make up its size.

    >>> [part.tolist() for part in split(jnp.arange(6), (1, 3, 2))]
    [[0], [1, 2, 3], [4, 5]]
    """
    x = jnp.asarray(x)
    place = _place("split", axis, x.ndim)
    size = x.shape[place]
    if isinstance(parts, Sequence):
        sizes = list(parts)
        if not all(isinstance(each, Integral) and each >= 0 for each in sizes) or sum(sizes) != size:
            raise ValueError(
                f"split: sizes must add up to {size}, the size of axis {axis}, got {tuple(parts)}"
            )
    else:
        if not isinstance(parts, Integral) or parts < 1 or size % parts:
            raise ValueError(f"split: parts must divide {size}, the size of axis {axis}, got {parts}")
        sizes = [size // parts] * parts
    ends = [sum(sizes[:count]) for count in range(1, len(sizes))]
    return tuple(jnp.split(x, ends, place)) if sizes else ()


def stack_columns(
    columns: Mapping[str, Shaped[ArrayLike, "*batch"]] | Sequence[Shaped[ArrayLike, "*batch"]],
    *,
    ignore: Sequence[Any] = (),
) -> Shaped[Array, "*batch columns"]:
    """The columns of a record as the last axis of one array.

    Args:
        columns: arrays of one shape; those of a mapping are taken in the order of their sorted names, since
            JAX sorts the keys of a dict wherever one passes through ``jit``.
        ignore: names (of a sequence: indices) to leave out.

    Returns:
        ``(..., columns)`` in the dtype that holds all of them.

    Raises:
        ValueError: a name that is not there, nothing left, or unequal shapes.

    >>> stack_columns({"b": jnp.array([8, 9]), "a": jnp.array([1, 2])}).tolist()
    [[1, 8], [2, 9]]
    """
    held = dict(sorted(columns.items()) if isinstance(columns, Mapping) else enumerate(columns))
    for name in ignore:
        if name not in held:
            tail = names.suggestion(str(name), map(str, held))
            raise ValueError(f"stack_columns: no column {name!r} to ignore: {tail}")
    kept = {name: jnp.asarray(column) for name, column in held.items() if name not in ignore}
    if len({column.shape for column in kept.values()}) != 1:
        came = ", ".join(f"{name} {column.shape}" for name, column in kept.items()) or "no columns"
        raise ValueError(f"stack_columns: columns of one shape are required, got {came}")
    return jnp.stack(list(kept.values()), -1)


def _place(op: str, axis: int, ndim: int) -> int:
    """``axis`` counted from the front."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"{op}: axis {axis} is out of bounds for {ndim} axes")
    return axis % ndim
