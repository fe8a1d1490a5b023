"""Whether a value got better, and for how long it did not; and the metrics that can be looked at."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from axonax.loop._state import State
from axonax.loop.engine._job import Job
from axonax.tensor import names

MODES = ("min", "max")


class Patience(NamedTuple):
    """The best value so far, NaN for none, and how often none was better since."""

    best: float = math.nan
    stale: int = 0

    def observe(self, value: float, mode: str, min_delta: float = 0.0) -> Patience:
        """What is known after one more value; NaN is never better."""
        if better(value, self.best, mode, min_delta):
            return Patience(best=value, stale=0)
        return self._replace(stale=self.stale + 1)

    def observe_each(self, values: np.ndarray, mode: str, min_delta: float, active: np.ndarray) -> Patience:
        """What is known of each member of a population after one more value; the inactive stay."""
        gain = values - self.best if mode == "max" else self.best - values
        up = active & ~np.isnan(values) & (np.isnan(self.best) | (gain > min_delta))
        stale = np.where(up, 0, np.where(active, self.stale + 1, self.stale))
        return Patience(best=np.where(up, values, self.best), stale=stale)  # type: ignore[arg-type]


def better(value: float, best: float, mode: str, min_delta: float = 0.0) -> bool:
    """Whether a value is better than the best so far, by more than ``min_delta``."""
    if math.isnan(value):
        return False
    gain = value - best if mode == "max" else best - value
    return math.isnan(best) or gain > min_delta


def check_watch(who: str, *, mode: str, patience: int | None = None, min_delta: float = 0.0) -> None:
    """Raise unless the options of a watch are in range.

    Raises:
        ValueError: one is not.
    """
    if mode not in MODES:
        raise ValueError(f'{who}: mode must be "min" or "max", got {mode!r}')
    if patience is not None and (not isinstance(patience, int) or patience < 1):
        raise ValueError(f"{who}: patience must be an integer of at least 1, got {patience!r}")
    if not min_delta >= 0:
        raise ValueError(f"{who}: min_delta must be at least 0, got {min_delta!r}")


def check_metric(who: str, name: str, job: Job) -> None:
    """Raise unless a metric will be there, as far as can be told before the run.

    Raises:
        ValueError: nothing makes it; the text lists near matches.
    """
    known = dict.fromkeys(measure.name for measure in job.measures)
    for _, attachment in job.attached:
        adds = getattr(attachment, "adds", None)
        added = () if adds is None else adds(job)
        if added is None:  # a function of the user may add any
            return
        known |= dict.fromkeys(added)
    names.lookup(known, name, f"metric to watch in {who}:")


def watched(who: str, name: str, state: State) -> float:
    """The value of a metric that is watched.

    Raises:
        ValueError: it is not there, or not yet; the text lists near matches.
    """
    value: Any = names.lookup(
        state.metrics, name, f"metric to watch in {who} (what is added before it comes first):"
    )
    if np.ndim(value):
        raise ValueError(f"{who}: the metric to watch must be a number, {name} has shape {np.shape(value)}")
    return float(value)


def watched_each(who: str, name: str, state: State, mode: str) -> tuple[np.ndarray, float]:
    """The values of a metric for each member of a population, and the best of them."""
    values = np.asarray(names.lookup(state.metrics, name, f"metric to watch in {who}:"), float)
    some = values[~np.isnan(values)]
    best = math.nan if not some.size else float(some.max() if mode == "max" else some.min())
    return values, best
