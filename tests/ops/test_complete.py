"""No op without a row, no row without an op."""

from __future__ import annotations

import pytest

from ops.row import MODULES
from ops.table import ALIASES, NOT_OPS, ROWS, public

NAMES = {row.name for row in ROWS}


@pytest.mark.parametrize("area", MODULES)
def test_every_public_op_has_a_row(area):
    missing = public(area) - NAMES - set(ALIASES) - set(NOT_OPS)
    assert not missing, f"no row in tests/ops for {sorted(missing)}"


@pytest.mark.parametrize("area", MODULES)
def test_every_row_has_an_op(area):
    named = {name for name in (*NAMES, *ALIASES, *NOT_OPS) if name.startswith(f"{area}.")}
    assert named <= public(area)


def test_names_are_unique():
    assert len(NAMES) == len(ROWS)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_the_very_function(alias):
    area, name = alias.split(".")
    target = next(row for row in ROWS if row.name == ALIASES[alias])
    assert getattr(__import__(MODULES[area], fromlist=[name]), name) is target.op
