"""The curves of a run as a picture."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from axonax.loop.show._numbers import metrics_of, scalars

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
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with open(handle, "wb") as file:
                file.write(self._drawn(target.suffix[1:]))
            Path(draft).replace(target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return target

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self._drawn("png")

    def _drawn(self, form: str) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=form, dpi=120)
        return buffer.getvalue()


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
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) <= 30 else None
    for axis, (name, drawn) in zip(grid, panels.items(), strict=False):
        for label, values in drawn.items():
            known = np.isfinite(values)
            axis.plot(np.asarray(epochs)[known], values[known], marker=marker, markersize=3, label=label)
        axis.set(xlabel="epoch", title=name)
        axis.xaxis.set_major_locator(integers(integer=True))
        axis.grid(alpha=0.3)
        if len(drawn) > 1 or "train" not in drawn:
            axis.legend()
    for axis in grid[len(panels) :]:
        axis.set_axis_off()
    return Picture(figure=figure)


def grouped(rows: Rows, names: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """The columns of a history by metric, then by set: ``"train"`` or the prefix of its ``<prefix>_loss``.

    Raises:
        ValueError: there is nothing to draw.

    >>> grouped([{"epoch": 1, "loss": 0.5, "validation_loss": 0.75}])
    {'loss': {'train': array([0.5]), 'validation': array([0.75])}}
    """
    if not rows:
        raise ValueError("plot: the history is empty, no epoch was finished")
    columns = dict.fromkeys(name for row in rows for name in scalars(metrics_of(row)))
    sets = columns if "loss" in columns else ()
    prefixes = [each.removesuffix("_loss") for each in sets if each.endswith("_loss")]
    panels: dict[str, dict[str, np.ndarray]] = {}
    for column in columns:
        prefix = next((each for each in prefixes if column.startswith(f"{each}_")), None)
        name = column.removeprefix(f"{prefix}_") if prefix else column
        if names is None or name in names:
            values = np.asarray([row.get(column, np.nan) for row in rows], np.float64)
            panels.setdefault(name, {})[prefix or "train"] = values
    if not panels:
        wanted = (
            "a metric that is one number" if names is None else " or ".join(f'"{name}"' for name in names)
        )
        raise ValueError(f"plot: the history has no {wanted}, only {', '.join(columns) or 'counts'}")
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
