"""The keys and values of what came before, for decoding step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, Shaped

from axonax.tensor.layers._attention_masks import causal_mask


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class KVCache:
    """Keys and values of a fixed capacity: a pytree whose shapes never change, so that a step compiles once.

    ``update`` takes those of new tokens and gives the cache that holds them, and what attention needs:
    keys, values and the mask of what each new token sees. A static cache holds ``capacity`` tokens. A ring
    goes on for ever: each token sees itself and the ``capacity - 1`` before it, which is the window
    ``(capacity - 1, 0)``.

    Rotate queries and keys before, by ``rotary_embedding(x, offset=cache.position)``.

    Attributes:
        key: ``(batch, capacity, kv_heads, size)``.
        value: ``(batch, capacity, kv_heads, value_size)``.
        position: how many tokens came so far, an integer scalar.
        ring: whether new tokens take the place of the oldest.

    >>> cache = KVCache.empty(1, 4, 1, 2)
    >>> x = jnp.ones((1, 3, 1, 2))
    >>> cache, keys, values, mask = cache.update(x, x)
    >>> int(cache.position), keys.shape, mask.astype(int).tolist()
    (3, (1, 4, 1, 2), [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    """

    key: Shaped[Array, "batch capacity kv_heads size"]
    value: Shaped[Array, "batch capacity kv_heads value_size"]
    position: Int[Array, ""]
    ring: bool = field(default=False, metadata={"static": True})

    @staticmethod
    def empty(
        batch: int,
        capacity: int,
        kv_heads: int,
        size: int,
        *,
        value_size: int | None = None,
        dtype: jnp.dtype | str = "float32",
        ring: bool = False,
    ) -> KVCache:
        """A cache that holds nothing yet.

        Args:
            batch: of the keys.
            capacity: how many tokens it holds.
            kv_heads: of the keys and values.
            size: of a key.
            value_size: of a value; ``size`` if ``None``.
            dtype: in which they are held.
            ring: whether new tokens take the place of the oldest.

        Raises:
            ValueError: ``capacity`` below 1.
        """
        if capacity < 1:
            raise ValueError(f"KVCache: capacity must be at least 1, got {capacity}")
        shape = (batch, capacity, kv_heads)
        return KVCache(
            key=jnp.zeros((*shape, size), dtype),
            value=jnp.zeros((*shape, size if value_size is None else value_size), dtype),
            position=jnp.zeros((), jnp.int32),
            ring=ring,
        )

    @property
    def capacity(self) -> int:
        """How many tokens it holds."""
        return self.key.shape[-3]

    def update(
        self,
        key: Shaped[ArrayLike, "batch time kv_heads size"],
        value: Shaped[ArrayLike, "batch time kv_heads value_size"],
    ) -> tuple[
        KVCache,
        Shaped[Array, "batch held kv_heads size"],
        Shaped[Array, "batch held kv_heads value_size"],
        Bool[Array, "time held"],
    ]:
        """The cache with new tokens, and the keys, values and mask for attention of their queries.

        Args:
            key: ``(batch, time, kv_heads, size)``, one token or many.
            value: ``(batch, time, kv_heads, value_size)``.

        Returns:
            the new cache; keys and values ``(batch, held, ...)`` in the cache's dtype; the mask
            ``(time, held)``. ``held`` is the capacity, and ``time`` more for several tokens in a ring: the
            first of them still see what the last overwrite.

        Raises:
            ValueError: shapes that do not fit, or tokens beyond the capacity of a static cache. Where the
                position is traced, such tokens are written as NaN, and so is all that attention gives from
                there on.
        """
        key, value = jnp.asarray(key), jnp.asarray(value)
        for name, new, held in (("key", key, self.key), ("value", value, self.value)):
            if new.ndim != 4 or (new.shape[0], *new.shape[2:]) != (held.shape[0], *held.shape[2:]):
                raise ValueError(f"KVCache: {name} {new.shape} does not fit the cache's {held.shape}")
        if key.shape[1] != value.shape[1]:
            raise ValueError(f"KVCache: key and value must be as long, got {key.shape} and {value.shape}")
        key, value = key.astype(self.key.dtype), value.astype(self.value.dtype)
        return self._turn(key, value) if self.ring else self._append(key, value)

    def _append(self, key: jax.Array, value: jax.Array) -> tuple[KVCache, jax.Array, jax.Array, jax.Array]:
        count = key.shape[1]
        end = self.position + count
        over = f"KVCache: {count} tokens do not fit a capacity of {self.capacity}"
        if count > self.capacity:
            raise ValueError(over)
        if not isinstance(end, jax.core.Tracer) and end > self.capacity:
            raise ValueError(f"{over} of which {self.position} are taken")

        def written(held: jax.Array, new: jax.Array) -> jax.Array:
            spoilt = jnp.where(end > self.capacity, jnp.nan, new).astype(held.dtype)
            return jax.lax.dynamic_update_slice_in_dim(held, spoilt, self.position, 1)

        keys, values = written(self.key, key), written(self.value, value)
        mask = causal_mask(count, self.capacity, offset=self.position)
        return replace(self, key=keys, value=values, position=end), keys, values, mask

    def _turn(self, key: jax.Array, value: jax.Array) -> tuple[KVCache, jax.Array, jax.Array, jax.Array]:
        count, capacity = key.shape[1], self.capacity
        end = self.position + count
        fits = min(count, capacity)
        slots = (end - fits + jnp.arange(fits)) % capacity

        def written(held: jax.Array, new: jax.Array) -> jax.Array:
            if count == 1:
                return jax.lax.dynamic_update_slice_in_dim(held, new, slots[0], 1)
            return held.at[:, slots].set(new[:, count - fits :], unique_indices=True)

        turned = replace(self, key=written(self.key, key), value=written(self.value, value), position=end)
        if count == 1:
            return turned, turned.key, turned.value, (_held_at(end, capacity) >= 0)[None]
        queries = self.position + jnp.arange(count)
        held = jnp.concatenate([_held_at(self.position, capacity), queries])[None]
        mask = (held >= 0) & (held <= queries[:, None]) & (held > queries[:, None] - capacity)
        keys = jnp.concatenate([self.key, key], 1)
        return turned, keys, jnp.concatenate([self.value, value], 1), mask


def _held_at(end: jax.Array, capacity: int) -> jax.Array:
    """The position of the token in each slot of a ring after ``end`` tokens; negative where there is none."""
    return end - 1 - (end - 1 - jnp.arange(capacity)) % capacity
