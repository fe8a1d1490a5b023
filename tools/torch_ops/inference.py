"""Quantized kernels with torch."""

from __future__ import annotations

import torch

from axonax.tensor.layers import QuantizedKernel

Tensor = torch.Tensor


def quantize(kernel: Tensor, bits: int, group: int | None) -> tuple[Tensor, Tensor]:
    """``layers.quantize``, symmetric as in torchao."""
    size, top = group or kernel.shape[-2], 2 ** (bits - 1)
    grouped = kernel.unflatten(-2, (-1, size))
    scale = (grouped.abs().amax(-2, keepdim=True) / (top - 0.5)).clamp(min=torch.finfo(torch.float32).tiny)
    values = (grouped / scale).round().clamp(-top, top - 1).flatten(-3, -2).to(torch.int8)
    if bits == 4:
        values = (values[..., ::2, :] & 15) | (values[..., 1::2, :] << 4)
    return values, scale.squeeze(-2)


def dequantize(kernel: QuantizedKernel) -> Tensor:
    """``layers.dequantize``."""
    values, scale = kernel.values, kernel.scale
    if kernel.bits == 4:
        unsigned = torch.stack([values & 15, (values >> 4) & 15], -2).flatten(-3, -2)
        values = torch.where(unsigned > 7, unsigned - 16, unsigned)
    return (values.unflatten(-2, (scale.shape[-2], -1)) * scale[..., None, :]).flatten(-3, -2)
