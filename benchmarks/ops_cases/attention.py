"""Attention, positions and decoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import layers
from ops_cases.case import Case, peer

linen = peer("flax.linen")
keras = peer("keras")

_RANDOM = np.random.default_rng(83)


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape).astype(np.float32)


def _mask(queries: int, causal: bool) -> jax.Array | None:
    return jnp.tril(jnp.ones((queries, queries), bool))[None, None] if causal else None


def attention(batch: int, time: int, heads: int, kv_heads: int, size: int, causal: bool) -> Case:
    """Self-attention beside JAX's, and Flax's and Keras' where these have as many heads of each."""
    rivals: dict[str, Callable[..., Any]] = {
        "JAX": lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=causal),
        "Flax": lambda q, k, v: linen.dot_product_attention(
            q,
            jnp.repeat(k, heads // kv_heads, 2),
            jnp.repeat(v, heads // kv_heads, 2),
            mask=_mask(time, causal),
        ),
        "Keras": lambda q, k, v: keras.ops.dot_product_attention(q, k, v, is_causal=causal),
    }
    kind = "causal attention" if causal else "attention"
    return Case(
        f"{kind} {batch} x {time} x {heads}/{kv_heads} x {size}",
        lambda q, k, v: layers.dot_product_attention(q, k, v, causal=causal),
        rivals,
        (_array(batch, time, heads, size), *(_array(batch, time, kv_heads, size) for _ in range(2))),
    )


def hand_padded(q: Any, k: Any, v: Any, lengths: Any) -> Any:
    """By JAX, which takes lengths."""
    return jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=lengths)


def flax_padded(q: Any, k: Any, v: Any, lengths: Any) -> Any:
    """By Flax, which takes a mask."""
    mask = (jnp.arange(k.shape[1]) < lengths[:, None])[:, None, None]
    return linen.dot_product_attention(q, k, v, mask=mask)


def _params(arrays: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Four kernels, then biases of all but the keys, which theirs does not change."""
    query, value, output = arrays[4:]
    biases = (query, 0 * query, value, output)
    return {name: {"kernel": arrays[at], "bias": biases[at]} for at, name in enumerate(names)}


def our_multi_head(x: Any, *arrays: Any) -> Any:
    """Self-attention."""
    return layers.multi_head_attention(x, _params(arrays, ("query", "key", "value", "output")))


def flax_multi_head(x: Any, *arrays: Any) -> Any:
    """The same parameters by Flax."""
    params = _params(arrays, ("query", "key", "value", "out"))
    return linen.MultiHeadDotProductAttention(8).apply({"params": params}, x)


_KERAS = keras.layers.MultiHeadAttention(8, 32)
_KERAS.build((16, 128, 256), (16, 128, 256))


def keras_multi_head(x: Any, *arrays: Any) -> Any:
    """The same parameters by Keras."""
    params = _params(arrays, ("query", "key", "value", "output"))
    given = [each[part] for each in params.values() for part in ("kernel", "bias")]
    return _KERAS.stateless_call(given, [], x, x)[0]


def hand_rotary(x: Any) -> Any:
    """Halves, as most write it."""
    frequencies = 10000.0 ** (-jnp.arange(0, x.shape[-1], 2) / x.shape[-1])
    turns = (jnp.arange(x.shape[1])[:, None] * frequencies)[None, :, None]
    a, b = jnp.split(x, 2, -1)
    cos, sin = jnp.cos(turns), jnp.sin(turns)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def hand_buckets(kernel: Any) -> Any:
    """T5's bias over 512 by a gather."""
    distance = jnp.arange(512)[None] - jnp.arange(512)[:, None]
    far = jnp.abs(distance)
    large = 8 + (jnp.log(jnp.maximum(far, 1) / 8) / np.log(16) * 8 + 1e-4).astype(int)
    found = jnp.where(far < 8, far, jnp.minimum(large, 15)) + 16 * (distance > 0)
    return jnp.moveaxis(kernel[found], -1, 0)


def our_decoding(q: Any, k: Any, v: Any) -> Any:
    """64 tokens, one by one, with a cache."""

    def step(cache: Any, each: Any) -> Any:
        query, key, value = (one[:, None] for one in each)
        cache, keys, values, mask = cache.update(key, value)
        return cache, layers.dot_product_attention(query, keys, values, mask=mask)[:, 0]

    cache = layers.KVCache.empty(q.shape[1], 256, k.shape[2], k.shape[3])
    return jax.lax.scan(step, cache, (q, k, v))[1]


def hand_decoding(q: Any, k: Any, v: Any) -> Any:
    """The same by hand, with JAX's attention."""

    def step(carry: Any, each: Any) -> Any:
        keys, values, at = carry
        query, key, value = (one[:, None] for one in each)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, key, at, 1)
        values = jax.lax.dynamic_update_slice_in_dim(values, value, at, 1)
        mask = (jnp.arange(256) <= at)[None, None, None]
        return (keys, values, at + 1), jax.nn.dot_product_attention(query, keys, values, mask=mask)[:, 0]

    held = jnp.zeros((q.shape[1], 256, *k.shape[2:]))
    return jax.lax.scan(step, (held, held, 0), (q, k, v))[1]


CASES = [
    attention(8, 128, 8, 8, 64, False),
    attention(8, 128, 8, 8, 64, True),
    attention(2, 512, 8, 8, 64, True),
    attention(4, 256, 8, 2, 64, True),
    attention(32, 32, 4, 4, 32, False),
    attention(64, 16, 2, 2, 16, True),
    Case(
        "attention with lengths 8 x 128 x 8 x 64",
        lambda q, k, v, lengths: layers.dot_product_attention(q, k, v, key_lengths=lengths),
        {"JAX": hand_padded, "Flax": flax_padded},
        (*(_array(8, 128, 8, 64) for _ in range(3)), np.arange(1, 9, dtype=np.int32) * 16),
    ),
    Case(
        "multi-head attention 16 x 128 x 256, 8 heads",
        our_multi_head,
        {"Flax": flax_multi_head, "Keras": keras_multi_head},
        (
            _array(16, 128, 256),
            *(_array(256, 8, 32) / 16 for _ in range(3)),
            _array(8, 32, 256) / 16,
            *(_array(8, 32) for _ in range(2)),
            _array(256),
        ),
    ),
    Case(
        "rotary embedding 8 x 512 x 8 x 64",
        layers.rotary_embedding,
        {"JAX by hand": hand_rotary},
        (_array(8, 512, 8, 64),),
    ),
    Case(
        "relative position bias 512 x 512, 8 heads",
        lambda kernel: layers.relative_position_bias(kernel, 512),
        {"JAX by hand": hand_buckets},
        (_array(32, 8),),
    ),
    Case(
        "decoding 64 tokens with a cache of 256, 4 x 8 x 64",
        our_decoding,
        {"JAX by hand": hand_decoding},
        tuple(_array(64, 4, 8, 64) for _ in range(3)),
    ),
]
