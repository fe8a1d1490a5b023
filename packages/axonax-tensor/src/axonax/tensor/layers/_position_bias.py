"""Positions as a bias of attention's scores: linear by distance, or learned by buckets of it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from axonax.tensor.layers._attention_masks import distances


def alibi(
    heads: int, queries: int, keys: int | None = None, *, offset: ArrayLike | None = None
) -> Float[Array, "heads time source"]:
    """``-slope * |key - query|``, with the slopes ``2**(-8 i / heads)``, ``i`` in 1 to ``heads``: a bias.

    Numbers of heads that are no power of two take the slopes of the power below, and then every other one
    of those of twice as many heads.

    Args:
        heads: how many there are.
        queries: how many there are.
        keys: how many there are; as many as queries if ``None``.
        offset: the position of the first query among the keys; by default the last query stands at the
            last key.

    Returns:
        ``(heads, queries, keys)`` in the default float dtype.

    Raises:
        ValueError: no heads.

    Source: Press et al., Train Short, Test Long (2021), section 3, and the code of its authors.

    >>> alibi(4, 1, 3)[0].tolist()
    [[-0.5, -0.25, -0.0]]
    """
    if heads < 1:
        raise ValueError(f"alibi: heads must be at least 1, got {heads}")
    power = 1 << (heads.bit_length() - 1)
    exponents = [*np.arange(1, power + 1) / power, *np.arange(1, 2 * power, 2) / (2 * power)][:heads]
    slopes = jnp.asarray(2.0 ** (-8 * np.array(exponents)), float)[:, None, None]
    return -slopes * jnp.abs(distances(queries, keys, offset))[None].astype(slopes.dtype)


def relative_position_bias(
    kernel: Shaped[ArrayLike, "buckets heads"],
    queries: int,
    keys: int | None = None,
    *,
    bidirectional: bool = True,
    max_distance: int = 128,
    offset: ArrayLike | None = None,
) -> Shaped[Array, "heads time source"]:
    """``kernel[bucket(key - query)]``: a bias for attention, learned for buckets of distances, as in T5.

    Half of the buckets are one distance each, the others grow in powers up to ``max_distance``; all that is
    farther shares the last. If ``bidirectional``, half of the buckets are for later keys; else
    these count as distance 0.

    Args:
        kernel: ``(buckets, heads)``.
        queries: how many there are.
        keys: how many there are; as many as queries if ``None``.
        bidirectional: whether later keys have buckets of their own.
        max_distance: from where on distances share the last bucket.
        offset: as for `alibi`.

    Returns:
        ``(heads, queries, keys)`` in the dtype of ``kernel``.

    Raises:
        ValueError: ``kernel`` without its two axes, too few or an odd number of buckets, or a
            ``max_distance`` within the buckets of one distance.

    Source: Raffel et al., Exploring the Limits of Transfer Learning (2019), section 2.1, and the code of T5.

    >>> kernel = jnp.arange(8.0).reshape(8, 1)
    >>> relative_position_bias(kernel, 3)[0].tolist()
    [[0.0, 5.0, 6.0], [1.0, 0.0, 5.0], [2.0, 1.0, 0.0]]
    """
    kernel = jnp.asarray(kernel)
    if kernel.ndim != 2:
        raise ValueError(f"relative_position_bias: kernel must be (buckets, heads), got {kernel.shape}")
    keys = queries if keys is None else keys
    offset = keys - queries if offset is None else offset
    # What depends on the distance alone is found once for each distance, and its gradient needs no scatter.
    every = jnp.arange(-(queries - 1), keys + 1) - jnp.asarray(offset)[None]
    values = kernel[_buckets(every, kernel.shape[0], bidirectional, max_distance)]
    return _toeplitz(values.T, queries, keys)


def _buckets(distance: jax.Array, buckets: int, bidirectional: bool, max_distance: int) -> jax.Array:
    """The bucket of ``key - query``; the borders are found in float64 before."""
    count = buckets // 2 if bidirectional else buckets
    exact = count // 2
    if exact < 1 or (bidirectional and buckets % 2):
        need = "an even number of at least 4" if bidirectional else "at least 2"
        raise ValueError(f"relative_position_bias: buckets must be {need}, got {buckets}")
    if max_distance <= exact:
        raise ValueError(f"relative_position_bias: max_distance must be above {exact}, got {max_distance}")
    steps = np.arange(1, count - exact) / (count - exact)
    # A border that is a whole number comes out a little above or below it.
    borders = np.ceil(exact * np.exp(math.log(max_distance / exact) * steps) - 1e-9).astype(np.int32)
    far = jnp.abs(distance) if bidirectional else jnp.maximum(-distance, 0)
    found = jnp.minimum(far, exact) + jnp.sum(far[:, None] >= borders[None], -1)
    return found + jnp.where(distance > 0, count, 0) if bidirectional else found


def _toeplitz(values: jax.Array, queries: int, keys: int) -> jax.Array:
    """``(heads, queries, keys)`` with ``values[:, queries - 1 + key - query]``.

    Rows of one more than they shift by one where they are cut anew.
    """
    heads, period = values.shape
    turned = jnp.roll(values, -(queries - 1), 1)
    tiled = jnp.broadcast_to(turned[:, None], (heads, queries, period)).reshape(heads, queries * period)
    return tiled[:, : queries * (period - 1)].reshape(heads, queries, period - 1)[:, :, :keys]
