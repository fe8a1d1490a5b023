"""The newest values of the metrics that are there, without a wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from axonax.loop._state import State, to_host


class Newest:
    """Metric values that the device has finished; those of a step are asked for and fetched later."""

    def __init__(self) -> None:
        self._pending: Mapping[str, Any] = {}
        self.values: dict[str, Any] = {}

    def look(self, state: State) -> dict[str, Any]:
        """The newest values that are finished; asks for those of this state if none is on the way."""
        if _finished(self._pending):
            # The compiled function that computed them sorts the names.
            shown = {name: self._pending[name] for name in state.metrics if name in self._pending}
            self.values = {name: to_host(value) for name, value in shown.items()}
            self._pending = {}
        if not self._pending:
            self._pending = state.metrics.start()
        return self.values


def _finished(values: Mapping[str, Any]) -> bool:
    leaves: list[Any] = jax.tree.leaves(values)
    return bool(leaves) and all(leaf.is_ready() for leaf in leaves if hasattr(leaf, "is_ready"))
