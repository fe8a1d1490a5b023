"""Write what the Python blocks of pages print below each of them, and the pictures that they draw.

`python tools/page_outputs.py docs/index.md`; with no names, all pages.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from test_docs import PAGES, runs  # noqa: E402


def write(page: str) -> None:
    """Run a page in an empty folder and renew its outputs."""
    path, parts, end = ROOT / page, [], 0
    text = path.read_text()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for match, printed in runs(page):
            parts += [text[end : match.start()], f"```python\n{match['code']}```\n"]
            parts += [f"\n```text\n{printed}```\n"] if printed else []
            end = match.end()
        for picture in Path().glob("*.svg"):
            shutil.copy(picture, path.with_name(picture.name))
    path.write_text("".join([*parts, text[end:]]))


def main() -> None:
    """Write each page that was named."""
    for page in sys.argv[1:] or PAGES:
        write(page)
        print(page)


if __name__ == "__main__":
    main()
