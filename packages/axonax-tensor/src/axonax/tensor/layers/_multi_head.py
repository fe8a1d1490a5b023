"""Projections to heads and back, and multi-head attention of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._attention import dot_product_attention
from axonax.tensor.layers._linear import dense


def project_heads(
    x: Shaped[ArrayLike, "*batch inputs"],
    kernel: Shaped[ArrayLike, "inputs heads size"],
    bias: Shaped[ArrayLike, "heads size"] | None = None,
) -> Shaped[Array, "*batch heads size"]:
    """``x kernel + bias``: the queries, keys or values of each head.

    Args:
        x: ``(..., in)``.
        kernel: ``(in, heads, size)``.
        bias: ``(heads, size)`` or none.

    Returns:
        ``(..., heads, size)`` in the dtype that holds ``x`` and ``kernel``; half precision is summed in
        float32 and rounded once.

    Raises:
        ValueError: shapes that do not fit.

    >>> project_heads(jnp.ones((2, 5, 3)), jnp.ones((3, 4, 8))).shape
    (2, 5, 4, 8)
    """
    came, held = jnp.shape(x), jnp.shape(kernel)
    if len(held) != 3 or came[-1:] != held[:1]:
        raise ValueError(
            f"project_heads: kernel {held} does not fit input {came}: (in, heads, size) it must be"
        )
    if bias is not None and jnp.shape(bias) != held[1:]:
        raise ValueError(f"project_heads: bias {jnp.shape(bias)} does not fit heads and size {held[1:]}")
    units = held[1] * held[2]
    flat = None if bias is None else jnp.reshape(bias, units)
    return dense(x, jnp.reshape(kernel, (held[0], units)), flat).reshape(*came[:-1], *held[1:])


def merge_heads(
    x: Shaped[ArrayLike, "*batch heads size"],
    kernel: Shaped[ArrayLike, "heads size units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
) -> Shaped[Array, "*batch units"]:
    """``sum over heads and size of x kernel, + bias``: what the heads found, in one vector.

    Args:
        x: ``(..., heads, size)``.
        kernel: ``(heads, size, units)``.
        bias: ``(units,)`` or none.

    Returns:
        ``(..., units)`` in the dtype that holds ``x`` and ``kernel``; half precision is summed in float32
        and rounded once.

    Raises:
        ValueError: shapes that do not fit.

    >>> merge_heads(jnp.ones((2, 5, 4, 8)), jnp.ones((4, 8, 3))).shape
    (2, 5, 3)
    """
    came, held = jnp.shape(x), jnp.shape(kernel)
    if len(held) != 3 or len(came) < 2 or came[-2:] != held[:2]:
        raise ValueError(
            f"merge_heads: kernel {held} does not fit input {came}: (heads, size, units) it must be"
        )
    inputs = held[0] * held[1]
    flat = jnp.reshape(jnp.asarray(x), (*came[:-2], inputs))
    if bias is not None and jnp.shape(bias) != held[2:]:
        raise ValueError(f"merge_heads: bias {jnp.shape(bias)} does not fit {held[2]} units")
    return dense(flat, jnp.reshape(kernel, (inputs, held[2])), bias)


def multi_head_attention(
    x: Shaped[ArrayLike, "batch queries inputs"],
    params: Mapping[str, Mapping[str, ArrayLike]],
    context: Shaped[ArrayLike, "batch keys context"] | None = None,
    **options: Any,
) -> Shaped[Array, "batch queries units"]:
    """`merge_heads` of `dot_product_attention` of `project_heads`.

    With rotary positions, a cache or norms of queries and keys, write these three lines out.

    Args:
        x: ``(batch, queries, in)``: what asks.
        params: ``{"query": {"kernel", "bias"}, "key": ..., "value": ..., "output": ...}``; a bias may be left
            out. Kernels are ``(in, heads, size)``, that of the output ``(heads, size, units)``; fewer heads
            for keys and values make grouped-query attention.
        context: ``(batch, keys, in)``: what is asked; ``x`` itself if ``None``.
        **options: those of `dot_product_attention`.

    Returns:
        ``(batch, queries, units)``.

    Raises:
        ValueError: other names in ``params``, or shapes that do not fit.

    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.2.

    >>> ones = {name: {"kernel": jnp.ones((3, 2, 4))} for name in ("query", "key", "value")}
    >>> params = ones | {"output": {"kernel": jnp.ones((2, 4, 3))}}
    >>> multi_head_attention(jnp.ones((1, 5, 3)), params, causal=True).shape
    (1, 5, 3)
    """
    if set(params) != {"query", "key", "value", "output"}:
        raise ValueError(
            f"multi_head_attention: params must be query, key, value and output, got {sorted(params)}"
        )
    asked = x if context is None else context
    query, key, value = (
        project_heads(source, params[name]["kernel"], params[name].get("bias"))
        for name, source in (("query", x), ("key", asked), ("value", asked))
    )
    found = dot_product_attention(query, key, value, **options)
    return merge_heads(found, params["output"]["kernel"], params["output"].get("bias"))
