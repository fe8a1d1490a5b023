"""Schedules: functions of the step (from 0) that give a number, under ``jit`` too."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, number, number_or_schedule, options, whole


@options
def constant(init_value: float) -> Schedule:
    """The same number at every step.

    Args:
        init_value: the number.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: ``init_value`` is negative or no number.

    >>> constant(0.1)(7)
    0.1
    """
    schedule: Schedule = optax.constant_schedule(number("constant", "init_value", init_value))
    return schedule


@options
def linear_decay(init_value: float, warmup: int = 0, steps: int = 1000) -> Schedule:
    """Up from 0 in ``warmup`` steps, then straight down to 0 at step ``steps``.

    Args:
        init_value: the number at step ``warmup``.
        warmup: steps of the way up.
        steps: steps of both ways.

    Returns:
        ``step -> number``; 0 from ``steps`` on.

    Raises:
        ValueError: ``steps`` does not exceed ``warmup``, or a number lies outside its range.

    >>> schedule = linear_decay(0.1, warmup=10, steps=100)
    >>> [round(float(schedule(step)), 3) for step in (5, 10, 55, 100, 150)]
    [0.05, 0.1, 0.05, 0.0, 0.0]
    """
    peak = number("linear_decay", "init_value", init_value)
    up = whole("linear_decay", "warmup", warmup, least=0)
    if whole("linear_decay", "steps", steps) <= up:
        raise ValueError(f"linear_decay: steps must exceed warmup = {up}, got {steps}")
    return _after(up, optax.linear_schedule(peak, 0.0, steps - up))


@options
def polynomial_decay(
    init_value: float,
    end_value: float = 1e-3,
    *,
    power: float = 2.0,
    transition_steps: int = 10,
    transition_begin: int = 0,
) -> Schedule:
    """``(init_value - end_value) * (1 - share)^power + end_value``, with ``share`` of the steps done.

    Args:
        init_value: the number up to step ``transition_begin``.
        end_value: the number after ``transition_steps`` more.
        power: 1 is a straight line.
        transition_steps: steps of the way.
        transition_begin: the step at which it begins.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range.

    >>> schedule = polynomial_decay(0.1, 0.0, transition_steps=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 50, 100, 200)]
    [0.1, 0.025, 0.0, 0.0]
    """
    schedule: Schedule = optax.polynomial_schedule(
        number("polynomial_decay", "init_value", init_value),
        number("polynomial_decay", "end_value", end_value),
        number("polynomial_decay", "power", power),
        whole("polynomial_decay", "transition_steps", transition_steps),
        whole("polynomial_decay", "transition_begin", transition_begin, least=0),
    )
    return schedule


@options
def exponential_decay(
    init_value: float,
    decay_rate: float = 0.95,
    transition_steps: int = 10,
    *,
    transition_begin: int = 0,
    staircase: bool = False,
) -> Schedule:
    """``init_value * decay_rate ** ((step - transition_begin) / transition_steps)``.

    Args:
        init_value: the number up to step ``transition_begin``.
        decay_rate: the factor of each transition.
        transition_steps: steps of one transition.
        transition_begin: the step at which the decay begins.
        staircase: decay at the end of each transition only.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range.

    >>> schedule = exponential_decay(0.1, 0.5, 10, staircase=True)
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 25)]
    [0.1, 0.1, 0.05, 0.025]
    """
    schedule: Schedule = optax.exponential_decay(
        number("exponential_decay", "init_value", init_value),
        whole("exponential_decay", "transition_steps", transition_steps),
        number("exponential_decay", "decay_rate", decay_rate),
        whole("exponential_decay", "transition_begin", transition_begin, least=0),
        staircase,
    )
    return schedule


@options
def cosine_decay(init_value: float, decay_steps: int = 10, *, alpha: float = 0.0) -> Schedule:
    """Half a cosine down to ``alpha * init_value``.

    ``init_value * ((1 - alpha) * (1 + cos(pi * min(step / decay_steps, 1))) / 2 + alpha)``

    Args:
        init_value: the number at step 0.
        decay_steps: steps of the way down.
        alpha: share of ``init_value`` that is left from then on.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.

    >>> schedule = cosine_decay(0.1, 100)
    >>> [round(float(schedule(step)), 3) for step in (0, 50, 100, 200)]
    [0.1, 0.05, 0.0, 0.0]
    """
    start = number("cosine_decay", "init_value", init_value)
    steps = whole("cosine_decay", "decay_steps", decay_steps)
    floor = number("cosine_decay", "alpha", alpha)
    schedule: Schedule = optax.cosine_decay_schedule(start, steps, floor)
    return schedule


@options
def warmup(schedule: Number | Schedule, steps: int) -> Schedule:
    """Straight up from 0 to where a schedule starts, then the schedule.

    Args:
        schedule: any schedule, or a number for a constant.
        steps: steps of the way up; the schedule sees step 0 after them.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: ``schedule`` is neither number nor function, or ``steps`` is negative.

    >>> schedule = warmup(cosine_decay(0.1, 100), 10)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    following = number_or_schedule("warmup", "schedule", schedule)
    if not callable(following):
        following = optax.constant_schedule(following)
    return _after(whole("warmup", "steps", steps, least=0), following)


def _after(steps: int, schedule: Schedule) -> Schedule:
    """``schedule``, begun after ``steps`` steps up from 0."""
    if steps == 0:
        return schedule

    def warmed(step: Any) -> Any:
        rising = schedule(0) * jnp.asarray(step) / steps
        return jnp.where(step < steps, rising, schedule(jnp.maximum(step - steps, 0)))

    return warmed
