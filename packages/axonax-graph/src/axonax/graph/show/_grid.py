"""A table of texts, for a terminal and for a cell of a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

_GAP = "   "
_CELL = 'style="text-align: left; font-family: monospace; white-space: pre"'


@dataclass(frozen=True, kw_only=True, repr=False)
class Table:
    """A table of a model: ``print`` shows it as plain text, a notebook as HTML.

    Args:
        title: what stands above.
        columns: the names of the columns.
        rows: a text for each column, a row a node.
        notes: what stands below, a line each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        width = sum(widths) + len(_GAP) * (len(widths) - 1) + 2
        lines = [
            "-" * width,
            self.title.rjust((width - len(self.title)) // 2 + len(self.title)),
            "=" * width,
            _line(self.columns, widths),
            "=" * width,
            *(_line(row, widths) for row in self.rows),
            "-" * width,
        ]
        return "\n".join([*lines, *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: all text escaped."""
        head = "".join(f"<th {_CELL}>{html.escape(cell)}</th>" for cell in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td {_CELL}>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
            for row in self.rows
        )
        notes = "<br>".join(map(html.escape, self.notes))
        foot = f'<tr><td colspan="{len(self.columns)}" {_CELL}>{notes}</td></tr>'
        return (
            f"<table>\n<caption>{html.escape(self.title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}</tbody>\n<tfoot>{foot}</tfoot>\n</table>"
        )


def _line(cells: Iterable[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f" {_GAP.join(padded)}".rstrip()
