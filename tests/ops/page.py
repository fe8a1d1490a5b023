"""What docs/ops.md says of each op."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from ops.row import Row

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("ops_page", ROOT / "tools" / "ops_page.py")
generator = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generator)
AGAIN = "run python tools/ops_page.py"


@functools.cache
def text() -> str:
    """The page."""
    return generator.PAGE.read_text()


def cells(line: str) -> list[str]:
    """The cells of a line of a table."""
    return re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |"))


def written(row: Row) -> list[str]:
    """The cells of an op, in the section of its module."""
    section = text().partition(f"## `{generator.MODULES[row.area]}`")[2].partition("\n## ")[0]
    name = row.name.split(".")[1]
    found = [each for each in section.splitlines() if re.match(rf"\| `{name}`[ ,]", each)]
    assert len(found) == 1, f"{row.name}: {AGAIN}"
    return cells(found[0])
