"""Every Python block of the documentation and of the READMEs runs, page by page, one namespace a page.

What a block prints stands below it, in a fence of ``text``; `tools/page_outputs.py` writes it anew.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^```python[^\n]*\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?!\w)")
WIDTH = 74  # what the site shows in a window of 1300 pixels
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "packages/*/*.md")
    for path in ROOT.glob(pattern)
    if FENCE.search(path.read_text())
)


def runs(page):
    """Run the page's Python blocks in one namespace; give each block's match and what it printed."""
    text = (ROOT / page).read_text()
    namespace = {"__name__": "__main__"}
    for match in FENCE.finditer(text):
        padding = "\n" * text.count("\n", 0, match.start("code"))  # a traceback shows the line in the page
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(padding + match["code"], str(ROOT / page), "exec"), namespace)
        yield match, "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def bare(text):
    """The words, with a mark for each number: how many digits it has decides on the blanks beside it."""
    return "".join(NUMBER.sub("#", text).split())


def same(shown, printed):
    """The same words and whole numbers; fractions within 5 percent, or 0.002 where they are near 0.

    That is what another processor or version of JAX may change in a training run; no blank is compared.
    """
    if bare(shown) != bare(printed):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(
        one == two
        if one.isdigit() and two.isdigit()
        else math.isclose(float(one), float(two), rel_tol=0.05, abs_tol=0.002)
        for one, two in pairs
    )


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for match, printed in runs(page):
        shown = match["output"] or ""
        assert same(shown, printed), f"{page} shows\n{shown}\nbut this is printed:\n{printed}"
    for picture in re.findall(r"!\[[^\]]*\]\(([\w-]+\.svg)\)", (ROOT / page).read_text()):
        assert (tmp_path / picture).stat().st_size, picture
        assert (ROOT / page).with_name(picture).stat().st_size, picture


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("loss 0.412, step 50", "loss 0.420, step 50", True),
        ("loss 0.412, step 50", "loss 0.512, step 50", False),
        ("loss 0.412, step 50", "loss 0.412, step 51", False),
        ("[1. 2.]", "[1. 2. 3.]", False),
        ("1e-09", "3e-08", True),
        ("converged", "no progress", False),
        ("", "forgotten", False),
        ("nothing", "", False),
    ],
)
def test_outputs_are_compared(shown, printed, expected):
    assert same(shown, printed) == expected


@pytest.mark.parametrize("page", PAGES)
def test_code_fits_the_site(page):
    """Longer lines are cut off."""
    code = "".join(match["code"] for match in FENCE.finditer((ROOT / page).read_text()))
    assert not [line for line in code.splitlines() if len(line) > WIDTH]


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
