"""The further facts of each row; calls of layers and activations are one program each.

Losses look at their labels on the host: these see what they are given.
"""

from __future__ import annotations

import pytest

from ops.programs import compiled
from ops.row import LossRow, OpRow
from ops.table import ROWS

LAWS = [(row, law) for row in ROWS for law in row.laws]


@pytest.mark.parametrize(("row", "law"), LAWS, ids=[f"{row.name}-{law.__name__}" for row, law in LAWS])
def test_law(row, law):
    steps = isinstance(row, LossRow) or not isinstance(row, OpRow)
    law(row.op if steps else compiled(row.op))
