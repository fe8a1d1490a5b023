"""A run in words: a line an epoch, and a table at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axonax.loop.show._numbers import count, duration, metrics_of, number, numbers, pace
from axonax.loop.show._sheet import Sheet

Row = Mapping[str, Any]
COMPILING = (
    60  # seconds: in a shorter first epoch compilation may be most of it, and says nothing of the next
)


def epoch_line(rows: Sequence[Row], epochs: int) -> str:
    """The last epoch of a history in one line.

    >>> rows = [{"epoch": 1, "iteration": 20, "seconds": 2.0, "loss": 0.25}]
    >>> epoch_line(rows, 3)
    'Epoch 1/3: loss 0.2500 (20 steps, 10 steps/s)'
    >>> epoch_line([*rows, {"epoch": 2, "iteration": 40, "seconds": 1.0, "loss": 0.125}], 3)
    'Epoch 2/3: loss 0.1250 (20 steps, 20 steps/s, 1.0 s left)'
    """
    row = rows[-1]
    steps = row["iteration"] - (rows[-2]["iteration"] if len(rows) > 1 else 0)
    left = (epochs - row["epoch"]) * row["seconds"]
    known = left >= 1 and (len(rows) > 1 or row["seconds"] > COMPILING)
    facts = [count(steps, "step"), pace(steps, row["seconds"]), f"{duration(left)} left" if known else ""]
    values = numbers(metrics_of(row))
    text = ", ".join(filter(None, facts))
    return f"Epoch {row['epoch']}/{epochs}: " + (f"{values} ({text})" if values else text)


def summary(
    status: str,
    *,
    epoch: int,
    iteration: int,
    rows: Sequence[Row],
    metrics: Mapping[str, Any],
    best: Mapping[str, float],
    files: Mapping[str, Path],
) -> Sheet:
    """A run as a table: how it ended, the last metrics, where files are.

    Args:
        status: how it ended.
        epoch: epochs begun.
        iteration: steps done.
        rows: the history.
        metrics: the last ones.
        best: the best values that a checkpoint keeps, by the name of the metric.
        files: where files are, by what wrote them.
    """
    seconds = sum(row["seconds"] for row in rows)
    times = [count(epoch, "epoch"), count(iteration, "iteration"), *([duration(seconds)] if rows else [])]
    table = [
        (name, number(value) + (f"   best {number(best[name])}" if name in best else ""))
        for name, value in metrics.items()
    ]
    table += [(name, f"best {number(value)}") for name, value in best.items() if name not in metrics]
    places = [(name, str(path)) for name, path in files.items()]
    return Sheet(title=f"{status}: {', '.join(times)}", rows=(*table, *places))
