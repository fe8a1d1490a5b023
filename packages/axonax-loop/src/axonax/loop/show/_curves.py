"""The curves of a run as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from axonax.loop.show._numbers import metrics_of, scalars
from axonax.loop.show._whole import written_whole

Rows = Sequence[Mapping[str, Any]]
COLUMNS = 3
FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of curves, which a notebook shows; ``figure`` is matplotlib's."""

    figure: Any

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as a PNG, SVG or PDF, whole or not at all; folders on the way are made.

        Raises:
            ValueError: the path ends in something else.
        """
        target = checked_path(path)
        written_whole(target, self.drawn(target))
        return target

    def drawn(self, path: Path) -> bytes:
        """What is written to a path."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=path.suffix[1:], dpi=120)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.drawn(Path("curves.png"))


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The path of a picture.

    Raises:
        ValueError: it ends in something that no picture is.
    """
    if Path(path).suffix not in FORMATS:
        raise ValueError(f"plot: the path must end in {', '.join(FORMATS)}, got {path}")
    return Path(path)


def curves(rows: Rows, names: Sequence[str] | None = None) -> Picture:
    """A panel a metric, over the epochs: of training, and of each set that was evaluated.

    Args:
        rows: a history.
        names: the metrics to draw; by default all that are one number.

    Raises:
        ValueError: the history is empty, or has none of the metrics.
        ImportError: matplotlib is not installed.
    """
    figure_type, integers = matplotlib_parts()
    panels = grouped(rows, names)
    columns = min(len(panels), COLUMNS)
    lines = -(-len(panels) // columns)
    figure = figure_type(figsize=(4.2 * columns, 3.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    epochs = np.asarray([row["epoch"] for row in rows])
    for axis, (name, sets) in zip(grid, panels.items(), strict=False):
        _draw(axis, epochs, sets)
        axis.set(xlabel="epoch", title=name)
        axis.xaxis.set_major_locator(integers(integer=True))
        axis.grid(alpha=0.3)
        if len(sets) > 1 or "train" not in sets:
            axis.legend()
    for axis in grid[len(panels) :]:
        axis.set_axis_off()
    return Picture(figure=figure)


def _draw(axis: Any, epochs: np.ndarray, sets: Mapping[str, Sequence[np.ndarray]]) -> None:
    """The curves of one panel: a colour a set, the members of a vector in the same."""
    marker = "o" if len(epochs) <= 30 else None
    for number, (label, columns) in enumerate(sets.items()):
        for member, values in enumerate(columns):
            known = np.isfinite(values)
            axis.plot(
                epochs[known],
                values[known],
                color=f"C{number}",
                alpha=1 / len(columns) ** 0.5,
                marker=marker,
                markersize=3,
                label=label if member == 0 else "_",
            )


def grouped(rows: Rows, names: Sequence[str] | None = None) -> dict[str, dict[str, list[np.ndarray]]]:
    """The columns of a history by metric, then by set: ``"train"`` or the prefix of its ``<prefix>_loss``.

    Raises:
        ValueError: there is nothing to draw.

    >>> grouped([{"epoch": 1, "loss": 0.5, "validation_loss": 0.75}])
    {'loss': {'train': [array([0.5])], 'validation': [array([0.75])]}}
    """
    if not rows:
        raise ValueError("plot: the history is empty, no epoch was finished")
    numbers = [scalars(metrics_of(row)) for row in rows]
    columns = dict.fromkeys(column for row in numbers for column in row)
    known = dict.fromkeys(column.split("/")[0] for column in columns)
    prefixes = [each.removesuffix("_loss") for each in known if each.endswith("_loss") and "loss" in known]
    panels: dict[str, dict[str, list[np.ndarray]]] = {}
    for column in columns:
        whole = column.split("/")[0]
        prefix = next((each for each in prefixes if whole.startswith(f"{each}_")), None)
        name = whole.removeprefix(f"{prefix}_") if prefix else whole
        if names is None or name in names:
            values = np.asarray([row.get(column, np.nan) for row in numbers], np.float64)
            panels.setdefault(name, {}).setdefault(prefix or "train", []).append(values)
    if not panels:
        quoted = " or ".join(f'"{name}"' for name in names or ())
        wanted = quoted or "metric that is a number"
        raise ValueError(f"plot: the history has no {wanted}, only {', '.join(known) or 'counts'}")
    return panels


def matplotlib_parts() -> tuple[Any, Any]:
    """The classes of figures and of ticks, without pyplot, which would look for a window.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install axonax-loop[plot]") from error
    return Figure, MaxNLocator
