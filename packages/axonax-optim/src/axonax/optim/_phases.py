"""Schedules in phases: restarts, cycles, steps, warm-up and decay, one schedule after another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from axonax.optim._checks import (
    POSITIVE_OR_ZERO,
    Number,
    Schedule,
    number,
    number_or_schedule,
    options,
    whole,
)
from axonax.optim._schedules import cosine_decay, warmup


@options
def cosine_restarts(
    init_value: float, decay_steps: int = 10, *, growth: float = 1.0, decay: float = 1.0, alpha: float = 0.0
) -> Schedule:
    """Half a cosine down, again and again, each longer by ``growth`` and lower by ``decay``.

    Args:
        init_value: the number at step 0.
        decay_steps: steps of the first way down.
        growth: the ratio of the lengths of two ways down, at least 1.
        decay: the ratio of the heights of two ways down.
        alpha: share of the height of each way down that is left at its end.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.

    >>> schedule = cosine_restarts(0.1, 100, growth=2.0, decay=0.5)
    >>> [round(float(schedule(step)), 3) for step in (0, 50, 100, 200, 300)]
    [0.1, 0.05, 0.05, 0.025, 0.025]
    """
    peak = number("cosine_restarts", "init_value", init_value)
    length = whole("cosine_restarts", "decay_steps", decay_steps)
    ratio = number("cosine_restarts", "growth", growth)
    if ratio < 1:
        raise ValueError(f"cosine_restarts: growth must be at least 1, got {ratio:g}")
    fall = number("cosine_restarts", "decay", decay, POSITIVE_OR_ZERO)
    floor = number("cosine_restarts", "alpha", alpha)

    def schedule(step: Any) -> Any:
        time = jnp.asarray(step, jnp.float32) / length
        if ratio == 1:
            cycle = jnp.floor(time)
            share = time - cycle
        else:
            # Cycle i begins at (ratio^i - 1) / (ratio - 1); rounding may put its first step into the last.
            cycle = jnp.floor(jnp.log1p(time * (ratio - 1)) / jnp.log(ratio) + 1e-6)
            begin = (ratio**cycle - 1) / (ratio - 1)
            share = jnp.clip((time - begin) / ratio**cycle, 0, 1)
        return peak * fall**cycle * ((1 - floor) * (1 + jnp.cos(jnp.pi * share)) / 2 + floor)

    return schedule


@options
def one_cycle(
    peak_value: float,
    steps: int,
    *,
    rise: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up from ``peak_value / div_factor`` along a cosine, then down to next to nothing along another.

    Args:
        peak_value: the highest number.
        steps: steps of both ways.
        rise: share of the steps on the way up, in [0, 1).
        div_factor: the peak over the number at step 0.
        final_div_factor: the number at step 0 over that at the end.

    Returns:
        ``step -> number``; the last from ``steps`` on.

    Raises:
        ValueError: a number lies outside its range.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2018, section 3.

    >>> schedule = one_cycle(0.1, 100, rise=0.25, div_factor=10.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 25, 100)]
    [0.01, 0.1, 0.0]
    """
    peak = number("one_cycle", "peak_value", peak_value)
    share = number("one_cycle", "rise", rise)
    divisors = [
        number("one_cycle", name, value)
        for name, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor))
    ]
    if share >= 1 or 0 in divisors:
        raise ValueError(
            "one_cycle: rise must be below 1 and the factors above 0, "
            f"got {share:g}, {divisors[0]:g} and {divisors[1]:g}"
        )
    schedule: Schedule = optax.cosine_onecycle_schedule(
        whole("one_cycle", "steps", steps), peak, share, divisors[0], divisors[1]
    )
    return schedule


@options
def piecewise_constant(init_value: float, factors: Mapping[int, float]) -> Schedule:
    """``init_value``, multiplied by a factor from each of some steps on.

    Args:
        init_value: the number at step 0.
        factors: the first step with the new number, to the factor.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range.

    >>> schedule = piecewise_constant(0.1, {10: 0.5, 20: 0.1})
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.005]
    """
    start = number("piecewise_constant", "init_value", init_value)
    checked = {
        whole("piecewise_constant", "a step of factors", step, 0): number(
            "piecewise_constant", "factor", each
        )
        for step, each in factors.items()
    }

    def schedule(step: Any) -> Any:
        return start * math.prod(jnp.where(step < begin, 1.0, factor) for begin, factor in checked.items())

    return schedule


@options
def inverse_sqrt(peak_value: float, warmup_steps: int = 0, *, timescale: int | None = None) -> Schedule:
    """Straight up to ``peak_value``, then down with the root of the step.

    ``peak_value * min(step / warmup_steps, sqrt(timescale / (step - warmup_steps + timescale)))``

    Args:
        peak_value: the number at step ``warmup_steps``.
        warmup_steps: steps of the way up.
        timescale: how long the number stays near its peak; ``None`` for ``warmup_steps`` (1 at least), where
            the way down is ``peak_value * sqrt(warmup_steps / step)``.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range.

    Vaswani et al., "Attention is all you need", 2017, equation 3.

    >>> schedule = inverse_sqrt(0.1, 100)
    >>> [round(float(schedule(step)), 3) for step in (50, 100, 400)]
    [0.05, 0.1, 0.05]
    """
    peak = number("inverse_sqrt", "peak_value", peak_value)
    rising = whole("inverse_sqrt", "warmup_steps", warmup_steps, 0)
    scale = max(rising, 1) if timescale is None else whole("inverse_sqrt", "timescale", timescale)
    return warmup(lambda step: peak * jnp.sqrt(scale / (scale + jnp.asarray(step))), rising)


@options
def wsd(
    peak_value: float, warmup_steps: int, stable_steps: int, decay_steps: int, *, end_value: float = 0.0
) -> Schedule:
    """Warm up, stay, decay: straight up from 0, level, then down by half a cosine.

    Args:
        peak_value: the number of the level phase.
        warmup_steps: steps of the way up.
        stable_steps: steps of the level phase.
        decay_steps: steps of the way down.
        end_value: the number from then on.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: a number lies outside its range, or ``end_value`` above ``peak_value``.

    Hu et al., "MiniCPM: unveiling the potential of small language models", 2024, equation 1 (there with
    another way down).

    >>> schedule = wsd(0.1, 10, 80, 10)
    >>> [round(float(schedule(step)), 3) for step in (5, 10, 90, 95, 100)]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """
    peak, end = number("wsd", "peak_value", peak_value), number("wsd", "end_value", end_value)
    if peak == 0 or end > peak:
        raise ValueError(f"wsd: peak_value must be above 0 and at least end_value, got {peak:g} and {end:g}")
    rising = whole("wsd", "warmup_steps", warmup_steps, 0)
    level = whole("wsd", "stable_steps", stable_steps, 0)
    down = cosine_decay(peak, whole("wsd", "decay_steps", decay_steps), alpha=end / peak)
    return warmup(join([peak, down], [level]), rising)


@options
def join(schedules: Sequence[Number | Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another; each counts its own steps from 0.

    Args:
        schedules: schedules, or numbers for constants.
        boundaries: the step at which each but the first begins, rising.

    Returns:
        ``step -> number``.

    Raises:
        ValueError: the lengths do not fit, the boundaries do not rise, or a schedule is none.

    >>> schedule = join([0.1, cosine_decay(0.2, 100)], [10])
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 60)]
    [0.1, 0.1, 0.2, 0.1]
    """
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(
            f"join: one boundary less than schedules is required, got {len(boundaries)} for {len(schedules)}"
        )
    steps = [whole("join", "a boundary", each, 0) for each in boundaries]
    if steps != sorted(steps):
        raise ValueError(f"join: boundaries must rise, got {steps}")
    checked = [number_or_schedule("join", "a schedule", each) for each in schedules]
    made = [each if callable(each) else optax.constant_schedule(each) for each in checked]

    def schedule(step: Any) -> Any:
        value = made[0](step)
        for begin, following in zip(steps, made[1:], strict=True):
            value = jnp.where(step < begin, value, following(jnp.maximum(step - begin, 0)))
        return value

    return schedule
