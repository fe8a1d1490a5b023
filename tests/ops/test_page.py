"""docs/ops.md says of each op what the table says; its errors are looked at in ``test_values.py``."""

from __future__ import annotations

from ops import page
from ops.table import ROWS


def test_the_page_says_what_the_table_says(monkeypatch):
    monkeypatch.setattr(page.generator, "worst", lambda row: ())
    for row in ROWS:
        expected, written = page.cells(page.generator.line(row)), page.written(row)
        assert written[:-1] == expected[:-1], page.AGAIN
        assert written[-1].endswith(expected[-1]), page.AGAIN
    assert page.text().count("\n| `") == len(ROWS), page.AGAIN
