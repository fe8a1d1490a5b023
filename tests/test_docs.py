"""Every Python block of the documentation and of the READMEs runs, page by page, one namespace a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "packages/*/*.md")
    for path in ROOT.glob(pattern)
    if FENCE.search(path.read_text())
)


def blocks(page: str) -> list[str]:
    """The page's Python blocks, each padded so that a traceback shows the line in the page."""
    text = (ROOT / page).read_text()
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in FENCE.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        exec(compile(block, str(ROOT / page), "exec"), namespace)


def test_there_are_pages():
    assert {f"packages/axonax-{part}/README.md" for part in ("functional", "graph", "optim", "loop")} <= {
        *PAGES
    }


def test_every_python_block_is_marked_as_such():
    """A block that opens with ```py or ```Python would not be run."""
    opened = [(page, line) for page in PAGES for line in (ROOT / page).read_text().splitlines()]
    assert not [each for each in opened if re.match(r"\s*```\s*(py|Python|python3|pycon)\b", each[1])]


def test_no_block_hides_in_a_list():
    """Indented blocks are not found by the pattern above."""
    assert not [
        page for page in PAGES if re.search(r"^[ \t]+```python", (ROOT / page).read_text(), re.MULTILINE)
    ]
