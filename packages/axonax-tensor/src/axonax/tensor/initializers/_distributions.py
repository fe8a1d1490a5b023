"""Constants and plain distributions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor.initializers._draw import Initializer, Shape, check_not_negative, factory, random


@factory
def zeros() -> Initializer:
    """All 0, in any dtype.

    >>> zeros()(jax.random.key(0), (2,)).tolist()
    [0.0, 0.0]
    """
    return full(0)


@factory
def ones() -> Initializer:
    """All 1, in any dtype.

    >>> ones()(jax.random.key(0), (2,), "int32").tolist()
    [1, 1]
    """
    return full(1)


@factory
def full(value: float) -> Initializer:
    """All ``value``, in any dtype.

    >>> full(0.5)(jax.random.key(0), (2,)).tolist()
    [0.5, 0.5]
    """

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        return jnp.full(shape, value, dtype)

    return init


@factory
def uniform(*, low: float = -0.01, high: float = 0.01) -> Initializer:
    """Uniform in ``[low, high)``.

    Raises:
        ValueError: ``low`` is above ``high``.

    >>> uniform(low=2.0, high=3.0)(jax.random.key(0), (4,)).min() >= 2
    Array(True, dtype=bool)
    """
    if low > high:
        raise ValueError(f"uniform: low must not be above high, got {low} and {high}")
    return random("uniform", lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, low, high))


@factory
def normal(*, stddev: float = 0.01, mean: float = 0.0) -> Initializer:
    """Normal with that mean and standard deviation.

    Raises:
        ValueError: ``stddev`` is negative.

    >>> normal(stddev=0.0, mean=1.0)(jax.random.key(0), (2,)).tolist()
    [1.0, 1.0]
    """
    check_not_negative("normal", "stddev", stddev)
    return random("normal", lambda key, shape, dtype: mean + stddev * jax.random.normal(key, shape, dtype))


@factory
def truncated_normal(
    *, stddev: float = 0.01, mean: float = 0.0, lower: float = -2.0, upper: float = 2.0
) -> Initializer:
    """Normal, cut at ``lower`` and ``upper`` standard deviations from the mean.

    The cut narrows it: with the default bounds its standard deviation is ``0.88 * stddev``.

    Raises:
        ValueError: ``stddev`` is negative, or ``lower`` is not below ``upper``.

    >>> bool(abs(truncated_normal(stddev=1.0)(jax.random.key(0), (100,))).max() <= 2)
    True
    """
    check_not_negative("truncated_normal", "stddev", stddev)
    if lower >= upper:
        raise ValueError(f"truncated_normal: lower must be below upper, got {lower} and {upper}")

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return mean + stddev * jax.random.truncated_normal(key, lower, upper, shape, dtype)

    return random("truncated_normal", draw)
