"""A title above rows of a name and a text."""

from __future__ import annotations

import html
from dataclasses import dataclass

NARROWEST = 9
_CELL = 'style="text-align: left; font-family: monospace; white-space: pre"'


@dataclass(frozen=True, kw_only=True, repr=False)
class Sheet:
    """What `print` shows as aligned text and a notebook as a table.

    >>> Sheet(title="trainer", rows=(("loss", "squared"), ("progress", "")))
    trainer
      loss       squared
      progress
    """

    title: str
    rows: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        width = max([NARROWEST, *(len(name) for name, _ in self.rows)])
        return "\n".join([self.title, *(f"  {name:<{width}}  {text}".rstrip() for name, text in self.rows)])

    def _repr_html_(self) -> str:
        """What a notebook shows: all text escaped."""
        rows = "".join(
            f"<tr><th {_CELL}>{html.escape(name)}</th><td {_CELL}>{html.escape(text)}</td></tr>\n"
            for name, text in self.rows
        )
        title = f"<caption {_CELL}>{html.escape(self.title)}</caption>"
        return f"<table>\n{title}\n<tbody>\n{rows}</tbody>\n</table>"
