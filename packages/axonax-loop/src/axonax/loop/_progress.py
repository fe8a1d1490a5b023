"""placeholder"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axonax.loop._events import Handler


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A bar an epoch."""

    console: Any = None

    def handlers(self, loop: Any, run: Any) -> Sequence[Handler]:
        """None yet."""
        return ()

    def __str__(self) -> str:
        return "progress"
