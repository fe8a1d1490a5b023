"""Averages of parameters: train at one point, evaluate at another (`evaluation_params`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, options, whole
from axonax.optim._live import live
from axonax.optim._rules import extended, is_absent
from axonax.tensor.updates import apply_updates

PyTree = Any


class EmaState(NamedTuple):
    """A running mean of the parameters and the weight that it has of them."""

    average: PyTree
    weight: jax.Array

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The mean, corrected for its start at 0; ``params`` before the first step."""
        weight = jnp.where(self.weight > 0, self.weight, 1)

        def one(mean: Any, param: Any) -> Any:
            return (
                None
                if is_absent(mean)
                else jnp.where(self.weight > 0, mean / weight.astype(mean.dtype), param)
            )

        return jax.tree.map(one, self.average, params, is_leaf=is_absent)


class SwaState(NamedTuple):
    """The mean of some of the points that were passed, how many these are, and the steps taken."""

    average: PyTree
    points: jax.Array
    steps: jax.Array

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The mean; ``params`` before it has begun."""

        def one(mean: Any, param: Any) -> Any:
            return None if is_absent(mean) else jnp.where(self.points > 0, mean, param)

        return jax.tree.map(one, self.average, params, is_leaf=is_absent)


class LookaheadState(NamedTuple):
    """The slow parameters, the steps since they moved, and the state of the fast optimizer."""

    slow: PyTree
    steps: jax.Array
    inner: PyTree

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The slow parameters."""
        return self.slow


@options
def ema(decay: Number | Schedule = 0.999, *, debias: bool = False) -> optax.GradientTransformationExtraArgs:
    """Keep a running mean of the parameters, for evaluation; the updates pass unchanged.

    ``average = decay * average + (1 - decay) * params`` after each step, in float32 at least. Stands
    last in a `chain`: it must see the update that is applied.

    Args:
        decay: share of the mean that is kept, in [0, 1): a number or a schedule, such as
            ``lambda step: jnp.minimum(0.999, (1 + step) / (10 + step))``; live in the state.
        debias: begin at 0 and divide by the weight so far, as Adam does; else begin at the parameters.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    >>> from axonax import optim
    >>> optimizer, params = optim.chain(optim.sgd(1.0), ema(0.75)), jnp.array([4.0])
    >>> updates, state = optimizer.update(jnp.array([4.0]), optimizer.init(params), params)
    >>> params = optim.apply_updates(params, updates)
    >>> params.tolist(), optim.evaluation_params(state, params).tolist()
    ([0.0], [3.0])
    """
    return live("ema", _ema, {"decay": decay}, debias=debias)


@options
def swa(start: int = 0, *, every: int = 1) -> optax.GradientTransformationExtraArgs:
    """Keep the plain mean of the parameters after steps ``start + every``, ``start + 2 every``, ...

    Stands last in a `chain`; the updates pass unchanged. The mean is float32 at least.

    Args:
        start: steps before the averaging begins.
        every: steps between two points of the mean.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018, algorithm 1.

    >>> from axonax import optim
    >>> optimizer, params = optim.chain(optim.sgd(1.0), swa()), jnp.array([4.0])
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(jnp.array([1.0]), state, params)
    ...     params = optim.apply_updates(params, updates)
    >>> params.tolist(), optim.evaluation_params(state, params).tolist()
    ([2.0], [2.5])
    """
    return live("swa", _swa, {}, start=whole("swa", "start", start, 0), every=whole("swa", "every", every))


@options
def lookahead(
    inner: Any, *, every: int = 6, rate: Number | Schedule = 0.5
) -> optax.GradientTransformationExtraArgs:
    """After every ``every`` steps of ``inner``, go back to a point on the way.

    ``slow = slow + rate * (fast - slow)``, and ``fast = slow``.

    Args:
        inner: the optimizer of the fast parameters, an Optax transformation.
        every: fast steps between two slow ones.
        rate: the share of the way that is kept; live in the state.

    Returns:
        an Optax transformation of ordinary parameters; `evaluation_params` gives the slow ones.

    Raises:
        ValueError: a number lies outside its range, an option is unknown, or ``inner`` no transformation.

    Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", 2019, algorithm 1.

    >>> from axonax import optim
    >>> optimizer, params = lookahead(optim.sgd(1.0), every=1), jnp.array([4.0])
    >>> updates, state = optimizer.update(jnp.array([4.0]), optimizer.init(params), params)
    >>> updates.tolist()
    [-2.0]
    """
    fast, period = extended("lookahead", inner), whole("lookahead", "every", every)
    return live("lookahead", _lookahead, {"rate": rate}, inner=fast, every=period)


def _ema(*, decay: Any, debias: bool) -> Any:
    def init(params: PyTree) -> EmaState:
        start = jax.tree.map(jnp.zeros_like, params) if debias else params
        return EmaState(start, jnp.full((), 0.0 if debias else 1.0, jnp.float32))

    def update(updates: PyTree, state: EmaState, params: PyTree = None) -> tuple[PyTree, EmaState]:
        reached = _reached("ema", updates, params)
        average = jax.tree.map(lambda mean, param: decay * mean + (1 - decay) * param, state.average, reached)
        return updates, EmaState(average, decay * state.weight + (1 - decay))

    return optax.GradientTransformation(init, update)


def _swa(*, start: int, every: int) -> Any:
    def init(params: PyTree) -> SwaState:
        return SwaState(params, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: SwaState, params: PyTree = None) -> tuple[PyTree, SwaState]:
        reached = _reached("swa", updates, params)
        steps = state.steps + 1
        due = (steps > start) & ((steps - start) % every == 0)
        points = state.points + due

        def one(mean: Any, param: Any) -> Any:
            return jnp.where(due, mean + (param - mean) / jnp.maximum(points, 1).astype(mean.dtype), mean)

        return updates, SwaState(jax.tree.map(one, state.average, reached), points, steps)

    return optax.GradientTransformation(init, update)


def _lookahead(*, rate: Any, inner: Any, every: int) -> Any:
    def init(params: PyTree) -> LookaheadState:
        return LookaheadState(params, jnp.zeros((), jnp.int32), inner.init(params))

    def update(updates: PyTree, state: LookaheadState, params: PyTree = None, **extra: Any) -> Any:
        steps, following = inner.update(updates, state.inner, params, **extra)
        due = (state.steps + 1) % every == 0
        fast = _reached("lookahead", steps, params)
        slow = jax.tree.map(lambda old, new: jnp.where(due, old + rate * (new - old), old), state.slow, fast)
        steps = jax.tree.map(lambda step, new, old: jnp.where(due, new - old, step), steps, slow, params)
        return steps, LookaheadState(slow, (state.steps + 1) % every, following)

    return optax.GradientTransformationExtraArgs(init, update)


def _reached(owner: str, updates: PyTree, params: PyTree) -> PyTree:
    if params is None:
        raise ValueError(f"{owner}: update needs params, got None")
    return apply_updates(params, updates)
