"""Scores of queries and keys, and their powers: what every attention here begins with."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor.layers._arrays import accumulator
from axonax.tensor.layers._attention_masks import Window, sides, visible
from axonax.tensor.precision import promoted


class Sizes(NamedTuple):
    """What the shapes of query and key say."""

    batch: int
    queries: int
    keys: int
    heads: int
    kv_heads: int
    size: int

    @property
    def groups(self) -> int:
        """How many heads of the queries share one of the keys."""
        return self.heads // self.kv_heads

    @property
    def scores(self) -> tuple[int, int, int, int]:
        """The shape of the scores."""
        return self.batch, self.heads, self.queries, self.keys


class Seen(NamedTuple):
    """What is added to scores, and which count: arrays of four axes that broadcast to the scores."""

    bias: jax.Array | None
    mask: jax.Array | None
    window: tuple[int | None, int | None]
    lengths: tuple[jax.Array | None, jax.Array | None]
    visible: jax.Array | None
    """mask, window and lengths together"""

    def always(self, sizes: Sizes) -> bool:
        """Whether it is certain that each query sees a key: in a window, that where it stands."""
        own = 0 < sizes.keys >= sizes.queries if self.visible is not None else sizes.keys > 0
        return own and self.bias is None and self.mask is None and self.lengths == (None, None)


def common(op: str, *arrays: ArrayLike) -> list[jax.Array]:
    """All in the dtype that holds them.

    Raises:
        ValueError: it is not float.
    """
    given = [jnp.asarray(each) for each in arrays]
    dtype = promoted(*(each.dtype for each in given))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{op}: query and key must be float, got {dtype.name}")
    return [each.astype(dtype) for each in given]


def sizes_of(op: str, query: tuple[int, ...], key: tuple[int, ...]) -> Sizes:
    """The sizes of query and key.

    Raises:
        ValueError: they do not fit.
    """
    if len(query) != 4:
        raise ValueError(f"{op}: query must be (batch, queries, heads, size), got {query}")
    if len(key) != 4 or (key[0], key[3]) != (query[0], query[3]):
        raise ValueError(f"{op}: key {key} does not fit query {query}")
    if not key[2] or query[2] % key[2]:
        raise ValueError(f"{op}: heads must be a multiple of kv_heads, got {query[2]} and {key[2]}")
    return Sizes(query[0], query[1], key[1], query[2], key[2], query[3])


def seen_of(
    op: str,
    sizes: Sizes,
    bias: ArrayLike | None,
    mask: ArrayLike | None,
    causal: bool,
    window: Window | None,
    *lengths: ArrayLike | None,
) -> Seen:
    """The options of an attention, checked; ``lengths`` are those of queries and keys.

    Raises:
        ValueError: one that does not fit.
    """
    left, right = (None, None) if window is None else sides(op, window)
    bounds = left, 0 if causal else right
    if mask is not None and jnp.asarray(mask).dtype != bool:
        came = jnp.asarray(mask).dtype.name
        raise ValueError(f"{op}: mask must be bool, got {came}; what is added to scores goes into bias")
    held = _four_axes(op, "mask", mask, sizes)
    queries, keys = (
        _lengths(op, name, each, sizes.batch)
        for name, each in zip(("query_lengths", "key_lengths"), lengths, strict=True)
    )
    shown = visible((sizes.queries, sizes.keys), held, bounds, queries, keys)
    return Seen(_four_axes(op, "bias", bias, sizes), held, bounds, (queries, keys), shown)


def powers_of(
    query: jax.Array, key: jax.Array, seen: Seen, sizes: Sizes, scale: float | None, soft_cap: float | None
) -> tuple[jax.Array, jax.Array]:
    """``exp(scores - top)``, ``(batch, kv_heads, groups * queries, keys)``, and what divides a row.

    Written for XLA on CPU: one product of matrices for each head of the keys, four axes throughout, and no
    selection between the maximum, the powers and their sum, which would part what runs as one loop.
    """
    batch, queries, _, _, kv_heads, size = sizes
    split = query.reshape(batch, queries, kv_heads, sizes.groups, size)
    rows = jnp.transpose(split, (0, 2, 3, 1, 4)).reshape(batch, kv_heads, sizes.groups * queries, size)
    scores = scale_of(scale, sizes) * jnp.einsum(
        "bkth,bksh->bkts", rows, jnp.swapaxes(key, 1, 2), preferred_element_type=accumulator(query.dtype)
    )
    if soft_cap is not None:
        scores = soft_cap * jnp.tanh(scores / soft_cap)
    if seen.bias is not None:
        scores = scores + _grouped(seen.bias, sizes).astype(scores.dtype)
    if seen.visible is not None:
        scores = jnp.where(_grouped(seen.visible, sizes), scores, -jnp.inf)
    info = jnp.finfo(scores.dtype)  # type: ignore[no-untyped-call]
    # A finite start keeps a row of -inf from -inf - -inf.
    top = jnp.max(scores, -1, keepdims=True, initial=None if seen.always(sizes) else info.min)
    powers = jnp.exp(scores - jax.lax.stop_gradient(top))
    # The largest power is 1, so this changes the sum of no row but an empty one.
    return powers, jnp.sum(powers, -1, keepdims=True) + info.eps / 4


def mixed(powers: jax.Array, total: jax.Array, value: jax.Array, sizes: Sizes) -> jax.Array:
    """The values in the shares of these powers, ``(batch, queries, heads, value_size)`` in their dtype."""
    # Divided after the product: there are fewer values than weights.
    sums = jnp.einsum("bkts,bksh->bkth", powers, jnp.swapaxes(value, 1, 2).astype(powers.dtype)) / total
    heads = sums.reshape(sizes.batch, sizes.heads, sizes.queries, value.shape[-1])
    return jnp.swapaxes(heads, 1, 2).astype(value.dtype)


def scale_of(scale: float | None, sizes: Sizes) -> float:
    """What scores are multiplied by."""
    return max(sizes.size, 1) ** -0.5 if scale is None else scale


def _lengths(op: str, name: str, lengths: ArrayLike | None, batch: int) -> jax.Array | None:
    if lengths is None:
        return None
    lengths = jnp.asarray(lengths)
    if lengths.shape != (batch,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        came = f"{lengths.dtype.name} {lengths.shape}"
        raise ValueError(f"{op}: {name} must be integers ({batch},), got {came}")
    return lengths


def _four_axes(op: str, name: str, x: ArrayLike | None, sizes: Sizes) -> jax.Array | None:
    if x is None:
        return None
    x = jnp.asarray(x)
    shape = (1,) * (4 - x.ndim) + x.shape
    if x.ndim > 4 or any(size not in (1, full) for size, full in zip(shape, sizes.scores, strict=True)):
        whole = f"(batch, heads, queries, keys) {sizes.scores}"
        raise ValueError(f"{op}: {name} {x.shape} does not broadcast to {whole}")
    return x.reshape(shape)


def _grouped(x: jax.Array, sizes: Sizes) -> jax.Array:
    """``(batch, heads, queries, keys)`` as ``(batch, kv_heads, groups * queries, keys)``."""
    if sizes.groups == 1:
        return x
    batch, heads, queries, keys = x.shape
    kv_heads, groups = (1, 1) if heads == 1 else (sizes.kv_heads, sizes.groups)
    whole = (batch, kv_heads, sizes.groups, sizes.queries, keys)
    rows = jnp.broadcast_to(x.reshape(batch, kv_heads, groups, queries, keys), whole)
    return rows.reshape(batch, kv_heads, sizes.groups * sizes.queries, keys)
