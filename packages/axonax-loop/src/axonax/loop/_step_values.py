"""Values of steps as columns of float32, kept as a memory whose structure never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Columns = dict[str, Any]
NAME = "history"  # of the attachment that keeps them
_SMALLEST = 64


def empty() -> Columns:
    """No rows and no columns.

    ``values`` holds a row a column; its names stand in ``names``, a line each. Only the first ``rows`` of
    each array count: what is appended later is written behind them, in the same arrays.
    """
    return {
        "rows": 0,
        "names": "",
        "iteration": np.zeros(_SMALLEST, np.int32),
        "values": np.zeros((0, _SMALLEST), np.float32),
    }


def append(columns: Columns, iteration: int, values: Mapping[str, float]) -> Columns:
    """The columns with one row more; NaN where one of them has no value.

    >>> columns = append(append(empty(), 10, {"loss": 0.5}), 20, {"loss": 0.25, "hits": 3})
    >>> {name: column.tolist() for name, column in read(columns).items()}
    {'iteration': [10, 20], 'loss': [0.5, 0.25], 'hits': [nan, 3.0]}
    """
    rows, known = columns["rows"], _names(columns)
    added = [name for name in values if name not in known]
    iterations, table = columns["iteration"], columns["values"]
    if added:
        known = [*known, *added]
        table = np.concatenate([table, np.full((len(added), table.shape[1]), np.nan, np.float32)])
    if rows == len(iterations):
        iterations = np.concatenate([iterations, np.zeros_like(iterations)])
        table = np.concatenate([table, np.zeros_like(table)], axis=1)
    # A checkpoint gives back arrays of JAX.
    iterations, table = (np.require(each, requirements="W") for each in (iterations, table))
    iterations[rows] = iteration
    table[:, rows] = [values.get(name, np.nan) for name in known]
    return {"rows": rows + 1, "names": "\n".join(known), "iteration": iterations, "values": table}


def read(columns: Any) -> dict[str, np.ndarray]:
    """The columns by name, ``"iteration"`` first.

    Raises:
        ValueError: these are no columns: the loop keeps none.
    """
    if not (isinstance(columns, dict) and columns.keys() == empty().keys()):
        raise ValueError("history.steps: the loop keeps no values of steps, add .history() to it")
    rows = columns["rows"]
    table = dict(zip(_names(columns), np.asarray(columns["values"])[:, :rows], strict=True))
    return {"iteration": np.asarray(columns["iteration"])[:rows], **table}


def _names(columns: Columns) -> list[str]:
    return columns["names"].split("\n") if columns["names"] else []
