"""Transposed and separable convolutions and patches with torch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from ops.rows_layers_convs import crop
from ops.rows_layers_windows import each, pads

from torch_ops.layers import channels_first, conv, padded

Tensor = torch.Tensor


def conv_transpose(
    x: Tensor,
    kernel: Tensor,
    bias: Any,
    strides: Any,
    paddings: Any,
    kernel_dilation: Any,
    groups: int,
) -> Tensor:
    """``layers.conv_transpose``: torch's kernel is turned round, and what it calls padding is cut off."""
    axes = x.ndim - 2
    padding, output_padding = paddings
    steps, dilation, more = each(strides, axes), each(kernel_dilation, axes), each(output_padding, axes)
    kernel = kernel.flip(tuple(range(axes))).unflatten(-1, (groups, -1)).movedim((-2, -3, -1), (0, 1, 2))
    op = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    full = op(channels_first(x), kernel.flatten(0, 1), None, steps, 0, 0, groups, dilation)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape[3:], dilation, strict=True)]
    cut = crop(padding, reach, steps)
    sides = [(-low, further - high) for (low, high), further in zip(cut, more, strict=True)]
    y = F.pad(full, [size for pair in reversed(sides) for size in pair]).movedim(1, -1)
    return y if bias is None else y + bias


def separable_conv(
    x: Tensor, kernels: Any, biases: Any, strides: Any, padding: Any, kernel_dilation: Any
) -> Tensor:
    """``layers.separable_conv2d`` and ``layers.separable_conv3d``."""
    for kernel, bias in zip(kernels, biases, strict=True):
        x = conv(x, kernel, bias, strides, padding, kernel_dilation, x.shape[-1])
    return x


def unfold(x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any) -> Tensor:
    """``layers.unfold``: torch knows two axes, and has the channels in front of the window."""
    axes = x.ndim - 2
    if axes != 2:
        raise NotImplementedError
    window, strides, dilation = each(window, axes), each(strides, axes), each(dilation, axes)
    wide = padded(channels_first(x), padding, window, strides, dilation, 0.0)
    positions = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(wide.shape[2:], window, strides, dilation, strict=True)
    ]
    found = F.unfold(wide, window, dilation, 0, strides).unflatten(1, (x.shape[-1], -1))
    return found.permute(0, 3, 2, 1).flatten(2).unflatten(1, positions)


def fold(patches: Tensor, output_size: Any, window: Any, strides: Any, padding: Any, dilation: Any) -> Tensor:
    """``layers.fold``."""
    axes = patches.ndim - 2
    if axes != 2:
        raise NotImplementedError
    sizes, window = each(output_size, axes), each(window, axes)
    strides, dilation = each(strides, axes), each(dilation, axes)
    pad = pads(padding, sizes, window, strides, dilation)
    whole = [n + low + high for n, (low, high) in zip(sizes, pad, strict=True)]
    columns = patches.flatten(1, 2).unflatten(-1, (window[0] * window[1], -1)).permute(0, 3, 2, 1)
    full = F.fold(columns.flatten(1, 2), whole, window, dilation, 0, strides).movedim(1, -1)
    (top, _), (left, _) = pad
    return full[:, top : top + sizes[0], left : left + sizes[1]]
