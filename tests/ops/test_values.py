"""Each op against its oracle: float32 within the row's bound, half precision as the rounded float32."""

from __future__ import annotations

import numpy as np
import pytest

from ops import measure
from ops.row import Row, halves
from ops.table import OPS


def name(row: Row) -> str:
    return row.name


@pytest.mark.parametrize("row", OPS, ids=name)
def test_float32_is_within_the_bound(row):
    for one in row.cases:
        arrays = one.cast(np.float32)
        off = measure.worst(measure.results(row, one, arrays), measure.exact(row, one, arrays), row.bound)
        assert off <= row.bound.ulp, f"{off:.1f} ulp of {row.bound} on {one}"


@pytest.mark.parametrize("row", [row for row in OPS if row.half], ids=name)
def test_half_precision_is_the_rounded_float32(row):
    one = row.cases[0]
    for dtype in halves():
        arrays = one.cast(dtype)
        found = measure.results(row, one, arrays)
        wide = [each.astype(np.float32) if each.dtype == dtype else each for each in arrays]
        expected = measure.results(row, one, wide)
        kept = [each.dtype == dtype or each.dtype.kind in "iub" or each.ndim == 0 for each in found]
        assert all(kept), f"result in {[each.dtype for each in found]}"
        rounded = [
            each.astype(mine.dtype).astype(np.float64) for each, mine in zip(expected, found, strict=True)
        ]
        off = measure.worst(found, rounded)
        assert off <= 1, f"{np.dtype(dtype).name}: {off:.1f} ulp from the rounded float32 result"


def test_the_measure_counts_ulps():
    one = np.float32(1)
    above = np.nextafter(one, np.float32(2))
    assert measure.ulps(np.array([above, one]), np.array([1.0, 1.0])).tolist() == [1.0, 0.0]
    assert measure.ulps(np.array([np.nan], np.float32), np.array([1.0])).tolist() == [np.inf]
    assert measure.ulps(np.array([np.inf], np.float32), np.array([1e39])).tolist() == [0.0]
    assert measure.ulps(np.array([np.inf], np.float32), np.array([1e38])).tolist() == [np.inf]
    assert measure.ulps(np.array([1e-40], np.float32), np.array([0.9e-40])).tolist() == [0.0]
