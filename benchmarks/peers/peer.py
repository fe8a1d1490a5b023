"""What each peer gives, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

Mark = Callable[[], None]


class Peer(NamedTuple):
    """A job made ready.

    ``epoch(mark)`` trains for an epoch and returns when the device is done; ``mark`` is called when the first
    step is, in the first epoch, else ``None``. It may return the seconds that it took without what
    comes once a run. ``test()`` is the share of right answers on the test data.
    """

    epoch: Callable[[Mark | None], float | None]
    test: Callable[[], float]


def measured(peer: Peer, *, steps: int, epochs: int, started: float) -> dict[str, Any]:
    """Steps a second of each epoch after the first, seconds to the first step, accuracy at the end."""
    first: list[float] = []
    speeds = []
    for number in range(epochs + 1):
        begin = time.perf_counter()
        own = peer.epoch(None if number else lambda: first.append(time.time() - started))
        seconds = own or time.perf_counter() - begin
        if number:  # the first epoch compiles
            speeds.append(steps / seconds)
    return {
        "steps_per_second": max(speeds, default=None),
        "epochs": speeds,
        "first_step": first[0] if first else None,
        "accuracy": peer.test(),
    }
