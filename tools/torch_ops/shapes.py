"""Padding, sizes and channels with torch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from ops.rows_layers_shapes import pairs
from ops.rows_layers_windows import each

Tensor = torch.Tensor


def negated(amounts: Any) -> Any:
    """Amounts to crop as widths to pad."""
    return tuple(map(negated, amounts)) if isinstance(amounts, tuple) else -amounts


def pad(x: Tensor, widths: Any, mode: str, value: float) -> Tensor:
    """``layers.pad``; crops come first."""
    found = pairs(widths, x.ndim - 2)
    for axis, (front, behind) in enumerate(found, 1):
        x = x.narrow(axis, max(-front, 0), x.shape[axis] + min(front, 0) + min(behind, 0))
    most = {"reflect": min(x.shape[1:-1], default=0) - 1, "wrap": min(x.shape[1:-1], default=0)}
    grown = [max(width, 0) for pair in reversed(found) for width in pair]
    if max(grown, default=0) > most.get(mode, max(grown, default=0)):
        raise NotImplementedError("torch reflects and wraps once alone")
    if mode == "constant":
        return F.pad(x.movedim(-1, 1), grown, value=value).movedim(1, -1)
    kind = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    return F.pad(x.movedim(-1, 1), grown, mode=kind).movedim(1, -1)


def resize(x: Tensor, size: Any, method: str, antialias: bool) -> Tensor:
    """``layers.resize``, by ``interpolate`` where it computes the same."""
    axes = x.ndim - 2
    x, size = x.movedim(-1, 1), each(size, axes)
    shrinks = any(new < old for new, old in zip(size, x.shape[2:], strict=True))
    if method == "nearest":
        return F.interpolate(x, size, mode="nearest-exact").movedim(1, -1)
    if method.startswith("lanczos") or (method == "bicubic" and not antialias):
        raise NotImplementedError("no lanczos; a cubic of a = -0.75 that repeats the edges")
    if axes == 2:
        return F.interpolate(x, size, mode=method, antialias=antialias).movedim(1, -1)
    if shrinks and antialias:
        raise NotImplementedError("torch widens the windows of images alone")
    return F.interpolate(x, size, mode=("linear", "", "trilinear")[axes - 1]).movedim(1, -1)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """``layers.pixel_shuffle``."""
    if x.ndim != 4 or not isinstance(factor, int):
        raise NotImplementedError("torch shuffles images alone, by one factor")
    return F.pixel_shuffle(x.movedim(-1, 1), factor).movedim(1, -1)
