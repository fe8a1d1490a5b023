"""The further facts of each row; calls of layers and activations are one program each.

Losses look at their labels on the host: these see what they are given.
"""

from __future__ import annotations

from typing import Any

import pytest

from ops.programs import compiled
from ops.row import LossRow, OpRow, Row
from ops.table import ROWS

LONG = {
    "initializers.dirac-keeps_its_inputs",
    "layers.dot_product_attention-implementations_agree",
    "layers.dropout-share_and_mean",
    "layers.gru-ways_agree",
    "layers.lstm-masked_is_cut",
    "layers.resize-constants_stay",
    "layers.sample-certain_draws",
    "layers.sample-frequencies",
    "layers.sample-nothing_to_draw",
    "layers.spectral_norm-finds_the_largest_singular_value",
    "losses.connectionist_temporal_classification-_masked_steps",
}
"""What takes more than two seconds and stands by day in a package's own tests, or of a relative, too."""


def named(row: Row, law: Any) -> Any:
    name = f"{row.name}-{law.__name__}"
    return pytest.param(row, law, id=name, marks=[pytest.mark.slow] if name in LONG else [])


LAWS = [named(row, law) for row in ROWS for law in row.laws]


def test_the_long_ones_are_laws():
    assert {each.id for each in LAWS} >= LONG


@pytest.mark.parametrize(("row", "law"), LAWS)
def test_law(row, law):
    steps = isinstance(row, LossRow) or not isinstance(row, OpRow)
    law(row.op if steps else compiled(row.op))
