"""The distance between a result and its oracle."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ops.programs import as_users
from ops.row import Bound, Case, OpRow, halves

NOTHING = Bound(0)


class Call(NamedTuple):
    """One call of an op: its arrays, and our results on them."""

    one: Case
    arrays: list[np.ndarray]
    found: list[np.ndarray]


_HELD: dict[str, dict[str, list[Call]]] = {}


def exact(row: OpRow, one: Case, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The oracle's results on what ``arrays`` hold, in float64."""
    wide = [each.astype(np.float64) if jnp.issubdtype(each.dtype, jnp.floating) else each for each in arrays]
    args, options = one.fill(wide)
    with np.errstate(all="ignore"):
        return [np.asarray(leaf) for leaf in jax.tree.leaves(row.oracle(*args, **options))]


def results(row: OpRow) -> dict[str, list[Call]]:
    """Our results by dtype: every case in float32, the first in half precision and, as ``"float16 in
    float32"``, on what that rounding left. One program gives them all, once for each process."""
    if row.name not in _HELD:
        _HELD[row.name] = _computed(row)
    return _HELD[row.name]


def _computed(row: OpRow) -> dict[str, list[Call]]:
    first = row.cases[0]
    given = {"float32": [(one, one.cast(np.float32)) for one in row.cases]}
    for dtype in halves() if row.half else ():
        narrow = first.cast(dtype)
        wide = [each.astype(np.float32) if each.dtype == dtype else each for each in narrow]
        name = np.dtype(dtype).name
        given |= {name: [(first, narrow)], f"{name} in float32": [(first, wide)]}
    calls = [(kind, *each) for kind, several in given.items() for each in several]

    @as_users
    def every(batches: list[list[Any]]) -> list[list[Any]]:
        return [leaves(row, one, arrays) for (_, one, _), arrays in zip(calls, batches, strict=True)]

    found = every([arrays for _, _, arrays in calls])
    held: dict[str, list[Call]] = {kind: [] for kind in given}
    for (kind, one, arrays), several in zip(calls, found, strict=True):
        held[kind].append(Call(one, arrays, [np.asarray(each) for each in several]))
    return held


def leaves(row: OpRow, one: Case, arrays: list[Any]) -> list[Any]:
    """The results of one case among others; an error names it."""
    try:
        return jax.tree.leaves(one.bind(row.op)(*arrays))
    except Exception as error:
        error.add_note(f"in {row.name}{one}")
        raise


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
