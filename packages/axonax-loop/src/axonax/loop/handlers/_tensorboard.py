"""Metrics for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """A `Logger` that writes TensorBoard's files through tensorboardX.

    A run that goes on in the folder hides what an earlier one wrote of the same steps.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import tensorboardX  # noqa: PLC0415
        except ImportError as error:
            needs = "tensorboard needs tensorboardX: pip install axonax-loop[tensorboard]"
            raise ImportError(needs) from error
        self._make: Any = tensorboardX.SummaryWriter
        self._path = path
        self._writer: Any = None

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Write ``values`` as they were after ``step`` iterations."""
        if self._writer is None:
            self._writer = self._make(str(self._path), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is pending."""
        if self._writer is not None:
            self._writer.close()
