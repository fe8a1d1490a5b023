"""The further facts of each row."""

from __future__ import annotations

import pytest

from ops.programs import compiled
from ops.row import OpRow
from ops.table import ROWS

LAWS = [(row, law) for row in ROWS for law in row.laws]


@pytest.mark.parametrize(("row", "law"), LAWS, ids=[f"{row.name}-{law.__name__}" for row, law in LAWS])
def test_law(row, law):
    law(compiled(row.op) if isinstance(row, OpRow) else row.op)
