"""Rows of ``axonax.tensor.layers``: convolutions and pools."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ops.row import REDUCTION, OpRow, case

_RANDOM = np.random.default_rng(37)
Pads = list[tuple[int, int]]


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape)


def each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def pads(padding: Any, sizes: Any, window: Any, strides: Any, dilation: Any) -> Pads:
    """Zeros in front of and behind each axis, as XLA's conventions have them."""
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "causal":
        return [(reach[0] - 1, 0)]
    if padding == "same":
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(sizes, strides, reach, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    if isinstance(padding, int):
        return [(padding, padding)] * len(sizes)
    return [(p, p) if isinstance(p, int) else tuple(p) for p in padding]


def patches(
    x: np.ndarray, window: Any, strides: Any, dilation: Any
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each output position and what its window holds of the padded ``x``: ``(batch, *window, channels)``."""
    sizes = x.shape[1:-1]
    counts = [
        max((n - (k - 1) * d - 1) // s + 1, 0)
        for n, k, s, d in zip(sizes, window, strides, dilation, strict=True)
    ]
    for position in itertools.product(*map(range, counts)):
        slices = [
            slice(p * s, p * s + (k - 1) * d + 1, d)
            for p, s, k, d in zip(position, strides, window, dilation, strict=True)
        ]
        yield position, x[(slice(None), *slices)]


def over_windows(x: np.ndarray, pad: Pads, fill: float, shape: Any, reduce: Any, *how: Any) -> np.ndarray:
    """``reduce`` of every window of the padded ``x``; ``shape`` is that of one result."""
    padded = np.pad(x, [(0, 0), *pad, (0, 0)], constant_values=fill)
    found = {position: reduce(patch) for position, patch in patches(padded, *how)}
    counts = [max(axis) + 1 for axis in zip(*found, strict=True)] if found else [0] * (x.ndim - 2)
    out = np.zeros((x.shape[0], *counts, shape))
    for position, value in found.items():
        out[(slice(None), *position)] = value
    return out


def conv(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: Any = 0.0,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    input_dilation: Any = 1,
    kernel_dilation: Any = 1,
    groups: int = 1,
    batch_groups: int = 1,
) -> np.ndarray:
    """A loop over positions."""
    axes = x.ndim - 2
    if batch_groups > 1:
        pairs = zip(np.split(x, batch_groups), np.split(kernel, batch_groups, -1), strict=True)
        options = {"strides": strides, "padding": padding, "kernel_dilation": kernel_dilation}
        return np.concatenate([conv(a, k, **options) for a, k in pairs], -1) + bias
    spread = each(input_dilation, axes)
    dilated = np.zeros(
        (len(x), *((n - 1) * d + 1 for n, d in zip(x.shape[1:-1], spread, strict=True)), x.shape[-1])
    )
    dilated[(slice(None), *(slice(None, None, d) for d in spread))] = x
    window, strides, dilation = kernel.shape[:-2], each(strides, axes), each(kernel_dilation, axes)
    pad = pads(padding, dilated.shape[1:-1], window, strides, dilation)
    parts = zip(np.split(dilated, groups, -1), np.split(kernel, groups, -1), strict=True)
    found = [
        over_windows(
            part,
            pad,
            0.0,
            held.shape[-1],
            lambda patch, held=held: np.tensordot(patch, held, axes + 1),
            window,
            strides,
            dilation,
        )
        for part, held in parts
    ]
    return np.concatenate(found, -1) + bias


def max_pool(
    x: np.ndarray, *, window: Any, strides: Any = None, padding: Any = "valid", dilation: Any = 1
) -> np.ndarray:
    axes = x.ndim - 2
    window, dilation = each(window, axes), each(dilation, axes)
    strides = window if strides is None else each(strides, axes)
    pad = pads(padding, x.shape[1:-1], window, strides, dilation)

    def reduce(patch: np.ndarray) -> np.ndarray:
        return patch.max(axis=tuple(range(1, axes + 1)))

    return over_windows(x, pad, -np.inf, x.shape[-1], reduce, window, strides, dilation)


IMAGE = _array(2, 5, 6, 2)
ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.conv",
        formula="y[p] = bias + sum_k x[p stride + k dilation] kernel[k]",
        oracle=conv,
        oracle_name="loop over positions in float64",
        peers="jax.lax, Flax, Keras, torch",
        cases=(
            case(IMAGE, _array(3, 2, 2, 4), _array(4), strides=(2, 1), padding=1),
            case(IMAGE, _array(3, 3, 2, 4), _array(4), padding="same"),
            case(IMAGE, _array(3, 2, 2, 4), strides=2, padding="same", kernel_dilation=2),
            case(_array(1, 7, 2), _array(3, 2, 3), padding="causal", kernel_dilation=2),
            case(_array(1, 4, 3, 5, 2), _array(2, 2, 2, 1, 4), groups=2, padding=((1, 0), (0, 1), (1, 2))),
            case(_array(1, 4, 3), _array(3, 3, 2), input_dilation=2, padding="same"),
            case(_array(4, 5, 3), _array(2, 3, 4), batch_groups=2),
        ),
        bound=REDUCTION,
        torch="conv(x, kernel, bias, strides, padding, kernel_dilation, groups)",
    ),
    OpRow(
        name="layers.max_pool",
        formula="max over each window",
        oracle=max_pool,
        oracle_name="loop over positions",
        peers="jax.lax, Flax, Keras, torch",
        cases=(
            case(IMAGE, window=2),
            case(IMAGE, window=(2, 3), strides=1, padding="same"),
            case(IMAGE, window=3, strides=2, padding=((1, 0), (2, 1))),
            case(_array(1, 9, 2), window=3, strides=2, dilation=2),
            case(_array(1, 13, 2), window=7, strides=1),
            case(_array(1, 4, 4, 4, 1), window=2),
        ),
        edges=(case(IMAGE * 0, window=2), case(IMAGE, window=3, padding=1)),
        torch="max_pool(x, window, strides, padding, dilation)",
    ),
)
