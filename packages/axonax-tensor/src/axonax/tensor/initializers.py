"""Initial values: factories with options that return ``(key, shape, dtype) -> array``.

Fans of a kernel ``(*spatial, in, out)`` are ``spatial * in`` and ``spatial * out``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from axonax.tensor import names

Shape = Sequence[int]
Initializer = Callable[..., jax.Array]
Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "truncated_normal", "uniform"]
_MODES = {"fan_in": "fan_in", "fan_out": "fan_out", "fan_avg": "fan_avg"}
_DISTRIBUTIONS = {"normal": "normal", "truncated_normal": "truncated_normal", "uniform": "uniform"}


def zeros() -> Initializer:
    """All 0, in any dtype.

    >>> zeros()(jax.random.key(0), (2,)).tolist()
    [0.0, 0.0]
    """
    return full(0)


def ones() -> Initializer:
    """All 1, in any dtype.

    >>> ones()(jax.random.key(0), (2,), "int32").tolist()
    [1, 1]
    """
    return full(1)


def full(value: float) -> Initializer:
    """All ``value``, in any dtype.

    >>> full(0.5)(jax.random.key(0), (2,)).tolist()
    [0.5, 0.5]
    """

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        return jnp.full(shape, value, dtype)

    return init


def uniform(*, low: float = -0.01, high: float = 0.01) -> Initializer:
    """Uniform in ``[low, high)``.

    Raises:
        ValueError: ``low`` is above ``high``.

    >>> uniform(low=2.0, high=3.0)(jax.random.key(0), (4,)).min() >= 2
    Array(True, dtype=bool)
    """
    if low > high:
        raise ValueError(f"uniform: low must not be above high, got {low} and {high}")
    return _random("uniform", lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, low, high))


def normal(*, stddev: float = 0.01, mean: float = 0.0) -> Initializer:
    """Normal with that mean and standard deviation.

    Raises:
        ValueError: ``stddev`` is negative.

    >>> normal(stddev=0.0, mean=1.0)(jax.random.key(0), (2,)).tolist()
    [1.0, 1.0]
    """
    _check_not_negative("normal", "stddev", stddev)
    return _random("normal", lambda key, shape, dtype: mean + stddev * jax.random.normal(key, shape, dtype))


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
    _check_not_negative("truncated_normal", "stddev", stddev)
    if lower >= upper:
        raise ValueError(f"truncated_normal: lower must be below upper, got {lower} and {upper}")

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return mean + stddev * jax.random.truncated_normal(key, lower, upper, shape, dtype)

    return _random("truncated_normal", draw)


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
    _check_not_negative("variance_scaling", "scale", scale)
    names.lookup(_MODES, mode, "mode")
    names.lookup(_DISTRIBUTIONS, distribution, "distribution")
    return _scaled("variance_scaling", scale, mode, distribution, in_axis=in_axis, out_axis=out_axis)


def glorot_uniform(*, scale: float = 1.0) -> Initializer:
    """Uniform with variance ``scale * 2 / (fan_in + fan_out)``.

    Source: Glorot and Bengio, Understanding the difficulty of training deep networks (2010), equation 16.

    >>> glorot_uniform()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("glorot_uniform", scale, "fan_avg", "uniform")


def glorot_normal(*, scale: float = 1.0) -> Initializer:
    """Normal, cut at two standard deviations, with variance ``scale * 2 / (fan_in + fan_out)``.

    >>> glorot_normal()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("glorot_normal", scale, "fan_avg", "truncated_normal")


def he_uniform(*, scale: float = 2.0) -> Initializer:
    """Uniform with variance ``scale / fan_in``, for layers before a relu.

    Source: He et al., Delving Deep into Rectifiers (2015), equation 10.

    >>> he_uniform()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("he_uniform", scale, "fan_in", "uniform")


def he_normal(*, scale: float = 2.0) -> Initializer:
    """Normal, cut at two standard deviations, with variance ``scale / fan_in``.

    >>> he_normal()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("he_normal", scale, "fan_in", "truncated_normal")


def lecun_uniform(*, scale: float = 1.0) -> Initializer:
    """Uniform with variance ``scale / fan_in``.

    Source: LeCun et al., Efficient BackProp (1998), equation 16.

    >>> lecun_uniform()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("lecun_uniform", scale, "fan_in", "uniform")


def lecun_normal(*, scale: float = 1.0) -> Initializer:
    """Normal, cut at two standard deviations, with variance ``scale / fan_in``.

    >>> lecun_normal()(jax.random.key(0), (3, 4)).shape
    (3, 4)
    """
    return _scaled("lecun_normal", scale, "fan_in", "truncated_normal")


def orthogonal(*, gain: float = 1.0, axis: int = -1) -> Initializer:
    """``gain`` times a uniformly drawn matrix with orthonormal rows or columns, whichever are fewer.

    Args:
        gain: the factor.
        axis: the axis of the outputs; all others together are the inputs.

    Raises:
        ValueError: when called, a shape of fewer than two axes or a dtype that is not float.

    Source: Saxe et al., Exact solutions to the nonlinear dynamics of learning (2013).

    >>> q = orthogonal()(jax.random.key(0), (4, 2))
    >>> bool(jnp.allclose(q.T @ q, jnp.eye(2), atol=1e-5))
    True
    """

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        wide = jnp.promote_types(dtype, jnp.float32)
        return jax.nn.initializers.orthogonal(gain, axis)(key, shape, wide).astype(dtype)

    return _random("orthogonal", draw, least_axes=2)


def by_name(initializer: str | Initializer) -> Initializer:
    """The initializer of that name with its defaults; a callable is handed back.

    Args:
        initializer: such as ``"glorot_uniform"``, or any ``(key, shape, dtype) -> array``.

    Raises:
        ValueError: an unknown name (the text lists near matches), or neither a name nor a callable.

    >>> by_name("ones")(jax.random.key(0), (1,)).tolist()
    [1.0]
    """
    if isinstance(initializer, str):
        return names.lookup(_TABLE, initializer, "initializer")()
    if callable(initializer):
        return initializer
    shown = f"{initializer!r} of type {type(initializer).__name__}"
    raise ValueError(f"initializer must be a name or a callable (key, shape, dtype) -> array, got {shown}")


def _scaled(
    name: str,
    scale: float,
    mode: Mode,
    distribution: Distribution,
    *,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
) -> Initializer:
    _check_not_negative(name, "scale", scale)
    if scale == 0:
        return _random(name, lambda key, shape, dtype: jnp.zeros(shape, dtype), least_axes=2)

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        if math.prod(shape) == 0:
            return jnp.zeros(shape, dtype)
        return jax.nn.initializers.variance_scaling(scale, mode, distribution, in_axis, out_axis)(
            key, shape, dtype
        )

    return _random(name, draw, least_axes=2)


def _random(name: str, draw: Callable[[Any, Shape, Any], jax.Array], least_axes: int = 0) -> Initializer:
    """``draw`` after checks of the dtype and of the number of axes."""

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"{name}: dtype must be float, got {jnp.dtype(dtype).name}")
        if len(shape) < least_axes:
            raise ValueError(f"{name}: shape must have at least {least_axes} axes, got {tuple(shape)}")
        return draw(key, shape, jnp.dtype(dtype)).astype(dtype)

    return init


def _check_not_negative(name: str, option: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name}: {option} must not be negative, got {value}")


_TABLE: dict[str, Callable[[], Initializer]] = {
    "zeros": zeros,
    "ones": ones,
    "uniform": uniform,
    "normal": normal,
    "truncated_normal": truncated_normal,
    "variance_scaling": variance_scaling,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
}
