"""A line search that also works where differences of the objective drown in rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.optim._bounds import reach, steepest
from axonax.optim._precision import epsilon, rounding
from axonax.optim._problem import Point, Problem

DECREASE = 1e-4
MOST = 30


class Found(NamedTuple):
    """Where a search ended: ``ok`` is false where it found nothing better than its start."""

    point: Point
    length: jax.Array
    evaluations: jax.Array
    ok: jax.Array


class _Sample(NamedTuple):
    length: jax.Array
    value: jax.Array
    slope: jax.Array


class _State(NamedTuple):
    length: jax.Array
    low: _Sample
    high: _Sample
    point: Point
    best: _Sample
    evaluations: jax.Array
    last: jax.Array
    done: jax.Array


def descent(problem: Problem, point: Point, direction: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``direction`` cut off at the bounds, and whether it leads downhill; else a short steepest descent."""
    gradient = point.gradient
    size = jnp.linalg.norm(gradient)
    direction = _within(problem, point.x, direction)
    slope = jnp.vdot(gradient, direction)
    downhill = (slope < -(epsilon(direction) ** 2) * size * jnp.linalg.norm(direction)) & jnp.isfinite(slope)
    short = -gradient * jnp.minimum(1, 1 / jnp.where(size > 0, size, 1))
    return jnp.where(downhill, direction, _within(problem, point.x, short)), downhill


def _within(problem: Problem, x: jax.Array, direction: jax.Array) -> jax.Array:
    return direction if problem.box is None else -steepest(problem.box, x, -direction)


def line_search(
    problem: Problem, point: Point, direction: jax.Array, *, curvature: float = 0.9, strong: bool = False
) -> Found:
    r"""A step along ``direction`` that meets the Wolfe conditions, exactly or in their approximate form.

    With :math:`\varphi(t) = f(x + t d)`: sufficient decrease is
    :math:`\varphi(t) \le \varphi(0) + \delta t \varphi'(0)`, or
    :math:`\varphi'(t) \le (2\delta - 1)\varphi'(0)` with :math:`\varphi(t)` no more than the rounding
    of the objective above :math:`\varphi(0)`; the slope must have risen to
    :math:`\sigma\varphi'(0)` (``strong``: to at most that size). A bracket is widened, then narrowed by cubic
    interpolation, secants and bisection, one evaluation at a time. ``direction`` must end within the bounds.

    Source: Hager and Zhang, "A new conjugate gradient method with guaranteed descent and an efficient
    line search" (2005), equations 4.1 and 4.2; Nocedal and Wright, "Numerical Optimization" (2006), 3.59.
    """
    point = point._replace(residual=None)
    scalar = point.value.dtype
    slope = jnp.vdot(point.gradient, direction).astype(scalar)
    longest = jnp.inf if problem.box is None else reach(problem.box, point.x, direction).astype(scalar)
    zero, infinite = jnp.zeros((), scalar), jnp.asarray(jnp.inf, scalar)
    start = _Sample(zero, point.value, slope)

    def run(state: _State) -> _State:
        x = problem.project(point.x + state.length.astype(point.x.dtype) * direction)
        trial = problem.at(x)
        sample = _Sample(
            state.length, trial.value.astype(scalar), jnp.vdot(trial.gradient, direction).astype(scalar)
        )
        return _narrow(state, start, trial, sample, _Rules(longest, curvature, strong))

    first = _State(
        length=jnp.ones((), scalar),
        low=start,
        high=_Sample(infinite, infinite, infinite),
        point=point,
        best=start,
        evaluations=jnp.zeros((), jnp.int32),
        last=jnp.asarray(False),
        done=~(slope < 0),
    )
    end = jax.lax.while_loop(lambda state: ~state.done, run, first)
    return Found(end.point, end.length, end.evaluations, (end.evaluations > 0) & (end.length > 0))


class _Rules(NamedTuple):
    longest: Any
    curvature: float
    strong: bool


def _narrow(state: _State, start: _Sample, trial: Point, sample: _Sample, rules: _Rules) -> _State:
    """Judge a trial: keep it, or make it an end of the bracket and choose the next.

    A search without hope goes back to the best trial, or to its start, and ends there.
    """
    noise = rounding(start.value)
    finite = jnp.isfinite(sample.value) & jnp.isfinite(sample.slope)
    decreased = sample.value <= start.value + DECREASE * sample.length * start.slope
    level = sample.value <= start.value + noise
    steepness = jnp.abs(sample.slope) if rules.strong else -sample.slope
    flat = steepness <= -rules.curvature * start.slope
    enough = decreased | (level & (sample.slope <= (2 * DECREASE - 1) * start.slope))
    at_end = decreased & (sample.length >= rules.longest) & (sample.slope <= 0)
    found = finite & ((enough & flat) | at_end)
    too_far = ~finite | ~(decreased | level) | (sample.slope >= 0)
    low = _choose(too_far, state.low, sample)
    high = _choose(too_far, sample, state.high)
    best = _choose(finite & (sample.value < state.best.value), sample, state.best)
    following = jnp.where(
        jnp.isfinite(high.length),
        _inside(low, high, noise, state.evaluations),
        jnp.minimum(_beyond(state.low, sample), rules.longest),
    )
    width = high.length - low.length
    hopeless = jnp.isfinite(width) & (width <= 4 * epsilon(width) * high.length)
    hopeless = ~found & (hopeless | (state.evaluations + 2 >= MOST))
    done = found | state.last
    return _State(
        length=jnp.where(done, sample.length, jnp.where(hopeless, best.length, following)),
        low=low,
        high=high,
        point=trial,
        best=best,
        evaluations=state.evaluations + 1,
        last=hopeless,
        done=done,
    )


def _choose(condition: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _beyond(last: _Sample, sample: _Sample) -> jax.Array:
    """A longer step, by the secant of the slopes where that is within 2 to 10 times."""
    rise = sample.slope - last.slope
    secant = sample.length - sample.slope * (sample.length - last.length) / jnp.where(rise > 0, rise, 1)
    return jnp.where(rise > 0, jnp.clip(secant, 2 * sample.length, 10 * sample.length), 10 * sample.length)


def _inside(low: _Sample, high: _Sample, noise: jax.Array, count: jax.Array) -> jax.Array:
    """A step within the bracket: cubic, secant where values drown in noise, now and then the middle."""
    width = high.length - low.length
    rise = high.slope - low.slope
    secant = low.length - low.slope * width / jnp.where(rise > 0, rise, 1)
    d1 = low.slope + high.slope - 3 * (high.value - low.value) / width
    root = jnp.sqrt(jnp.maximum(d1 * d1 - low.slope * high.slope, 0))
    bottom = rise + 2 * root
    cubic = high.length - width * (high.slope + root - d1) / jnp.where(bottom == 0, 1, bottom)
    drowned = (high.slope >= 0) & (jnp.abs(high.value - low.value) <= 4 * noise)
    chosen = jnp.where(drowned, secant, cubic)
    chosen = jnp.clip(chosen, low.length + width / 10, high.length - width / 10)
    middle = low.length + width / 2
    chosen = jnp.where(jnp.isfinite(chosen) & (count % 4 != 3), chosen, middle)
    known = jnp.isfinite(high.value) & jnp.isfinite(high.slope)
    return jnp.where(known, chosen, low.length + width / 4)
