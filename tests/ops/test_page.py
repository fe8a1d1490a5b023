"""docs/ops.md says of each op what the table says, and errors that hold here too."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from ops.table import OPS, ROWS

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("ops_page", ROOT / "tools" / "ops_page.py")
generator = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generator)
AGAIN = "run python tools/ops_page.py"


@pytest.fixture(scope="module")
def page() -> str:
    return generator.PAGE.read_text()


def written(page: str, row) -> list[str]:
    """The cells of an op, in the section of its module."""
    section = page.partition(f"## `{generator.MODULES[row.area]}`")[2].partition("\n## ")[0]
    name = row.name.split(".")[1]
    found = [each for each in section.splitlines() if re.match(rf"\| `{name}`[ ,]", each)]
    assert len(found) == 1, f"{row.name}: {AGAIN}"
    return re.split(r"(?<!\\) \| ", found[0].removeprefix("| ").removesuffix(" |"))


def test_the_page_says_what_the_table_says(page, monkeypatch):
    monkeypatch.setattr(generator, "worst", lambda row: ())
    for row in ROWS:
        expected = re.split(r"(?<!\\) \| ", generator.line(row).removeprefix("| ").removesuffix(" |"))
        assert written(page, row)[:-1] == expected[:-1], AGAIN
        assert written(page, row)[-1].endswith(expected[-1]), AGAIN
    assert page.count("\n| `") == len(ROWS), AGAIN


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_the_errors_hold(page, row):
    """Half an ulp of room is for the processor: its vector width decides the order of a sum."""
    stated = [float(each) for each in written(page, row)[-1].partition(" *")[0].split(" / ")]
    for found, limit in zip(generator.worst(row), stated, strict=True):
        assert found <= limit + 0.5, AGAIN
