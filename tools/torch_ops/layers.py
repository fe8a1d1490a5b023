"""Layer functions with torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ops.rows_layers_windows import each, pads

Tensor = torch.Tensor


def channels_first(x: Tensor) -> Tensor:
    """``(batch, *spatial, channels)`` as torch has it."""
    return x.movedim(-1, 1)


def padded(x: Tensor, padding: Any, window: Any, strides: Any, dilation: Any, fill: float) -> Tensor:
    """``x``, channels first, with the padding written out: torch knows no uneven one."""
    found = pads(padding, x.shape[2:], window, strides, dilation)
    return F.pad(x, [size for pair in reversed(found) for size in pair], value=fill)


def conv(
    x: Tensor, kernel: Tensor, bias: Any, strides: Any, padding: Any, kernel_dilation: Any, groups: int
) -> Tensor:
    """``layers.conv``."""
    axes = x.ndim - 2
    strides, dilation = each(strides, axes), each(kernel_dilation, axes)
    x = padded(channels_first(x), padding, kernel.shape[:-2], strides, dilation, 0.0)
    kernel = kernel.movedim((-1, -2), (0, 1))
    op = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return op(x, kernel, bias, strides, 0, dilation, groups).movedim(1, -1)


def max_pool(x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any) -> Tensor:
    """``layers.max_pool``."""
    axes = x.ndim - 2
    window, dilation = each(window, axes), each(dilation, axes)
    strides = window if strides is None else each(strides, axes)
    x = padded(channels_first(x), padding, window, strides, dilation, -np.inf)
    op = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    return op(x, window, strides, 0, dilation).movedim(1, -1)


def _windows(x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any, fill: float) -> Tensor:
    """``(batch, channels, *positions, elements)``: every window of ``x``, padded."""
    axes = x.ndim - 2
    window, dilation = each(window, axes), each(dilation, axes)
    strides = window if strides is None else each(strides, axes)
    x = padded(channels_first(x), padding, window, strides, dilation, fill)
    for axis, (size, stride, step) in enumerate(zip(window, strides, dilation, strict=True), 2):
        x = x.unfold(axis, (size - 1) * step + 1, stride)[..., ::step]
    return x.flatten(2 + axes)


def avg_pool(
    x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any, count_padding: bool
) -> Tensor:
    """``layers.avg_pool``."""
    total = _windows(x, window, strides, padding, dilation, 0.0).sum(-1)
    ones = _windows(torch.ones_like(x), window, strides, padding, dilation, float(count_padding)).sum(-1)
    return (total / ones.clamp(min=1)).movedim(1, -1)


def lp_pool(x: Tensor, window: Any, norm: float, strides: Any, padding: Any, dilation: Any) -> Tensor:
    """``layers.lp_pool``."""
    held = _windows(x, window, strides, padding, dilation, 0.0)
    return torch.linalg.vector_norm(held, norm, -1).movedim(1, -1)


def adaptive_pool(kind: str, x: Tensor, output_size: Any) -> Tensor:
    """``layers.adaptive_max_pool`` and ``layers.adaptive_avg_pool``."""
    axes = x.ndim - 2
    op = getattr(F, f"adaptive_{kind}_pool{axes}d")
    return op(channels_first(x), each(output_size, axes)).movedim(1, -1)


def batch_norm(
    x: Tensor, mean: Tensor, var: Tensor, scale: Any, offset: Any, *, train: bool, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    """``layers.batch_norm``; torch keeps the unbiased variance, so the running one is not compared."""
    mean, var = mean.detach().clone(), var.detach().clone()
    y = F.batch_norm(channels_first(x), mean, var, scale, offset, train, 1 - momentum, eps)
    return y.movedim(1, -1), mean


def instance_norm(
    x: Tensor, mean: Any, var: Any, scale: Any, offset: Any, *, train: bool, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    """``layers.instance_norm``; the running variance is not compared."""
    held = None if mean is None else mean.detach().clone()
    spread = None if var is None else var.detach().clone()
    own = train or mean is None
    y = F.instance_norm(channels_first(x), held, spread, scale, offset, own, 1 - momentum, eps)
    return (y.movedim(1, -1),) if held is None else (y.movedim(1, -1), held)
