"""Rows of ``axonax.tensor.layers``: transposed, depthwise and separable convolutions, and patches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ops.row import REDUCTION, Bound, OpRow, case
from ops.rows_layers_windows import IMAGE, conv, each, pads, patches

_RANDOM = np.random.default_rng(71)


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape)


LINE, CUBE = _array(1, 7, 2), _array(1, 3, 2, 3, 2)


def conv_transpose(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: Any = 0.0,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = 0,
    kernel_dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """A loop over the inputs, each of which adds its kernel, turned round, to the output; then a crop."""
    axes = x.ndim - 2
    if groups > 1:
        pairs = zip(np.split(x, groups, -1), np.split(kernel, groups, -1), strict=True)
        parts = [
            conv_transpose(
                *pair,
                strides=strides,
                padding=padding,
                output_padding=output_padding,
                kernel_dilation=kernel_dilation,
            )
            for pair in pairs
        ]
        return np.concatenate(parts, -1) + bias
    window, sizes = kernel.shape[:-2], x.shape[1:-1]
    steps, dilation, more = each(strides, axes), each(kernel_dilation, axes), each(output_padding, axes)
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    cut = crop(padding, reach, steps)
    wanted = [
        (n - 1) * s + r - low - high + m
        for n, s, r, (low, high), m in zip(sizes, steps, reach, cut, more, strict=True)
    ]
    room = [
        max((n - 1) * s + r, low + w)
        for n, s, r, (low, _), w in zip(sizes, steps, reach, cut, wanted, strict=True)
    ]
    front = [max(-low, 0) for low, _ in cut]
    full = np.zeros((len(x), *(a + b for a, b in zip(room, front, strict=True)), kernel.shape[-1]))
    turned = np.flip(kernel, tuple(range(axes)))
    for at in np.ndindex(*sizes):
        for place in np.ndindex(*window):
            spot = tuple(
                f + i * s + k * d for f, i, s, k, d in zip(front, at, steps, place, dilation, strict=True)
            )
            full[(slice(None), *spot)] += x[(slice(None), *at)] @ turned[place]
    starts = [f + low for f, (low, _) in zip(front, cut, strict=True)]
    slices = (slice(start, start + w) for start, w in zip(starts, wanted, strict=True))
    return full[(slice(None), *slices)] + bias


def crop(padding: Any, reach: list[int], steps: tuple[int, ...]) -> list[tuple[int, int]]:
    """What is cut off the sum of all kernels on each side; below 0, what is put on."""
    if padding == "same":
        excess = [r - s for r, s in zip(reach, steps, strict=True)]
        return [(e // 2, e - e // 2) if e > 0 else (0, e) for e in excess]
    if padding == "valid":
        return [(0, min(r - s, 0)) for r, s in zip(reach, steps, strict=True)]
    given = pads(padding, reach, reach, steps, reach)
    return [(r - 1 - low, r - 1 - high) for r, (low, high) in zip(reach, given, strict=True)]


def depthwise_conv(x: np.ndarray, kernel: np.ndarray, bias: Any = 0.0, **options: Any) -> np.ndarray:
    """Each channel by the loop of ``conv``."""
    bias = 0.0 if bias is None else bias
    channels = np.split(x, x.shape[-1], -1), np.split(kernel, x.shape[-1], -1)
    return np.concatenate([conv(a, k, **options) for a, k in zip(*channels, strict=True)], -1) + bias


def separable_conv2d(
    x: np.ndarray, kernel_1: Any, kernel_2: Any, bias_1: Any = 0.0, bias_2: Any = 0.0, **options: Any
) -> np.ndarray:
    inner = depthwise_conv(x, kernel_1, bias_1, **options)
    return depthwise_conv(inner, kernel_2, bias_2, **options)


def separable_conv3d(
    x: np.ndarray,
    kernel_1: Any,
    kernel_2: Any,
    kernel_3: Any,
    bias_1: Any = 0.0,
    bias_2: Any = 0.0,
    bias_3: Any = 0.0,
    **options: Any,
) -> np.ndarray:
    for kernel, bias in ((kernel_1, bias_1), (kernel_2, bias_2), (kernel_3, bias_3)):
        x = depthwise_conv(x, kernel, bias, **options)
    return x


def unfold(
    x: np.ndarray, *, window: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> np.ndarray:
    axes = x.ndim - 2
    window, strides, dilation = each(window, axes), each(strides, axes), each(dilation, axes)
    pad = pads(padding, x.shape[1:-1], window, strides, dilation)
    padded = np.pad(x, [(0, 0), *pad, (0, 0)])
    found = dict(patches(padded, window, strides, dilation))
    counts = [max(axis) + 1 for axis in zip(*found, strict=True)]
    out = np.zeros((len(x), *counts, int(np.prod(window)) * x.shape[-1]))
    for position, patch in found.items():
        out[(slice(None), *position)] = patch.reshape(len(x), -1)
    return out


def fold(
    patches: np.ndarray,
    *,
    output_size: Any,
    window: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
) -> np.ndarray:
    axes = patches.ndim - 2
    sizes, window = each(output_size, axes), each(window, axes)
    strides, dilation = each(strides, axes), each(dilation, axes)
    pad = pads(padding, sizes, window, strides, dilation)
    whole = [n + low + high for n, (low, high) in zip(sizes, pad, strict=True)]
    split = patches.reshape(*patches.shape[:-1], *window, -1)
    out = np.zeros((len(patches), *whole, split.shape[-1]))
    for at in np.ndindex(*patches.shape[1:-1]):
        for place in np.ndindex(*window):
            spot = tuple(i * s + k * d for i, s, k, d in zip(at, strides, place, dilation, strict=True))
            out[(slice(None), *spot)] += split[(slice(None), *at, *place)]
    return out[(slice(None), *(slice(low, low + n) for n, (low, _) in zip(sizes, pad, strict=True)))]


def adjoint(op: Any) -> None:
    """<unfold(x), y> = <x, fold(y)>."""
    from axonax.tensor import layers  # noqa: PLC0415

    options = {"window": (2, 3), "strides": (1, 2), "padding": 1, "dilation": (2, 1)}
    x = _array(2, 5, 6, 3).astype(np.float32)
    seen = np.asarray(layers.unfold(x, **options))
    y = _array(*seen.shape).astype(np.float32)
    back = layers.fold(y, output_size=(5, 6), **options)
    np.testing.assert_allclose(np.vdot(seen, y), np.vdot(x, back), rtol=1e-4)


def product(op: Any) -> None:
    """The patches by a kernel, flattened, are the convolution."""
    x, kernel = _array(2, 5, 6, 3), _array(3, 2, 3, 4)
    seen = op(x.astype(np.float32), window=(3, 2), padding="same")
    np.testing.assert_allclose(
        np.asarray(seen) @ kernel.reshape(-1, 4), conv(x, kernel, padding="same"), rtol=1e-4, atol=1e-4
    )


def inverse(op: Any) -> None:
    """Windows side by side: the patches themselves, each in its place."""
    x = np.arange(48.0, dtype=np.float32).reshape(1, 4, 6, 2)
    np.testing.assert_array_equal(op(unfold(x, window=(2, 3), strides=(2, 3)), output_size=(4, 6),
                                     window=(2, 3), strides=(2, 3)), x)  # fmt: skip


CONV = {"bound": REDUCTION, "oracle_name": "loop over positions in float64"}
STAGES = Bound(16, relative=2e-6)
ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.conv_transpose",
        formula="conv of x with stride - 1 zeros between its positions",
        oracle=conv_transpose,
        peers="jax.lax, Flax, Keras, torch",
        cases=(
            case(IMAGE, _array(3, 2, 2, 4), _array(4), strides=(2, 1)),
            case(IMAGE, _array(3, 3, 2, 4), _array(4), strides=2, padding="same"),
            case(IMAGE, _array(4, 2, 2, 3), strides=(2, 3), padding="same", kernel_dilation=(1, 2)),
            case(IMAGE, _array(1, 2, 2, 3), strides=3, output_padding=(1, 0)),
            case(LINE, _array(3, 1, 4), padding=((1, 2),), strides=2, groups=2),
            case(LINE, _array(3, 2, 3), padding=2, strides=2, output_padding=1, kernel_dilation=2),
            case(LINE, _array(2, 2, 3), padding=3),
            case(CUBE, _array(2, 2, 3, 2, 2), strides=2),
        ),
        torch="conv_transpose(x, kernel, bias, strides, (padding, output_padding), kernel_dilation, groups)",
        **CONV,
    ),
    OpRow(
        name="layers.depthwise_conv",
        formula="y[p, c m + j] = bias + sum_k x[p stride + k dilation, c] kernel[k, c m + j]",
        oracle=depthwise_conv,
        peers="Keras",
        cases=(
            case(IMAGE, _array(3, 2, 1, 4), _array(4), strides=(2, 1), padding=1),
            case(IMAGE, _array(3, 3, 1, 2), padding="same", kernel_dilation=2),
            case(_array(1, 9, 3), _array(3, 1, 6), padding="causal"),
            case(LINE, _array(2, 1, 4), input_dilation=3, strides=2),
            case(LINE, _array(70, 1, 2), padding="same"),
            case(CUBE, _array(2, 2, 2, 1, 2), padding="same"),
        ),
        torch="conv(x, kernel, bias, strides, padding, kernel_dilation, x.shape[-1])",
        **CONV,
    ),
    OpRow(
        name="layers.separable_conv2d",
        formula="depthwise_conv along the height, then along the width",
        oracle=separable_conv2d,
        oracle_name="loop over positions in float64",
        peers="Axon",
        bound=STAGES,
        cases=(
            case(IMAGE, _array(3, 1, 1, 4), _array(1, 2, 1, 4), _array(4), _array(4)),
            case(IMAGE, _array(2, 1, 1, 2), _array(1, 3, 1, 6), strides=(2, 1), padding="same"),
        ),
        torch="separable_conv(x, (kernel_1, kernel_2), (bias_1, bias_2), strides, padding, kernel_dilation)",
    ),
    OpRow(
        name="layers.separable_conv3d",
        formula="depthwise_conv along the depth, then along the height and the width",
        oracle=separable_conv3d,
        oracle_name="loop over positions in float64",
        peers="Axon",
        bound=STAGES,
        cases=(
            case(CUBE, _array(2, 1, 1, 1, 2), _array(1, 2, 1, 1, 2), _array(1, 1, 2, 1, 4), _array(2)),
            case(CUBE, _array(3, 1, 1, 1, 2), _array(1, 2, 1, 1, 2), _array(1, 1, 2, 1, 2), None, _array(2),
                 _array(2), padding="same", kernel_dilation=(1, 1, 2)),
        ),
        torch="separable_conv(x, (kernel_1, kernel_2, kernel_3), (bias_1, bias_2, bias_3), strides, padding, "
        "kernel_dilation)",
    ),
    OpRow(
        name="layers.unfold",
        formula="y[p, k, c] = x[p stride + k dilation, c]",
        oracle=unfold,
        oracle_name="loop over positions",
        peers="jax.lax, torch",
        cases=(
            case(IMAGE, window=2),
            case(IMAGE, window=(3, 2), strides=(1, 2), padding="same", dilation=(1, 2)),
            case(LINE, window=3, padding=((2, 0),)),
            case(CUBE, window=2, padding=1),
        ),
        laws=(product,),
        torch="unfold(x, window, strides, padding, dilation)",
    ),
    OpRow(
        name="layers.fold",
        formula="y[q, c] = sum of x[p, k, c] over p stride + k dilation = q",
        oracle=fold,
        oracle_name="loop over positions in float64",
        peers="torch",
        cases=(
            case(_array(2, 4, 5, 8), output_size=(5, 6), window=2),
            case(_array(1, 5, 3, 6), output_size=(5, 6), window=(3, 2), strides=(1, 2), padding="same"),
            case(_array(1, 3, 4), output_size=7, window=2, strides=2, dilation=2),
            case(_array(1, 2, 2, 3, 8), output_size=(3, 3, 4), window=2),
        ),
        bound=REDUCTION,
        laws=(adjoint, inverse),
        torch="fold(patches, output_size, window, strides, padding, dilation)",
    ),
)  # fmt: skip
