"""Metrics in a file of JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from axonax.loop._events import Handler
from axonax.loop._filters import Filter
from axonax.loop.engine._job import Job, Run
from axonax.loop.handlers._rows import Memory, row_handlers


@dataclass(frozen=True, kw_only=True)
class Jsonl:
    """An object an epoch, or with ``when`` at steps."""

    path: Path
    when: Filter | None

    @property
    def name(self) -> str:
        """``"jsonl"``."""
        return "jsonl"

    def memory(self) -> Memory:
        """How many rows were written."""
        return {"rows": 0}

    def open(self, job: Job, run: Run) -> AbstractContextManager[Sequence[Handler]]:
        """The handlers of one run."""
        return row_handlers("jsonl", self.path, JsonlFormat(), self.when, run)

    def __str__(self) -> str:
        return f"jsonl      {self.path}, {self.when or 'every epoch'}"


class JsonlFormat:
    """An object a line; JSON has no word for what is not finite, which becomes ``null``."""

    def begin(self, first: str | None) -> int:
        """No line comes before the rows."""
        return 0

    def lines(self, row: Mapping[str, Any]) -> str:
        """The row as an object."""
        lists = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), dict(row))
        plain = {name: _plain(value) for name, value in lists.items()}
        return json.dumps(plain, allow_nan=False) + "\n"

    def reform(self, row: Mapping[str, Any]) -> None:
        """Rows may differ."""


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
