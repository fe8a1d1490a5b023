"""Rows of ``axonax.tensor.layers``: shapes, padding, sizes, rearranged channels, choices."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import REDUCTION, Bound, OpRow, case

_RANDOM = np.random.default_rng(41)
EXACT = Bound(0)


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape)


def pairs(widths: Any, axes: int) -> list[tuple[int, int]]:
    """``(front, behind)`` of each spatial axis."""
    if isinstance(widths, int):
        return [(widths, widths)] * axes
    if axes == 1 and len(widths) == 2:
        return [widths]
    return [(each, each) if isinstance(each, int) else tuple(each) for each in widths]


def source(index: int, size: int, mode: str) -> int | None:
    """Which element an index beyond the ends stands for."""
    if 0 <= index < size:
        return index
    if mode == "wrap":
        return index % size
    if mode == "edge":
        return min(max(index, 0), size - 1)
    if mode == "reflect":
        place = abs(index) % (2 * size - 2) if size > 1 else 0
        return min(place, 2 * size - 2 - place)
    return None


def pad(x: np.ndarray, widths: Any, *, mode: str = "constant", value: float = 0) -> np.ndarray:
    """Element by element: where each comes from."""
    for axis, (front, behind) in enumerate(pairs(widths, x.ndim - 2), 1):
        x = crop_axis(x, axis, max(-front, 0), max(-behind, 0))
        size = x.shape[axis]
        slices = []
        for index in range(-max(front, 0), size + max(behind, 0)):
            found = source(index, size, mode)
            one = np.full(np.delete(x.shape, axis), value, x.dtype) if found is None else x.take(found, axis)
            slices.append(one)
        x = np.stack(slices, axis) if slices else x
    return x


def crop_axis(x: np.ndarray, axis: int, front: int, behind: int) -> np.ndarray:
    return x.take(range(front, x.shape[axis] - behind), axis)


def crop(x: np.ndarray, amounts: Any) -> np.ndarray:
    for axis, pair in enumerate(pairs(amounts, x.ndim - 2), 1):
        x = crop_axis(x, axis, *pair)
    return x


def bump(method: str, d: float) -> float:
    """The interpolating function of a method, at one distance."""
    d = abs(d)
    if method == "bilinear":
        return max(0.0, 1 - d)
    if method == "bicubic":  # Keys (1981), equation 15
        a = -0.5
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0
    radius = int(method[-1])
    if d == 0:
        return 1.0
    t = np.pi * d
    return radius * np.sin(t) * np.sin(t / radius) / t**2 if d < radius else 0.0


def resize(x: np.ndarray, size: Any, *, method: str = "nearest", antialias: bool = True) -> np.ndarray:
    """Sample by sample, by positions in float64."""
    sizes = (size,) * (x.ndim - 2) if isinstance(size, int) else size
    for axis, new in enumerate(sizes, 1):
        old = x.shape[axis]
        rows = []
        for i in range(new):
            if method == "nearest":
                rows.append(x.take(((2 * i + 1) * old) // (2 * new), axis))
                continue
            spread = max(1.0, old / new) if antialias else 1.0
            weights = np.array([bump(method, ((i + 0.5) * old / new - 0.5 - j) / spread) for j in range(old)])
            rows.append(np.tensordot(weights / weights.sum(), x, (0, axis)))
        x = np.stack(rows, axis)
    return x


def finer(x: np.ndarray, factor: Any, *, channels_outermost: bool) -> np.ndarray:
    """Element by element."""
    axes = x.ndim - 2
    factors = (factor,) * axes if isinstance(factor, int) else factor
    sizes = [n * f for n, f in zip(x.shape[1:-1], factors, strict=True)]
    channels = x.shape[-1] // int(np.prod(factors))
    parts = (channels, *factors) if channels_outermost else (*factors, channels)
    y = np.empty((len(x), *sizes, channels))
    for at in itertools.product(*map(range, sizes)):
        inner = tuple(p % f for p, f in zip(at, factors, strict=True))
        coarse = tuple(p // f for p, f in zip(at, factors, strict=True))
        for c in range(channels):
            index = np.ravel_multi_index((c, *inner) if channels_outermost else (*inner, c), parts)
            y[(slice(None), *at, c)] = x[(slice(None), *coarse, index)]
    return y


def patch_embed(x: np.ndarray, kernel: np.ndarray, bias: Any = 0.0) -> np.ndarray:
    """Patch by patch."""
    window = kernel.shape[:-2]
    counts = [n // k for n, k in zip(x.shape[1:-1], window, strict=True)]
    y = np.empty((len(x), *counts, kernel.shape[-1]))
    for at in itertools.product(*map(range, counts)):
        box = tuple(slice(p * k, p * k + k) for p, k in zip(at, window, strict=True))
        y[(slice(None), *at)] = np.tensordot(x[(slice(None), *box)], kernel, kernel.ndim - 1)
    return y + bias


def double(x: Any) -> Any:
    return x * 2


def cube(x: Any) -> Any:
    return x**3


def mixed(x: Any, row: Any, index: Any) -> Any:
    """A step of `repeat`, of whichever library."""
    return x * row[1] + row[index], x.sum() * row[2]


def repeat(
    function: Any, x: np.ndarray, stacked: np.ndarray, *, times: int, unroll: Any = 1, remat: Any = None
) -> Any:
    """One after the other."""
    outputs = []
    for index in range(times):
        x, output = function(x, stacked[index], index)
        outputs.append(output)
    return x, np.stack(outputs)


def positive(x: Any) -> Any:
    return x.sum() > 0


def chosen_by_row(op: Any) -> None:
    """Under vmap each row has its own branch, and its gradient."""
    x = jnp.array([[1.0, 2.0], [-3.0, 1.0]])
    call = jax.vmap(lambda row: op(positive, double, cube, row))
    np.testing.assert_array_equal(call(x), [[2, 4], [-27, 1]])
    gradient = jax.grad(lambda x: call(x).sum())(x)
    np.testing.assert_array_equal(gradient, [[2, 2], [27, 3]])


def other_branch_does_not_run(op: Any) -> None:
    ran = []

    def loud(x: Any) -> Any:
        jax.debug.callback(lambda: ran.append(1))
        return x

    jax.jit(lambda x: op(False, loud, double, x))(jnp.ones(2)).block_until_ready()
    jax.effects_barrier()
    assert not ran


def constants_stay(op: Any) -> None:
    """Every method keeps a constant, at any size, to a few ulp."""
    for method, size, antialias in itertools.product(
        ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"), (3, 7, 12), (True, False)
    ):
        found = op(jnp.full((1, 7, 1), 3.0), size, method=method, antialias=antialias)
        np.testing.assert_allclose(found, 3.0, rtol=5e-7)


def large_sizes_stay_exact(op: Any) -> None:
    """Where positions in one float32 are off by 1e-4."""
    x = np.random.default_rng(0).normal(size=(1, 1000, 1)).astype(np.float32)
    for method in ("bilinear", "lanczos3"):
        found = np.asarray(op(x, 1499, method=method), np.float64)
        np.testing.assert_allclose(found, resize(x.astype(np.float64), 1499, method=method), atol=2e-6)


def nearest_of_all_sizes(op: Any) -> None:
    """An index computed in float32 is off by one for some of these."""
    for old, new in ((18, 31), (29, 49), (41, 59), (7, 100), (100, 7)):
        x = jnp.arange(old).reshape(1, old, 1)
        found = np.asarray(op(x, new)).ravel()
        np.testing.assert_array_equal(found, [((2 * i + 1) * old) // (2 * new) for i in range(new)])


X, IMAGE = _array(2, 3, 4), _array(2, 5, 6, 2)
ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.reshape",
        formula="the same elements in another shape",
        oracle=lambda x, shape: x.reshape([len(x) if size == "batch" else size for size in shape]),
        oracle_name="NumPy",
        peers="Keras, torch",
        cases=(
            case(X, ("batch", -1, 2)),
            case(X, (4, 6)),
            case(X, (-1,)),
            case(X[:0].copy(), ("batch", 12)),
            case(np.array(1.5), (1, -1)),
            case(_array(1), ()),
        ),
        bound=EXACT,
        torch='x.reshape([len(x) if size == "batch" else size for size in shape])',
    ),
    OpRow(
        name="layers.transpose",
        formula="the axes in another order",
        oracle=lambda x, axes=None: np.transpose(x, axes),
        oracle_name="NumPy",
        peers="Keras, torch",
        cases=(case(X, (0, 2, 1)), case(X), case(X, (-1, 0, -2)), case(np.array(2.0)), case(X[:0].copy())),
        bound=EXACT,
        torch="x.permute(tuple(reversed(range(x.ndim))) if axes is None else axes)",
    ),
    OpRow(
        name="layers.concatenate",
        formula="one behind the other",
        oracle=lambda xs, axis=-1: np.concatenate(xs, axis),
        oracle_name="NumPy",
        peers="Keras, torch",
        cases=(
            case([X, _array(2, 3, 1), _array(2, 3, 2)]),
            case([X, _array(4, 3, 4)], 0),
            case([X, X[:, :0].copy()], axis=1),
            case([X]),
        ),
        bound=EXACT,
        torch="torch.cat(list(xs), axis)",
    ),
    OpRow(
        name="layers.split",
        formula="parts along an axis",
        oracle=lambda x, parts, axis=-1: tuple(
            np.split(x, parts if isinstance(parts, int) else np.cumsum(parts)[:-1], axis)
        ),
        oracle_name="NumPy",
        peers="Flax, torch",
        cases=(case(X, 2), case(X, (1, 0, 3)), case(X, 1, axis=0), case(X, (2, 1), 1), case(X[:0].copy(), 4)),
        bound=EXACT,
        torch="x.split(x.shape[axis] // parts if isinstance(parts, int) else list(parts), axis)",
    ),
    OpRow(
        name="layers.stack_columns",
        formula="the columns of a record as the last axis",
        oracle=lambda columns, ignore=(): np.stack(
            [columns[name] for name in sorted(columns) if name not in ignore]
            if isinstance(columns, dict)
            else [each for index, each in enumerate(columns) if index not in ignore],
            -1,
        ),
        oracle_name="NumPy",
        peers="Axon",
        cases=(
            case({"b": X[0], "a": X[1], "c": _array(3, 4)}, ignore=("a",)),
            case([X[0], X[1]]),
            case({"z": np.array(1.0), "y": np.array(2.0)}),
        ),
        wrt=(1, 2),
        bound=EXACT,
        no_torch="torch stacks lists; it knows no record",
    ),
    OpRow(
        name="layers.pad",
        formula="elements before and behind each spatial axis",
        oracle=pad,
        oracle_name="element by element",
        peers="jax.numpy, Keras, torch",
        cases=(
            case(IMAGE, ((1, 2), (0, 3)), value=-1.5),
            case(IMAGE, 2, mode="reflect"),
            case(IMAGE, (1, (3, 0)), mode="edge"),
            case(IMAGE, ((2, 1), (4, 3)), mode="wrap"),
            case(IMAGE, ((-1, 2), (1, -2))),
            case(X, (2, -1), mode="reflect"),
            case(_array(1, 3, 2), ((7, 4),), mode="reflect"),
            case(_array(1, 2, 2), (5, 3), mode="wrap"),
            case(_array(1, 1, 1), 2, mode="reflect"),
            case(_array(1, 0, 2), 1, value=3.0),
            case(_array(1, 2, 2, 3, 1), 1),
            case(X[:, 0].copy(), ()),
        ),
        bound=EXACT,
        torch="pad(x, widths, mode, value)",
    ),
    OpRow(
        name="layers.crop",
        formula="elements off each spatial axis",
        oracle=crop,
        oracle_name="NumPy",
        peers="Keras",
        cases=(
            case(IMAGE, ((1, 2), (0, 3))),
            case(IMAGE, 1),
            case(IMAGE, (2, (1, 5))),
            case(X, (1, 0)),
            case(X, 0),
            case(X[..., :0].copy(), ((3, 0),)),
        ),
        bound=EXACT,
        torch="pad(x, negated(amounts), 'constant', 0.0)",
    ),
    OpRow(
        name="layers.resize",
        formula="sum_j f(p - j) x[j] / sum_j f(p - j), p = (i + 1/2) old / new - 1/2",
        oracle=resize,
        oracle_name="sample by sample in float64",
        peers="jax.image, Keras, torch",
        cases=(
            case(IMAGE, (7, 3), method="bilinear"),
            case(IMAGE, (3, 8)),
            case(IMAGE, (2, 9), method="bilinear", antialias=False),
            case(IMAGE, (3, 2), method="bicubic"),
            case(IMAGE, (9, 11), method="bicubic"),
            case(IMAGE, (3, 9), method="bicubic", antialias=False),
            case(IMAGE, (8, 3), method="lanczos3"),
            case(IMAGE, (3, 8), method="lanczos5", antialias=False),
            case(_array(2, 9, 3), 4, method="lanczos5"),
            case(_array(1, 3, 2, 4, 2), (2, 2, 5), method="bilinear"),
            case(_array(1, 3, 2, 4, 2), (2, 5, 5), method="bilinear", antialias=False),
            case(IMAGE[:0].copy(), 4, method="bilinear"),
            case(IMAGE, (5, 6), method="bicubic"),
            case(_array(1, 1, 1, 2), 3, method="lanczos3"),
        ),
        bound=REDUCTION,
        torch="resize(x, size, method, antialias)",
        laws=(constants_stay, large_sizes_stay_exact, nearest_of_all_sizes),
    ),
    OpRow(
        name="layers.pixel_shuffle",
        formula="y[h f + i, w f + j, c] = x[h, w, (c f + i) f + j]",
        oracle=lambda x, factor: finer(x, factor, channels_outermost=True),
        oracle_name="element by element",
        peers="torch",
        cases=(
            case(_array(2, 3, 2, 8), 2),
            case(_array(2, 2, 2, 9), 3),
            case(_array(1, 4, 6), 3),
            case(_array(1, 2, 2, 12), (2, 3)),
            case(_array(1, 0, 2, 4), 2),
        ),
        bound=EXACT,
        torch="pixel_shuffle(x, factor)",
    ),
    OpRow(
        name="layers.depth_to_space",
        formula="y[h f + i, w f + j, c] = x[h, w, (i f + j) C + c]",
        oracle=lambda x, factor: finer(x, factor, channels_outermost=False),
        oracle_name="element by element",
        peers="TensorFlow, ONNX",
        cases=(case(_array(2, 3, 2, 8), 2), case(_array(1, 4, 6), 3), case(_array(1, 2, 2, 12), (2, 3))),
        bound=EXACT,
        no_torch="torch has PyTorch's order of channels alone: pixel_shuffle",
    ),
    OpRow(
        name="layers.patch_embed",
        formula="y[p] = bias + sum_k x[p window + k] kernel[k]",
        oracle=patch_embed,
        oracle_name="patch by patch in float64",
        peers="Flax and torch by convolution",
        cases=(
            case(_array(2, 4, 6, 3), _array(2, 3, 3, 5), _array(5)),
            case(_array(2, 6, 2), _array(3, 2, 4)),
            case(_array(1, 2, 4, 6, 1), _array(1, 2, 3, 1, 2), _array(2)),
            case(_array(0, 4, 4, 1), _array(2, 2, 1, 3)),
        ),
        bound=REDUCTION,
        torch="conv(x, kernel, bias, kernel.shape[:-2], 'valid', 1, 1)",
    ),
    OpRow(
        name="layers.cond",
        formula="on_true(x) if predicate else on_false(x)",
        oracle=lambda predicate, on_true, on_false, x: (
            on_true if (predicate(x) if callable(predicate) else predicate) else on_false
        )(x),
        oracle_name="if and else",
        peers="jax.lax, Axon",
        cases=(
            case(positive, cube, double, X),
            case(positive, double, cube, -np.abs(X)),
            case(np.array(True), double, cube, X),
            case(False, double, cube, X[0, 0]),
        ),
        torch="on_true(x) if (predicate(x) if callable(predicate) else predicate) else on_false(x)",
        laws=(chosen_by_row, other_branch_does_not_run),
    ),
    OpRow(
        name="layers.repeat",
        formula="x, outputs[i] = function(x, stacked[i], i)",
        oracle=repeat,
        oracle_name="one after the other",
        peers="jax.lax.scan, Flax's scan",
        cases=(
            case(mixed, X, _array(3, 5), times=3),
            case(mixed, X, _array(3, 5), times=3, unroll=2, remat=True),
            case(mixed, X, _array(4, 5), times=4, unroll=True, remat="dots_saveable"),
            case(mixed, X[0, 0], _array(1, 5), times=1),
        ),
        bound=REDUCTION,
        no_torch="torch has no such loop",
    ),
)
