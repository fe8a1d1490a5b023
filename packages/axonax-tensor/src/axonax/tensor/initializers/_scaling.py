"""Distributions whose variance goes by the fans of a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from axonax.tensor import names
from axonax.tensor.initializers._draw import Initializer, Shape, check_not_negative, factory, random

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "truncated_normal", "uniform"]
_MODES = {"fan_in": "fan_in", "fan_out": "fan_out", "fan_avg": "fan_avg"}
_DISTRIBUTIONS = {"normal": "normal", "truncated_normal": "truncated_normal", "uniform": "uniform"}


@factory
def variance_scaling(
    *,
    scale: float = 1.0,
    mode: Mode = "fan_in",
    distribution: Distribution = "normal",
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
) -> Initializer:
    """Mean 0 and variance ``scale / fan``, whatever the distribution.

    Args:
        scale: of the variance.
        mode: the fan: ``"fan_in"``, ``"fan_out"`` or their mean, ``"fan_avg"``.
        distribution: ``"normal"``, ``"truncated_normal"`` (at two standard deviations) or ``"uniform"``.
        in_axis: axes that count as inputs; the axes in neither are spatial.
        out_axis: axes that count as outputs.

    Raises:
        ValueError: a negative scale or an unknown mode or distribution; when called, a shape of fewer
            than two axes or a dtype that is not float.

    >>> variance_scaling(mode="fan_avg")(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    check_not_negative("variance_scaling", "scale", scale)
    names.lookup(_MODES, mode, "mode")
    names.lookup(_DISTRIBUTIONS, distribution, "distribution")
    return _scaled("variance_scaling", scale, mode, distribution, in_axis=in_axis, out_axis=out_axis)


@factory
def glorot_uniform(*, scale: float = 1.0) -> Initializer:
    """Uniform with variance ``scale * 2 / (fan_in + fan_out)``.

    Source: Glorot and Bengio, Understanding the difficulty of training deep networks (2010), equation 16.

    >>> glorot_uniform()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("glorot_uniform", scale, "fan_avg", "uniform")


@factory
def glorot_normal(*, scale: float = 1.0) -> Initializer:
    """Normal, cut at two standard deviations, with variance ``scale * 2 / (fan_in + fan_out)``.

    >>> glorot_normal()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("glorot_normal", scale, "fan_avg", "truncated_normal")


@factory
def he_uniform(*, scale: float = 2.0) -> Initializer:
    """Uniform with variance ``scale / fan_in``, for layers before a relu.

    Source: He et al., Delving Deep into Rectifiers (2015), equation 10.

    >>> he_uniform()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("he_uniform", scale, "fan_in", "uniform")


@factory
def he_normal(*, scale: float = 2.0) -> Initializer:
    """Normal, cut at two standard deviations, with variance ``scale / fan_in``.

    >>> he_normal()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("he_normal", scale, "fan_in", "truncated_normal")


@factory
def lecun_uniform(*, scale: float = 1.0) -> Initializer:
    """Uniform with variance ``scale / fan_in``.

    Source: LeCun et al., Efficient BackProp (1998), equation 16.

    >>> lecun_uniform()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("lecun_uniform", scale, "fan_in", "uniform")


@factory
def lecun_normal(*, scale: float = 1.0) -> Initializer:
    """Normal, cut at two standard deviations, with variance ``scale / fan_in``.

    >>> lecun_normal()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("lecun_normal", scale, "fan_in", "truncated_normal")


def _scaled(
    name: str,
    scale: float,
    mode: Mode,
    distribution: Distribution,
    *,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
) -> Initializer:
    check_not_negative(name, "scale", scale)
    if scale == 0:
        return random(name, lambda key, shape, dtype: jnp.zeros(shape, dtype), least_axes=2)

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        if math.prod(shape) == 0:
            return jnp.zeros(shape, dtype)
        return jax.nn.initializers.variance_scaling(scale, mode, distribution, in_axis, out_axis)(
            key, shape, dtype
        )

    return random(name, draw, least_axes=2)
