"""The distance between a result and its oracle."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import Bound, Case, OpRow

NOTHING = Bound(0)


def exact(row: OpRow, one: Case, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The oracle's results on what ``arrays`` hold, in float64."""
    wide = [each.astype(np.float64) if jnp.issubdtype(each.dtype, jnp.floating) else each for each in arrays]
    args, options = one.fill(wide)
    with np.errstate(all="ignore"):
        return [np.asarray(leaf) for leaf in jax.tree.leaves(row.oracle(*args, **options))]


def results(row: OpRow, one: Case, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Our results, compiled."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(one.bind(row.op))(*arrays))]


def ulps(got: np.ndarray, want: np.ndarray, bound: Bound = NOTHING) -> np.ndarray:
    """Errors in units of the last place of ``got``'s dtype; 0 within the absolute and relative bounds.

    Results that the dtype cannot hold as normal numbers must overflow, or lie below the smallest of them.
    """
    assert got.shape == want.shape, f"shape {got.shape} for {want.shape}"
    if not jnp.issubdtype(got.dtype, jnp.floating):
        return np.where(got == want, 0.0, np.inf)
    info = jnp.finfo(got.dtype)
    got, want = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = want.astype(np.float32) if info.bits == 32 else want
    same = (got == rounded) | (got == want) | (np.isnan(got) & np.isnan(want))
    tiny, largest = float(info.tiny), float(info.max)
    subnormal = (np.abs(want) < tiny) & (np.abs(got) <= 2 * tiny)
    overflow = (np.abs(want) >= largest) & (np.abs(got) >= largest) & (np.sign(got) == np.sign(want))
    _, exponent = np.frexp(np.where(np.isfinite(want), want, 1.0))
    spacing = np.ldexp(1.0, np.maximum(exponent - 1, info.minexp) - info.nmant)
    with np.errstate(invalid="ignore"):
        error = np.abs(got - want)
    finite = np.abs(want[np.isfinite(want)])
    allowed = max(bound.absolute, bound.relative * (finite.max() if finite.size else 0.0))
    off = np.where(same | subnormal | overflow | (error <= allowed), 0.0, error / spacing)
    return np.where(np.isnan(off), np.inf, off)


def worst(found: list[np.ndarray], expected: list[np.ndarray], bound: Bound = NOTHING) -> float:
    """The largest error over the leaves of a result."""
    assert len(found) == len(expected), f"{len(found)} results for {len(expected)}"
    return max(
        (float(ulps(got, want, bound).max(initial=0.0)) for got, want in zip(found, expected, strict=True)),
        default=0.0,
    )


def worst_of_largest(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest error in units of the last place of the largest result: for sums, whose terms cancel."""
    errors = [0.0]
    for got, want in zip(found, expected, strict=True):
        finite = np.isfinite(want)
        if finite.any():
            info, top = jnp.finfo(got.dtype), np.abs(want[finite]).max()
            spacing = np.ldexp(1.0, max(int(np.frexp(top)[1]) - 1, int(info.minexp)) - info.nmant)
            errors.append(float(np.abs(got.astype(np.float64)[finite] - want[finite]).max() / spacing))
    return max(errors)
