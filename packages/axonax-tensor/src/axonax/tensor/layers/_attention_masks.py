"""Which keys a query may see: boolean masks, ``True`` where it may."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from numbers import Integral

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

Window = int | Sequence[int | None]


def causal_mask(
    queries: int, keys: int | None = None, *, offset: ArrayLike | None = None
) -> Bool[Array, "time source"]:
    """``key <= offset + query``: nobody sees what comes later.

    Args:
        queries: how many there are.
        keys: how many there are; as many as queries if ``None``.
        offset: the position of the first query among the keys, an integer, traced or not. By default the last
            query stands at the last key: ``keys - queries``.

    Returns:
        booleans ``(queries, keys)``.

    >>> causal_mask(2, 3).tolist()
    [[True, True, False], [True, True, True]]
    """
    return sliding_window_mask(queries, keys, window=(None, 0), offset=offset)


def sliding_window_mask(
    queries: int, keys: int | None = None, *, window: Window, offset: ArrayLike | None = None
) -> Bool[Array, "time source"]:
    """``-left <= key - (offset + query) <= right``.

    Args:
        queries: how many there are.
        keys: how many there are; as many as queries if ``None``.
        window: ``(left, right)``, how far a query sees to each side, itself not counted; ``None`` for no
            limit. One number stands for both.
        offset: as for `causal_mask`.

    Returns:
        booleans ``(queries, keys)``.

    Raises:
        ValueError: ``window`` is neither an integer of at least 0 nor two of them.

    >>> sliding_window_mask(3, window=(1, 0)).tolist()
    [[True, False, False], [True, True, False], [False, True, True]]
    """
    left, right = sides("sliding_window_mask", window)
    distance = distances(queries, keys, offset)
    inside = jnp.ones(distance.shape, bool)
    if left is not None:
        inside &= distance >= -left
    if right is not None:
        inside &= distance <= right
    return inside


def padding_mask(lengths: Int[ArrayLike, " batch"], size: int) -> Bool[Array, "batch 1 1 source"]:
    """``key < length``: what follows the end of a sequence is not seen.

    Args:
        lengths: integers ``(batch,)``.
        size: how many keys there are.

    Returns:
        booleans ``(batch, 1, 1, size)``, as attention takes them.

    >>> padding_mask(jnp.array([1, 2]), 2)[:, 0, 0].tolist()
    [[True, False], [True, True]]
    """
    lengths = jnp.asarray(lengths)
    return jnp.arange(size)[None, None, None] < lengths[:, None, None, None]


def segment_mask(
    query_segments: Int[ArrayLike, "batch queries"], key_segments: Int[ArrayLike, "batch keys"] | None = None
) -> Bool[Array, "batch 1 queries source"]:
    """``query_segment == key_segment``: several sequences packed into one row do not see each other.

    Args:
        query_segments: integers ``(batch, queries)``, the sequence that each belongs to.
        key_segments: integers ``(batch, keys)``; those of the queries if ``None``.

    Returns:
        booleans ``(batch, 1, queries, keys)``, as attention takes them.

    >>> segment_mask(jnp.array([[0, 0, 1]]))[0, 0].astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    rows = jnp.asarray(query_segments)
    columns = rows if key_segments is None else jnp.asarray(key_segments)
    return rows[:, None, :, None] == columns[:, None, None, :]


def distances(queries: int, keys: int | None, offset: ArrayLike | None) -> jax.Array:
    """``key - (offset + query)``, ``(queries, keys)``."""
    keys = queries if keys is None else keys
    offset = keys - queries if offset is None else offset
    return jnp.arange(keys)[None, :] - (jnp.arange(queries)[:, None] + jnp.asarray(offset)[None, None])


def sides(op: str, window: Window) -> tuple[int | None, int | None]:
    """``(left, right)`` of a window.

    Raises:
        ValueError: it is neither an integer of at least 0 nor two of them or ``None``.
    """
    pair = tuple(window) if isinstance(window, Sequence) else (window, window)
    if len(pair) == 2 and all(each is None or (isinstance(each, Integral) and each >= 0) for each in pair):
        return pair[0], pair[1]
    raise ValueError(f"{op}: window must be an integer of at least 0 or (left, right), got {window}")


def visible(
    shape: tuple[int, int],
    mask: jax.Array | None,
    window: tuple[int | None, int | None],
    query_lengths: ArrayLike | None,
    key_lengths: ArrayLike | None,
) -> jax.Array | None:
    """All masks at once: four axes that broadcast to ``(batch, heads, *shape)``; ``None``: all is seen."""
    found = [] if mask is None else [mask]
    if window != (None, None):
        found.append(sliding_window_mask(*shape, window=window)[None, None])
    if query_lengths is not None:
        found.append(jnp.swapaxes(padding_mask(query_lengths, shape[0]), 2, 3))
    if key_lengths is not None:
        found.append(padding_mask(key_lengths, shape[1]))
    return functools.reduce(operator.and_, found) if found else None
