"""Attention by dot products."""

from __future__ import annotations

from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from axonax.tensor import names
from axonax.tensor.layers._attention_fused import fused, handed
from axonax.tensor.layers._attention_masks import Window
from axonax.tensor.layers._attention_scores import common, mixed, powers_of, scale_of, seen_of, sizes_of
from axonax.tensor.layers._dropout import dropout

_HANDED = {"xla": "xla", "cudnn": "cudnn"}


def dot_product_attention(
    query: Float[ArrayLike, "batch queries heads size"],
    key: Float[ArrayLike, "batch keys kv_heads size"],
    value: Float[ArrayLike, "batch keys kv_heads value_size"],
    *,
    bias: Float[ArrayLike, "*bias"] | None = None,
    mask: Bool[ArrayLike, "*mask"] | None = None,
    causal: bool = False,
    window: Window | None = None,
    query_lengths: Int[ArrayLike, " batch"] | None = None,
    key_lengths: Int[ArrayLike, " batch"] | None = None,
    scale: float | None = None,
    soft_cap: float | None = None,
    dropout_rate: ArrayLike = 0.0,
    dropout_key: Any = None,
    implementation: str | None = None,
) -> Float[Array, "batch queries heads value_size"]:
    """``softmax(scale * query key^T + bias) value``: each head for itself, over the keys that a query sees.

    All masks and lengths hold together. Softmax and sums are in float32 at least; half precision is rounded
    once.

    Args:
        query: floats ``(batch, queries, heads, size)``.
        key: floats ``(batch, keys, kv_heads, size)``. ``heads`` is a multiple of ``kv_heads``; each of these
            serves as many heads of the queries, in order (grouped-query attention; one: multi-query).
        value: floats ``(batch, keys, kv_heads, value_size)``.
        bias: added to the scaled scores; broadcasts to ``(batch, heads, queries, keys)``, aligned with the
            last axes. ``-inf`` is a mask.
        mask: booleans, ``True`` where a query may look; broadcasts like ``bias``.
        causal: a query sees no later key. The last query stands at the last key, however many there are of
            each: query ``i`` sees keys up to ``i + keys - queries``, whatever the lengths.
        window: ``(left, right)``, how far a query sees from where it stands; ``None`` for no limit.
            One number is for both sides.
        query_lengths: integers ``(batch,)``; queries from there on give 0.
        key_lengths: integers ``(batch,)``; keys from there on are not seen.
        scale: of the scores; ``size**-0.5`` if ``None``.
        soft_cap: scaled scores become ``soft_cap * tanh(scores / soft_cap)``.
        dropout_rate: of the weights, as for `dropout`.
        dropout_key: a PRNG key; ``None`` is no dropout. The name ``key`` belongs to the keys here.
        implementation: ``"cudnn"`` or ``"xla"`` hands the work to `jax.nn.dot_product_attention`. ``None`` is
            ours; but where JAX computes on an NVIDIA GPU, cuDNN's fused kernel takes what fits it: bfloat16
            and float16 (a bias too), ``size`` and ``value_size`` equal, a multiple of 8 and at most 128,
            queries and keys multiples of 128, neither ``soft_cap`` nor dropout, outside `jax.shard_map`. The
            kernel rounds the weights to half precision, and has no forward mode, no second derivative and
            no shards of time: for these take ``"xla"``.

    Returns:
        ``(batch, queries, heads, value_size)`` in the dtype that holds query, key and value. A query that
        sees nothing gives 0, with gradient 0.

    Raises:
        ValueError: shapes, dtypes or options that do not fit.

    Source: Vaswani et al., Attention Is All You Need (2017), equation 1; Ainslie et al., GQA (2023).

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 2)
    >>> dot_product_attention(x * 0, x, x)[0, :, 0].tolist()
    [[2.0, 3.0], [2.0, 3.0]]
    >>> dot_product_attention(x, x, x, key_lengths=jnp.array([0]))[0, :, 0].tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    op = "dot_product_attention"
    query, key, value = common(op, query, key, value)
    sizes = sizes_of(op, query.shape, key.shape)
    if value.ndim != 4 or value.shape[:3] != key.shape[:3]:
        raise ValueError(f"{op}: value {value.shape} does not fit key {key.shape}")
    seen = seen_of(op, sizes, bias, mask, causal, window, query_lengths, key_lengths)
    arrays = (query, key, value)
    plain = soft_cap is None and dropout_key is None
    if implementation is not None:
        chosen = names.lookup(_HANDED, implementation, "implementation")
        if not plain:
            raise ValueError(f'{op}: implementation "{chosen}" has neither soft_cap nor dropout')
        return handed(arrays, seen, sizes, scale_of(scale, sizes), chosen)
    found = fused(arrays, seen, sizes, scale_of(scale, sizes)) if plain else None
    if found is not None:
        return found
    powers, total = powers_of(query, key, seen, sizes, scale, soft_cap)
    return mixed(dropout(powers, dropout_rate, key=dropout_key), total, value, sizes)


def attention_weights(
    query: Float[ArrayLike, "batch queries heads size"],
    key: Float[ArrayLike, "batch keys kv_heads size"],
    *,
    bias: Float[ArrayLike, "*bias"] | None = None,
    mask: Bool[ArrayLike, "*mask"] | None = None,
    causal: bool = False,
    window: Window | None = None,
    query_lengths: Int[ArrayLike, " batch"] | None = None,
    key_lengths: Int[ArrayLike, " batch"] | None = None,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> Float[Array, "batch heads queries keys"]:
    """The shares by which `dot_product_attention` mixes values, to look at.

    Args:
        query: floats ``(batch, queries, heads, size)``.
        key: floats ``(batch, keys, kv_heads, size)``.
        bias: this and all that follow as for `dot_product_attention`.
        mask: booleans.
        causal: a query sees no later key.
        window: ``(left, right)``.
        query_lengths: integers ``(batch,)``.
        key_lengths: integers ``(batch,)``.
        scale: of the scores.
        soft_cap: of the scaled scores.

    Returns:
        ``(batch, heads, queries, keys)``; a row sums to 1, or to 0 where a query sees nothing.

    Raises:
        ValueError: shapes, dtypes or options that do not fit.

    >>> import jax.numpy as jnp
    >>> x = jnp.ones((1, 2, 1, 4))
    >>> attention_weights(x, x, causal=True)[0, 0].tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    op = "attention_weights"
    query, key = common(op, query, key)
    sizes = sizes_of(op, query.shape, key.shape)
    seen = seen_of(op, sizes, bias, mask, causal, window, query_lengths, key_lengths)
    powers, total = powers_of(query, key, seen, sizes, scale, soft_cap)
    return (powers / total).reshape(sizes.scores).astype(query.dtype)
