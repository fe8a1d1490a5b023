"""An extension of griffe, which reads our sources for the documentation: it knows two habits of this house.

An ``__init__`` is a table of contents, so what it imports is what the package exports. A docstring shows its
doctest as it stands, under no heading, so it is fenced here lest Markdown take ``>>>`` for a quotation.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*\n?(?:.+\n?)*", re.MULTILINE)


class House(griffe.Extension):
    """Exports of packages and doctests of docstrings, as this house writes them."""

    def on_module(self, *, mod: griffe.Module, **kwargs: Any) -> None:
        """Take the imports of a package's ``__init__`` for its ``__all__``."""
        if mod.is_init_module and mod.exports is None:
            mod.exports = [name for name, member in mod.members.items() if _is_export(name, member)]

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Fence the doctests of a docstring."""
        if obj.docstring:
            fenced = DOCTEST.sub(lambda match: f"```pycon\n{match[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = fenced


def _is_export(name: str, member: griffe.Object | griffe.Alias) -> bool:
    return member.is_alias and not name.startswith("_")
