"""What rank metrics keep: every scored example up to a capacity, or how many fall into each bin of scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.metrics import _tally

CAPACITY = 2**16


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Kept:
    """Examples in the order they came: ``columns`` ``(capacity, D)``, weights 0 where there is none."""

    columns: jax.Array
    weights: jax.Array
    count: jax.Array
    wrong: jax.Array
    """whether a label or score makes no sense"""


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Statistics: the examples themselves."""

    who: str = field(compare=False)
    capacity: int

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"{self.who}: capacity must be at least 1, got {self.capacity}")

    def empty(self, columns: int) -> Kept:
        """Room for the examples."""
        return Kept(
            columns=jnp.zeros((self.capacity, columns), jnp.float32),
            weights=jnp.zeros(self.capacity, jnp.float32),
            count=jnp.int32(0),
            wrong=jnp.array(False),
        )

    def add(self, state: Kept, columns: jax.Array, weights: jax.Array, kept: jax.Array) -> Kept:
        """Append the examples that are ``kept``: ``(N, D)``, ``(N,)``, ``(N,)``."""
        places = jnp.where(kept, state.count + jnp.cumsum(kept, dtype=jnp.int32) - 1, self.capacity)
        wrong = jnp.any(jnp.isnan(columns) & kept[:, None])
        return self._within(
            Kept(
                columns=state.columns.at[places].set(columns.astype(jnp.float32), mode="drop"),
                weights=state.weights.at[places].set(weights.astype(jnp.float32), mode="drop"),
                count=jnp.minimum(state.count + jnp.sum(kept, dtype=jnp.int32), self.capacity + 1),
                wrong=state.wrong | wrong,
            )
        )

    def merge(self, left: Kept, right: Kept) -> Kept:
        """The examples of both parts."""
        filled = jnp.arange(self.capacity) < right.count
        joined = self.add(left, right.columns, right.weights, filled)
        count = jnp.minimum(left.count + right.count, self.capacity + 1)
        return self._within(
            Kept(
                columns=joined.columns, weights=joined.weights, count=count, wrong=joined.wrong | right.wrong
            )
        )

    def spoiled(self, state: Kept, value: jax.Array) -> jax.Array:
        """NaN in place of a value of too many examples, or of wrong ones."""
        state = self._within(state)
        return jnp.where((state.count > self.capacity) | state.wrong, jnp.nan, value)

    def _within(self, state: Kept) -> Kept:
        if _examples.is_concrete(state.count) and int(state.count) > self.capacity:
            raise ValueError(
                f"{self.who}: more examples than its capacity of {self.capacity}; give a larger capacity=, "
                "or bins= for scores in [0, 1]"
            )
        return state


def curve(scores: jax.Array, positive: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positive and negative weights in groups of falling score.

    Args:
        scores: ``(N,)``.
        positive: booleans ``(N,)``.
        weights: ``(N,)``.

    Returns:
        Weights ``(N, 2)`` in the order of the scores, and booleans ``(N,)``: the last of equal scores.
    """
    order = jnp.argsort(-scores)
    scores, positive, weights = scores[order], positive[order], weights[order]
    last = jnp.concatenate([scores[1:] != scores[:-1], jnp.ones(1, bool)])
    return jnp.stack([jnp.where(positive, weights, 0), jnp.where(positive, 0, weights)], axis=-1), last


Score = Callable[[jax.Array, jax.Array], jax.Array]


def roc_area(groups: jax.Array, last: jax.Array) -> jax.Array:
    """The share of pairs of a positive and a negative that are in order, ties half."""
    above, through = around(groups[:, 0], last)
    positive, negative = jnp.sum(groups, axis=0)
    pairs = jnp.sum(groups[:, 1] * ((above + through) / 2))
    return _tally.ratio(_tally.ratio(pairs, positive), negative)


def precision_area(groups: jax.Array, last: jax.Array) -> jax.Array:
    """The mean over the positives of the precision at their score."""
    precision, _ = points(groups, last)
    return _tally.ratio(jnp.sum(groups[:, 0] * precision), jnp.sum(groups[:, 0]))


def points(groups: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Precision and recall where the score of each is the threshold."""
    found, false = (around(groups[:, side], last)[1] for side in (0, 1))
    return _tally.ratio(found, found + false), _tally.ratio(found, jnp.sum(groups[:, 0]))


def around(weights: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What lies above the group of each, and that with the group."""
    through = jnp.cumsum(weights)
    end = jax.lax.cummin(jnp.where(last, through, jnp.inf), reverse=True)
    first = jnp.concatenate([jnp.ones(1, bool), last[:-1]])
    before = jnp.concatenate([jnp.zeros(1, through.dtype), through[:-1]])
    return jax.lax.cummax(jnp.where(first, before, 0)), end


def places(scores: Any, bins: int) -> jax.Array:
    """The bin of each score in [0, 1]; what lies outside goes to the first or the last."""
    return jnp.clip(jnp.floor(scores * bins), 0, bins - 1).astype(jnp.int32)


def shares(who: str, shape: tuple[int, ...], weights: Any, where: Any) -> tuple[jax.Array, jax.Array]:
    """Weights and mask of each example, in one row."""
    weight = _examples.spread(who, "weights", 1.0 if weights is None else weights, shape)
    kept = _examples.mask(who, where, shape)
    kept = jnp.ones(shape, bool) if kept is None else kept
    weight = jnp.where(kept, weight, 0).ravel().astype(jnp.float32)
    return weight, kept.ravel() & (weight != 0)
