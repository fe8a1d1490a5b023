"""Numbers and times as short text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

LONGEST = 64  # of a vector whose numbers are shown one by one
NOT_METRICS = ("epoch", "iteration", "seconds")


def number(value: Any) -> str:
    """A metric as text, with about four digits.

    >>> [number(value) for value in (0.25, 12, 1234.5678, 3e-7, 0.0, float("nan"), np.array([0.5, 1.0]))]
    ['0.2500', '12', '1234.6', '3.000e-07', '0.0000', 'nan', '[0.5, 1. ]']
    >>> number(np.zeros((8, 8)))
    'float64[8, 8]'
    """
    if isinstance(value, np.ndarray):
        if value.size > 8:
            return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
        return np.array2string(value, precision=4, separator=", ")
    if not isinstance(value, float):
        return str(value)
    size = abs(value)
    if 0 < size < 1e-3 or 1e6 <= size < np.inf:
        return f"{value:.3e}"
    return f"{value:.1f}" if size >= 100 else f"{value:.4f}"


def numbers(values: Mapping[str, Any]) -> str:
    """Metrics in one line.

    >>> numbers({"loss": 0.25, "hits": 3})
    'loss 0.2500, hits 3'
    """
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def metrics_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a row of history."""
    return {name: value for name, value in row.items() if name not in NOT_METRICS}


def duration(seconds: float) -> str:
    """A time in two units at most.

    >>> [duration(seconds) for seconds in (0.123, 12.34, 75, 3600, 90061)]
    ['0.12 s', '12.3 s', '1 min 15 s', '1 h 0 min', '25 h 1 min']
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_rest = divmod(minutes, 60)
    return f"{hours} h {minutes_rest} min" if hours else f"{minutes} min {rest} s"


def pace(steps: float, seconds: float) -> str:
    """Steps in a second.

    >>> pace(5, 2), pace(3000, 1), pace(1, 4), pace(1, 0)
    ('2.5 steps/s', '3000 steps/s', '0.25 steps/s', '')
    """
    if not seconds or not steps:
        return ""
    rate = steps / seconds
    return f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.2g} steps/s"


def count(number: int, what: str) -> str:
    """A number of things.

    >>> count(1, "epoch"), count(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def scalars(values: Mapping[str, Any]) -> dict[str, float]:
    """The metrics as single numbers: those of a vector (of classes, of members) by number, larger ones not.

    >>> scalars({"loss": 0.25, "recall": np.array([0.5, 1.0]), "matrix": np.eye(2), "hits": 3})
    {'loss': 0.25, 'recall/0': 0.5, 'recall/1': 1.0, 'hits': 3.0}
    """
    found = {}
    for name, value in values.items():
        if isinstance(value, int | float):
            found[name] = float(value)
        elif isinstance(value, np.ndarray) and value.ndim == 1 and len(value) <= LONGEST:
            found |= {f"{name}/{index}": float(each) for index, each in enumerate(value)}
    return found


def table_lines(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows below the names of their columns, all flush right.

    >>> print(*table_lines(["epoch", "loss"], [{"epoch": 1, "loss": 0.25}, {"epoch": 2}]), sep=chr(10))
    epoch    loss
        1  0.2500
        2
    """
    cells = [[name, *(number(row[name]) if name in row else "" for row in rows)] for name in names]
    widths = [max(map(len, column)) for column in cells]
    for line in zip(*cells, strict=True):
        padded = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
