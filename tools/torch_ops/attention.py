"""Attention and positions with torch."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def _added(shape: Any, seen_by: tuple[Any, ...], like: Tensor) -> Tensor:
    """All masks as one bias of ``-inf``."""
    bias, mask, causal, window, query_lengths, key_lengths = seen_by
    queries, keys = shape[2:]
    seen = torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)
    left, right = window if isinstance(window, tuple) else (window, window)
    distance = torch.arange(keys) - torch.arange(queries)[:, None] - (keys - queries)
    if causal:
        seen = seen & (distance <= 0)
    if left is not None:
        seen = seen & (distance >= -left)
    if right is not None:
        seen = seen & (distance <= right)
    if query_lengths is not None:
        seen = seen & (torch.arange(queries)[:, None] < query_lengths[:, None, None, None])
    if key_lengths is not None:
        seen = seen & (torch.arange(keys) < key_lengths[:, None, None, None])
    added = torch.zeros(shape, dtype=like.dtype) if bias is None else bias.expand(shape)
    return added.masked_fill(~seen, -math.inf)


def attention(query: Tensor, key: Tensor, value: Tensor, seen_by: tuple[Any, ...], scale: Any) -> Tensor:
    """``layers.dot_product_attention``."""
    added = _added((query.shape[0], query.shape[2], query.shape[1], key.shape[1]), seen_by, query)
    heads = [each.transpose(1, 2) for each in (query, key, value)]
    found = F.scaled_dot_product_attention(*heads, attn_mask=added, scale=scale, enable_gqa=True)
    return found.transpose(1, 2)


def weights(query: Tensor, key: Tensor, seen_by: tuple[Any, ...], scale: Any) -> Tensor:
    """``layers.attention_weights``: what values that are one for each key give."""
    one = torch.eye(key.shape[1], dtype=query.dtype)[None, :, None].expand(*key.shape[:3], -1)
    return attention(query, key, one, seen_by, scale).transpose(1, 2)


def multi_head(x: Tensor, params: Any, context: Any, causal: bool) -> Tensor:
    """``layers.multi_head_attention``."""
    context = x if context is None else context
    size, heads = x.shape[-1], params["query"]["kernel"].shape[1]
    kernels = {name: params[name]["kernel"].flatten(1).mT for name in ("query", "key", "value")}
    biases = torch.cat([params[name]["bias"].flatten() for name in ("query", "key", "value")])
    mask = torch.ones(x.shape[1], context.shape[1]).triu(1).bool() if causal else None
    found, _ = F.multi_head_attention_forward(
        x.transpose(0, 1),
        context.transpose(0, 1),
        context.transpose(0, 1),
        size,
        heads,
        None,
        biases,
        None,
        None,
        False,
        0.0,
        params["output"]["kernel"].flatten(0, 1).mT,
        params["output"]["bias"],
        training=False,
        need_weights=False,
        attn_mask=mask,
        use_separate_proj_weight=True,
        q_proj_weight=kernels["query"],
        k_proj_weight=kernels["key"],
        v_proj_weight=kernels["value"],
    )
    return found.transpose(0, 1)


def rotary(
    x: Tensor, positions: Any, offset: int, base: float, fraction: float, frequencies: Any, interleaved: bool
) -> Tensor:
    """``layers.rotary_embedding``, as Hugging Face has it."""
    size = int(x.shape[-1] * fraction) if frequencies is None else 2 * len(frequencies)
    if frequencies is None:
        frequencies = 1 / base ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
    where = torch.arange(x.shape[1]) if positions is None else positions
    turns = (where + offset)[..., None, None].double() * frequencies.double()
    if interleaved:
        cos, sin = (f(turns).repeat_interleave(2, -1).to(x.dtype) for f in (torch.cos, torch.sin))
        front = x[..., :size]
        half = torch.stack([-front[..., 1::2], front[..., ::2]], -1).flatten(-2)
    else:
        cos, sin = (torch.cat([f(turns)] * 2, -1).to(x.dtype) for f in (torch.cos, torch.sin))
        front = x[..., :size]
        half = torch.cat([-front[..., size // 2 :], front[..., : size // 2]], -1)
    return torch.cat([front * cos + half * sin, x[..., size:]], -1)


def relative(
    kernel: Tensor, queries: int, keys: Any, bidirectional: bool, max_distance: int, offset: Any
) -> Tensor:
    """``layers.relative_position_bias``, as Hugging Face's T5 has it."""
    keys = queries if keys is None else keys
    offset = keys - queries if offset is None else offset
    distance = torch.arange(keys) - torch.arange(queries)[:, None] - offset
    buckets, found = len(kernel), torch.zeros_like(distance)
    if bidirectional:
        buckets //= 2
        found = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = -torch.min(distance, torch.zeros_like(distance))
    exact = buckets // 2
    steps = torch.log(distance.double() / exact) / math.log(max_distance / exact) * (buckets - exact)
    large = torch.clamp(exact + torch.where(distance < exact, 0.0, steps).long(), max=buckets - 1)
    return kernel[found + torch.where(distance < exact, distance, large)].movedim(-1, 0)
