"""Averages of the parameters, kept beside them for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.tensor.precision import promoted

PyTree = Any


class Average(NamedTuple):
    """An average as two pure functions: ``init(params) -> state`` and ``update(state, params) -> state``."""

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree], PyTree]
    name: str
    text: str


class EmaState(NamedTuple):
    """A running mean of the parameters, float32 at least, and the weight that it has of them."""

    average: PyTree
    weight: jax.Array

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The mean, corrected for its start at 0; ``params`` before the first step."""
        weight = jnp.where(self.weight > 0, self.weight, 1)

        def one(mean: Any, param: Any) -> Any:
            if mean is None:
                return None
            held = (mean / weight.astype(mean.dtype)).astype(jnp.asarray(param).dtype)
            return jnp.where(self.weight > 0, held, param)

        return jax.tree.map(one, self.average, params, is_leaf=_is_none)


class SwaState(NamedTuple):
    """The mean of some of the points passed, how many these are, and the steps taken."""

    average: PyTree
    points: jax.Array
    steps: jax.Array

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The mean; ``params`` before it has begun."""

        def one(mean: Any, param: Any) -> Any:
            if mean is None:
                return None
            return jnp.where(self.points > 0, mean.astype(jnp.asarray(param).dtype), param)

        return jax.tree.map(one, self.average, params, is_leaf=_is_none)


def ema(decay: float, debias: bool) -> Average:
    """The running mean ``average = decay * average + (1 - decay) * params``.

    Args:
        decay: the share of the mean that is kept, in [0, 1).
        debias: begin at 0 and divide by the weight so far; else begin at the parameters.

    Raises:
        ValueError: ``decay`` lies outside its range.
    """
    if not isinstance(decay, int | float) or isinstance(decay, bool) or not 0 <= decay < 1:
        raise ValueError(f"ema: decay must be in [0, 1), got {decay!r}")

    def init(params: PyTree) -> EmaState:
        start = jax.tree.map(jnp.zeros_like, _wide(params)) if debias else _copied(_wide(params))
        return EmaState(start, jnp.asarray(0.0 if debias else 1.0, jnp.float32))

    def update(state: EmaState, params: PyTree) -> EmaState:
        # As a difference: decay * mean + (1 - decay) * params would drift where the parameters rest.
        mean = jax.tree.map(
            lambda mean, param: mean + (1 - decay) * (param - mean), state.average, _wide(params)
        )
        return EmaState(mean, state.weight + (1 - decay) * (1 - state.weight))

    return Average(init, update, "ema", f"decay {decay:g}{', debiased' if debias else ''}")


def swa(start: int, every: int) -> Average:
    """The plain mean of the parameters after steps ``start + every``, ``start + 2 every``, ...

    Args:
        start: steps before the averaging begins.
        every: steps between two points of the mean.

    Raises:
        ValueError: a number is no whole one, or too low.
    """
    for name, value, least in (("start", start, 0), ("every", every, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"swa: {name} must be a whole number of at least {least}, got {value!r}")

    def init(params: PyTree) -> SwaState:
        return SwaState(_copied(_wide(params)), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(state: SwaState, params: PyTree) -> SwaState:
        steps = state.steps + 1
        due = (steps > start) & ((steps - start) % every == 0)
        points = state.points + due

        def one(mean: jax.Array, param: jax.Array) -> jax.Array:
            return jnp.where(due, mean + (param - mean) / jnp.maximum(points, 1).astype(mean.dtype), mean)

        return SwaState(jax.tree.map(one, state.average, _wide(params)), points, steps)

    return Average(init, update, "swa", f"from step {start}, every {every}")


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _wide(params: PyTree) -> PyTree:
    def one(leaf: Any) -> jax.Array:
        return jnp.asarray(leaf, promoted(jnp.result_type(leaf), jnp.float32))

    wide: PyTree = jax.tree.map(one, params)
    return wide


def _copied(params: PyTree) -> PyTree:
    """Arrays of their own: a step gives away those of the parameters and of the average alike."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
