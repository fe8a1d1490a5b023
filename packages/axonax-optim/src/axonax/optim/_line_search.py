"""A line search that also works where differences of the objective drown in rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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


class _Search(NamedTuple):
    """Where a search stands: the next length, the ends of its bracket, the best trial."""

    length: jax.Array
    low: _Sample
    high: _Sample
    best: _Sample
    evaluations: jax.Array
    last: jax.Array
    done: jax.Array


class _State(NamedTuple):
    """What goes from trial to trial; all numbers in one array: a kernel for each would cost more."""

    point: Point
    numbers: jax.Array


def _pack(search: _Search) -> jax.Array:
    leaves = jax.tree.leaves(search)
    return jnp.stack([jnp.asarray(leaf, search.length.dtype) for leaf in leaves])


def _unpack(numbers: jax.Array) -> _Search:
    length, *samples, evaluations, last, done = (numbers[index] for index in range(_SIZE))
    low, high, best = (_Sample(*samples[start : start + 3]) for start in (0, 3, 6))
    return _Search(length, low, high, best, evaluations, last > 0, done > 0)


_SIZE, _EVALUATIONS, _LAST, _DONE = 13, 10, 11, 12
# What the last trial adds to the numbers.
_END = np.isin(np.arange(_SIZE), (_EVALUATIONS, _DONE))


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

    rules = _Rules(longest, curvature, strong)

    def run(state: _State) -> _State:
        length, last = state.numbers[0], state.numbers[_LAST]
        x = problem.project(point.x + length.astype(point.x.dtype) * direction)
        trial = problem.at(x)
        steepness = jnp.vdot(trial.gradient, direction).astype(scalar)
        sample = _Sample(length, trial.value.astype(scalar), steepness)
        # The first trial is the last one most of the time: what follows from one is not computed then.
        numbers = jax.lax.cond(
            _accepted(start, sample, rules) | (last > 0),
            lambda numbers: numbers + _END.astype(scalar),
            lambda numbers: _pack(_narrow(_unpack(numbers), start, sample, rules)),
            state.numbers,
        )
        return _State(trial, numbers)

    first = _Search(
        length=jnp.ones((), scalar),
        low=start,
        high=_Sample(infinite, infinite, infinite),
        best=start,
        evaluations=zero,
        last=jnp.asarray(False),
        done=~(slope < 0),
    )
    end = jax.lax.while_loop(lambda state: state.numbers[_DONE] == 0, run, _State(point, _pack(first)))
    search = _unpack(end.numbers)
    evaluations = search.evaluations.astype(jnp.int32)
    return Found(end.point, search.length, evaluations, (evaluations > 0) & (search.length > 0))


class _Rules(NamedTuple):
    longest: Any
    curvature: float
    strong: bool


def _accepted(start: _Sample, sample: _Sample, rules: _Rules) -> jax.Array:
    """Whether a trial meets the conditions, or is as far as the bounds allow."""
    decreased, level = _lower(start, sample)
    steepness = jnp.abs(sample.slope) if rules.strong else -sample.slope
    flat = steepness <= -rules.curvature * start.slope
    enough = decreased | (level & (sample.slope <= (2 * DECREASE - 1) * start.slope))
    at_end = decreased & (sample.length >= rules.longest) & (sample.slope <= 0)
    accepted: jax.Array = _finite(sample) & ((enough & flat) | at_end)
    return accepted


def _lower(start: _Sample, sample: _Sample) -> tuple[jax.Array, jax.Array]:
    """Whether the objective fell enough, and whether it rose no more than its rounding."""
    decreased = sample.value <= start.value + DECREASE * sample.length * start.slope
    return decreased, sample.value <= start.value + rounding(start.value)


def _finite(sample: _Sample) -> jax.Array:
    return jnp.isfinite(sample.value) & jnp.isfinite(sample.slope)


def _narrow(search: _Search, start: _Sample, sample: _Sample, rules: _Rules) -> _Search:
    """Make a trial an end of the bracket, and choose the next.

    A search without hope goes back to the best trial, or to its start, and ends there.
    """
    decreased, level = _lower(start, sample)
    finite, noise = _finite(sample), rounding(start.value)
    too_far = ~finite | ~(decreased | level) | (sample.slope >= 0)
    low = _choose(too_far, search.low, sample)
    high = _choose(too_far, sample, search.high)
    best = _choose(finite & (sample.value < search.best.value), sample, search.best)
    following = jnp.where(
        jnp.isfinite(high.length),
        _inside(low, high, noise, search.evaluations),
        jnp.minimum(_beyond(search.low, sample), rules.longest),
    )
    width = high.length - low.length
    hopeless = jnp.isfinite(width) & (width <= 4 * epsilon(width) * high.length)
    hopeless = hopeless | (search.evaluations + 2 >= MOST)
    return _Search(
        length=jnp.where(hopeless, best.length, following),
        low=low,
        high=high,
        best=best,
        evaluations=search.evaluations + 1,
        last=hopeless,
        done=jnp.asarray(False),
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
