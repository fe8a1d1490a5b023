"""Trees of arrays as lines of paths, dtypes and shapes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from axonax.tensor import trees
from axonax.tensor.contracts import ModelState

PyTree = Any
LIMIT = 40


def outline(title: str, parts: Mapping[str, PyTree]) -> str:
    """A title and the leaves of each part by path, at most 40 a part.

    >>> print(outline("TrainState", {"model_state": {"kernel": 1.0}, "opt_state": (), "note": None}))
    TrainState
      model_state
        kernel float32[]
    """
    lines = [title]
    for name, tree in parts.items():
        if isinstance(tree, ModelState):
            below = str(tree).splitlines()[1:]
            lines += [f"  {name}", *textwrap.indent("\n".join(below), "  ").splitlines()]
            continue
        found = trees.outline(tree, LIMIT)
        if len(found) == 1 and found[0].startswith(" "):
            lines.append(f"  {name}{found[0]}")
        elif found:
            lines += [f"  {name}", *(f"    {line}" for line in found)]
    return "\n".join(lines)
