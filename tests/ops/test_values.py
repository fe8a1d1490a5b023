"""Each op against its oracle: float32 within the row's bound, half precision as the rounded float32, and
neither further off than docs/ops.md says."""

from __future__ import annotations

import numpy as np
import pytest

from ops import measure, page
from ops.row import OpRow, halves
from ops.table import OPS


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_values_in_every_dtype(row):
    """One test, since one program gives them all."""
    in_float32(row)
    if row.half:
        in_half_precision(row)
    as_the_page_says(row)


def in_float32(row: OpRow) -> None:
    """Within the bound of the oracle."""
    for one, arrays, found in measure.results(row)["float32"]:
        off = measure.worst(found, measure.exact(row, one, arrays), row.bound)
        assert off <= row.bound.ulp, f"{off:.1f} ulp of {row.bound} on {one}"


def in_half_precision(row: OpRow) -> None:
    """The rounded float32 result."""
    for dtype in halves():
        kind = np.dtype(dtype).name
        (_, _, found), (_, _, expected) = (
            measure.results(row)[each][0] for each in (kind, f"{kind} in float32")
        )
        kept = [each.dtype == dtype or each.dtype.kind in "iub" or each.ndim == 0 for each in found]
        assert all(kept), f"result in {[each.dtype for each in found]}"
        rounded = [
            each.astype(mine.dtype).astype(np.float64) for each, mine in zip(expected, found, strict=True)
        ]
        off = measure.worst(found, rounded)
        assert off <= 1, f"{kind}: {off:.1f} ulp from the rounded float32 result"


def as_the_page_says(row: OpRow) -> None:
    """Half an ulp of room is for the processor: its vector width decides the order of a sum."""
    stated = [float(each) for each in page.written(row)[-1].partition(" *")[0].split(" / ")]
    for found, limit in zip(page.generator.worst(row), stated, strict=True):
        assert found <= limit + 0.5, page.AGAIN


def test_the_measure_counts_ulps():
    one = np.float32(1)
    above = np.nextafter(one, np.float32(2))
    assert measure.ulps(np.array([above, one]), np.array([1.0, 1.0])).tolist() == [1.0, 0.0]
    assert measure.ulps(np.array([np.nan], np.float32), np.array([1.0])).tolist() == [np.inf]
    assert measure.ulps(np.array([np.inf], np.float32), np.array([1e39])).tolist() == [0.0]
    assert measure.ulps(np.array([np.inf], np.float32), np.array([1e38])).tolist() == [np.inf]
    assert measure.ulps(np.array([1e-40], np.float32), np.array([0.9e-40])).tolist() == [0.0]
