"""A cache of keys and values: decoding step by step is the whole forward pass."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

RNG = np.random.default_rng(1)
BATCH, TIME, HEADS, KV_HEADS, SIZE = 2, 11, 4, 2, 6
X = jnp.asarray(RNG.normal(size=(BATCH, TIME, 8)), jnp.float32)
KERNELS = [
    jnp.asarray(RNG.normal(size=(8, heads, size)), jnp.float32)
    for heads, size in ((HEADS, SIZE), (KV_HEADS, SIZE), (KV_HEADS, 3))
]


def projected(x, offset=0):
    """Queries, keys and values, with rotary positions."""
    query, key, value = (layers.project_heads(x, kernel) for kernel in KERNELS)
    return layers.rotary_embedding(query, offset=offset), layers.rotary_embedding(key, offset=offset), value


def step(cache, x):
    query, key, value = projected(x, cache.position)
    cache, keys, values, mask = cache.update(key, value)
    return cache, layers.dot_product_attention(query, keys, values, mask=mask)


@functools.cache
def whole(window):
    return jax.jit(lambda x: layers.dot_product_attention(*projected(x), causal=True, window=window))(X)


def empty(capacity, ring=False, **options):
    return layers.KVCache.empty(BATCH, capacity, KV_HEADS, SIZE, value_size=3, ring=ring, **options)


CACHES = pytest.mark.parametrize(
    ("capacity", "ring"), [(TIME, False), (TIME + 3, False), (4, True), (1, True), (TIME + 3, True)]
)


@CACHES
def test_token_by_token_in_a_scan(capacity, ring):
    tokens = jnp.moveaxis(X, 1, 0)[:, :, None]
    cache, found = jax.jit(lambda tokens: jax.lax.scan(step, empty(capacity, ring), tokens))(tokens)
    expected = whole((capacity - 1, 0) if ring else None)
    np.testing.assert_allclose(jnp.moveaxis(found[:, :, 0], 0, 1), expected, rtol=1e-5, atol=1e-5)
    assert cache.position == TIME


@pytest.mark.parametrize(("capacity", "ring"), [(TIME, False), (4, True), (1, True)])
@pytest.mark.parametrize("sizes", [(11,), (5, 6), (3, 1, 6, 1)])
def test_chunks_of_tokens(capacity, ring, sizes):
    """Whatever the chunks, longer than a ring too."""

    @jax.jit
    def decoded(x):
        cache, found = empty(capacity, ring), []
        for start, end in itertools.pairwise([0, *np.cumsum(sizes)]):
            cache, each = step(cache, x[:, start:end])
            found.append(each)
        return jnp.concatenate(found, 1)

    expected = whole((capacity - 1, 0) if ring else None)
    np.testing.assert_allclose(decoded(X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ring", [False, True])
def test_compiles_once(ring):
    traces = []

    @jax.jit
    def compiled(cache, x):
        traces.append(1)
        return step(cache, x)

    cache = empty(TIME, ring)
    for at in range(3):
        cache, _ = compiled(cache, X[:, at : at + 1])
    assert len(traces) == 1
    assert [leaf.shape for leaf in jax.tree.leaves(cache)] == [(2, TIME, 2, 6), (2, TIME, 2, 3), ()]


@pytest.mark.parametrize("ring", [False, True])
def test_gradients_and_maps(ring):
    """Through a decoding as through the whole pass; a cache for each element of a map."""
    window = (3, 0) if ring else None
    chunks = (X[:, :4], X[:, 4:6], X[:, 6:7])

    def decoded(kernel):
        cache, total = empty(4 if ring else TIME, ring), 0.0
        for x in chunks:
            query, key, _ = projected(x, cache.position)
            cache, keys, values, mask = cache.update(key, layers.project_heads(x, kernel))
            total += jnp.sum(jnp.sin(layers.dot_product_attention(query, keys, values, mask=mask)))
        return total

    def direct(kernel):
        x = X[:, :7]
        query, key, _ = projected(x)
        value = layers.project_heads(x, kernel)
        return jnp.sum(jnp.sin(layers.dot_product_attention(query, key, value, causal=True, window=window)))

    stacked = jnp.stack([KERNELS[2], 2 * KERNELS[2]])
    found, expected = (jax.jit(jax.vmap(jax.value_and_grad(each)))(stacked) for each in (decoded, direct))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_overflow():
    traced = jax.jit(step)
    cache, _ = traced(empty(4), X[:, :3])
    key, value = jnp.ones((2, 5, 2, 6)), jnp.ones((2, 5, 2, 3))
    with pytest.raises(ValueError, match="KVCache: 2 tokens do not fit a capacity of 4 of which 3 are taken"):
        cache.update(key[:, :2], value[:, :2])
    with pytest.raises(ValueError, match="KVCache: 5 tokens do not fit a capacity of 4"):
        empty(4).update(key, value)
    full, found = traced(cache, X[:, 3:4])
    assert np.isfinite(found).all()
    over, found = traced(full, X[:, 4:5])
    assert np.isnan(found).all()
    assert np.isnan(traced(over, X[:, 5:6])[1]).all()
    assert np.isnan(traced(cache, X[:, 3:5])[1]).all()


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="KVCache: capacity must be at least 1, got 0"):
        empty(0)
    key, value = jnp.ones((2, 1, 2, 6)), jnp.ones((2, 1, 2, 3))
    with pytest.raises(
        ValueError, match=r"KVCache: key \(1, 1, 2, 6\) does not fit the cache's \(2, 4, 2, 6\)"
    ):
        empty(4).update(key[:1], value)
    with pytest.raises(ValueError, match=r"KVCache: value \(2, 1, 2, 6\) does not fit"):
        empty(4).update(key, key)
    with pytest.raises(ValueError, match="KVCache: key and value must be as long"):
        empty(4).update(key, jnp.ones((2, 2, 2, 3)))


def test_dtype_and_capacity():
    cache = empty(4, dtype=jnp.bfloat16)
    assert cache.capacity == 4
    _, keys, values, _ = cache.update(jnp.ones((2, 1, 2, 6)), jnp.ones((2, 1, 2, 3)))
    assert keys.dtype == values.dtype == jnp.bfloat16
