"""Rows of ``axonax.tensor.layers``: pools that add up, adaptive and global ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ops.row import REDUCTION, OpRow, case
from ops.rows_layers_windows import IMAGE, each, max_pool, over_windows, pads

_RANDOM = np.random.default_rng(43)
LINE = _RANDOM.normal(size=(1, 13, 2))
CUBE = _RANDOM.normal(size=(1, 4, 3, 5, 1))
Reduce = Callable[..., np.ndarray]


def min_pool(x: np.ndarray, **options: Any) -> np.ndarray:
    return -max_pool(-x, **options)


def pooled(
    x: np.ndarray, fill: float, reduce: Reduce, window: Any, strides: Any, padding: Any, dilation: Any
) -> np.ndarray:
    axes = x.ndim - 2
    window, dilation = each(window, axes), each(dilation, axes)
    strides = window if strides is None else each(strides, axes)
    pad = pads(padding, x.shape[1:-1], window, strides, dilation)

    def over(patch: np.ndarray) -> np.ndarray:
        return reduce(patch, axis=tuple(range(1, axes + 1)))

    return over_windows(x, pad, fill, x.shape[-1], over, window, strides, dilation)


def mean_of_what_is_there(patch: np.ndarray, axis: Any) -> np.ndarray:
    there = ~np.isnan(patch)
    return np.where(there, patch, 0).sum(axis) / np.maximum(there.sum(axis), 1)


def avg_pool(
    x: np.ndarray,
    *,
    window: Any,
    strides: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    count_padding: bool = False,
) -> np.ndarray:
    if count_padding:
        return pooled(x, 0.0, np.mean, window, strides, padding, dilation)
    return pooled(x, np.nan, mean_of_what_is_there, window, strides, padding, dilation)


def length(x: np.ndarray, axis: Any, norm: float = 2, keepdims: bool = False) -> np.ndarray:
    return (np.abs(x) ** norm).sum(axis, keepdims=keepdims) ** (1 / norm)


def lp_pool(
    x: np.ndarray,
    *,
    window: Any,
    norm: float = 2,
    strides: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
) -> np.ndarray:
    def reduce(patch: np.ndarray, axis: Any) -> np.ndarray:
        return length(patch, axis, norm)

    return pooled(x, 0.0, reduce, window, strides, padding, dilation)


def blur_pool(x: np.ndarray, *, window: Any = 3, strides: Any = 1, mode: str = "constant") -> np.ndarray:
    axes = x.ndim - 2
    window, strides = each(window, axes), each(strides, axes)
    weights: Any = 1.0
    for size in window:
        weights = np.multiply.outer(weights, [math.comb(size - 1, k) / 2 ** (size - 1) for k in range(size)])
    padded = np.pad(x, [(0, 0), *[((k - 1) // 2, k // 2) for k in window], (0, 0)], mode=mode)

    def reduce(patch: np.ndarray, axis: Any) -> np.ndarray:
        return (patch * weights[..., None]).sum(axis)

    return pooled(padded, 0.0, reduce, window, strides, "valid", 1)


def adaptive(reduce: Reduce) -> Reduce:
    """The oracle of an adaptive pool: a loop over positions."""

    def oracle(x: np.ndarray, *, output_size: Any, **options: Any) -> np.ndarray:
        axes = x.ndim - 2
        counts = each(output_size, axes)
        out = np.zeros((len(x), *counts, x.shape[-1]))
        for position in itertools.product(*map(range, counts)):
            slices = [
                slice(i * n // m, -(-(i + 1) * n // m))
                for i, n, m in zip(position, x.shape[1:-1], counts, strict=True)
            ]
            patch = x[(slice(None), *slices)]
            out[(slice(None), *position)] = reduce(patch, axis=tuple(range(1, axes + 1)), **options)
        return out

    return oracle


def whole(reduce: Reduce) -> Reduce:
    """The oracle of a global pool."""

    def oracle(x: np.ndarray, *, keep_axes: bool = False, **options: Any) -> np.ndarray:
        return reduce(x, axis=tuple(range(1, x.ndim - 1)), keepdims=keep_axes, **options)

    return oracle


ADAPTIVE = {"max": adaptive(np.max), "avg": adaptive(np.mean), "lp": adaptive(length)}


def windows_row(name: str, formula: str, oracle: Reduce, *more: Any, **rest: Any) -> OpRow:
    cases = (
        case(IMAGE, window=2),
        case(IMAGE, window=(2, 3), strides=1, padding="same"),
        case(IMAGE, window=3, strides=2, padding=((1, 0), (2, 1))),
        case(LINE, window=3, strides=2, dilation=2),
        case(LINE, window=7, strides=2, padding="same"),
        case(CUBE, window=2, padding=(0, 1, 0)),
        *more,
    )
    given = {"bound": REDUCTION, "oracle_name": "loop over positions in float64", **rest}
    given = {"edges": (case(IMAGE * 0, window=2),), "peers": "Flax, Keras, torch", **given}
    return OpRow(name=f"layers.{name}", formula=formula, oracle=oracle, cases=cases, **given)


def sizes_row(kind: str, formula: str, peers: str, torch: str, *more: Any) -> OpRow:
    cases = (
        case(IMAGE, output_size=(2, 4)),
        case(LINE, output_size=5),
        case(CUBE, output_size=(4, 3, 7)),
        *more,
    )
    options: dict[str, Any] = {"torch": torch} if torch else {"no_torch": "torch has none"}
    return OpRow(
        name=f"layers.adaptive_{kind}_pool",
        formula=formula,
        oracle=ADAPTIVE[kind],
        oracle_name="loop over positions in float64",
        peers=peers,
        cases=cases,
        edges=(case(IMAGE * 0, output_size=2),),
        bound=REDUCTION,
        **options,
    )


def global_row(kind: str, formula: str, reduce: Reduce, torch: str, *more: Any) -> OpRow:
    return OpRow(
        name=f"layers.global_{kind}_pool",
        formula=formula,
        oracle=whole(reduce),
        oracle_name="NumPy in float64",
        peers="Keras, torch",
        cases=(case(IMAGE), case(CUBE, keep_axes=True), case(LINE), *more),
        edges=(case(IMAGE * 0),),
        bound=REDUCTION,
        torch=torch,
    )


_SPATIAL = "tuple(range(1, x.ndim - 1))"
ROWS: tuple[OpRow, ...] = (
    windows_row(
        "min_pool",
        "min over each window",
        min_pool,
        peers="Flax",
        torch="-max_pool(-x, window, strides, padding, dilation)",
    ),
    windows_row(
        "avg_pool",
        "mean over each window, without padding or with it",
        avg_pool,
        case(IMAGE, window=3, strides=2, padding=1, count_padding=True),
        case(LINE, window=2, padding=((2, 2),)),
        torch="avg_pool(x, window, strides, padding, dilation, count_padding)",
    ),
    windows_row(
        "lp_pool",
        "(sum |x|^norm)^(1/norm) over each window",
        lp_pool,
        case(IMAGE, window=2, norm=3),
        case(IMAGE, window=2, norm=1),
        case(LINE, window=2, norm=1.5),
        peers="torch",
        torch="lp_pool(x, window, norm, strides, padding, dilation)",
    ),
    OpRow(
        name="layers.blur_pool",
        formula="binomial filter, every strides-th position",
        oracle=blur_pool,
        oracle_name="loop over positions in float64",
        peers="antialiased-cnns",
        cases=(
            case(IMAGE),
            case(IMAGE, strides=2, mode="reflect"),
            case(IMAGE, window=(4, 2), strides=(1, 3), mode="edge"),
            case(LINE, window=5, mode="wrap"),
            case(CUBE, window=2),
        ),
        bound=REDUCTION,
        no_torch="torch has none",
    ),
    sizes_row("max", "max over windows of floor(i n / m) to ceil((i + 1) n / m)", "Keras, torch",
              "adaptive_pool('max', x, output_size)"),
    sizes_row("avg", "mean over windows of floor(i n / m) to ceil((i + 1) n / m)", "Keras, torch",
              "adaptive_pool('avg', x, output_size)"),
    sizes_row("lp", "(sum |x|^norm)^(1/norm) over windows of floor(i n / m) to ceil((i + 1) n / m)", "", "",
              case(LINE, output_size=3, norm=3)),
    global_row("max", "max over all positions", np.max, f"x.amax({_SPATIAL}, keepdim=keep_axes)"),
    global_row("avg", "mean over all positions", np.mean, f"x.mean({_SPATIAL}, keepdim=keep_axes)"),
    global_row(
        "lp",
        "(sum |x|^norm)^(1/norm) over all positions",
        length,
        f"torch.linalg.vector_norm(x, norm, {_SPATIAL}, keepdim=keep_axes)",
        case(IMAGE, norm=3),
    ),
)  # fmt: skip
