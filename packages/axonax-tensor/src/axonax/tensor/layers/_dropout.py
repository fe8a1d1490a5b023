"""Dropout and its kin: noise in training, the identity without a key."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import widened

# What selu gives far below zero: -1.0507 * 1.6733.
_SATURATED = -1.7580993408473766


def dropout(
    x: Shaped[ArrayLike, "*shape"], rate: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, "*shape"]:
    """Each element is 0 with probability ``rate``, else divided by ``1 - rate``.

    Args:
        x: floats of any shape.
        rate: a number in [0, 1], or a scalar array of one. 0 is exactly ``x``, 1 is all zeros.
        key: a PRNG key; ``None`` is the identity.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: ``rate`` is a number outside [0, 1], or ``x`` is not float.

    Source: Srivastava et al., Dropout (2014).

    >>> sorted(set(dropout(jnp.ones(100), 0.5, key=jax.random.key(0)).tolist()))
    [0.0, 2.0]
    """
    return _drop("dropout", x, rate, key, jnp.shape(x))


def spatial_dropout(
    x: Shaped[ArrayLike, " batch *spatial channels"], rate: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, " batch *spatial channels"]:
    """Dropout of whole feature maps: a channel of an example is kept or dropped everywhere.

    Args:
        x: floats ``(batch, *spatial, channels)``.
        rate: as for `dropout`.
        key: as for `dropout`.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: fewer than three axes, and as for `dropout`.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks (2015).

    >>> y = spatial_dropout(jnp.ones((1, 4, 2)), 0.5, key=jax.random.key(1))
    >>> bool((y == y[:, :1]).all())
    True
    """
    return _drop("spatial_dropout", x, rate, key, _maps("spatial_dropout", jnp.shape(x)))


def drop_path(
    x: Shaped[ArrayLike, " batch *features"], rate: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, " batch *features"]:
    """Dropout of whole examples (stochastic depth): put it on the branch of a residual connection.

    Args:
        x: floats ``(batch, ...)``.
        rate: as for `dropout`.
        key: as for `dropout`.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: ``x`` is a scalar, and as for `dropout`.

    Source: Huang et al., Deep Networks with Stochastic Depth (2016), equation 2; the scale by ``1 - rate``
    stands in training, as in dropout.

    >>> y = drop_path(jnp.ones((8, 3)), 0.5, key=jax.random.key(0))
    >>> bool((y == y[:, :1]).all())
    True
    """
    shape = jnp.shape(x)
    if not shape:
        raise ValueError("drop_path: input must have a batch axis, got a scalar")
    return _drop("drop_path", x, rate, key, (shape[0], *(1,) * (len(shape) - 1)))


def alpha_dropout(
    x: Shaped[ArrayLike, "*shape"], rate: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, "*shape"]:
    """Dropout for `selu`: a dropped element saturates, and mean 0 and variance 1 are kept.

    ``a * (x or s) + b`` with ``s = -1.7581``, ``a = (q + s**2 * q * (1 - q))**-0.5``,
    ``b = -a * (1 - q) * s`` and ``q = 1 - rate``.

    Args:
        x: floats of any shape.
        rate: as for `dropout`; 1 is all zeros.
        key: as for `dropout`.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: as for `dropout`.

    Source: Klambauer et al., Self-Normalizing Neural Networks (2017), section 2.

    >>> alpha_dropout(jnp.ones(3), 0.0, key=jax.random.key(0)).tolist()
    [1.0, 1.0, 1.0]
    """
    return _saturate("alpha_dropout", x, rate, key, jnp.shape(x))


def feature_alpha_dropout(
    x: Shaped[ArrayLike, " batch *spatial channels"], rate: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, " batch *spatial channels"]:
    """`alpha_dropout` of whole feature maps: a channel of an example is kept or saturates everywhere.

    Args:
        x: floats ``(batch, *spatial, channels)``.
        rate: as for `alpha_dropout`.
        key: as for `dropout`.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: fewer than three axes, and as for `dropout`.

    >>> y = feature_alpha_dropout(jnp.ones((1, 4, 2)), 0.5, key=jax.random.key(1))
    >>> bool((y == y[:, :1]).all())
    True
    """
    return _saturate("feature_alpha_dropout", x, rate, key, _maps("feature_alpha_dropout", jnp.shape(x)))


def gaussian_dropout(
    x: Shaped[ArrayLike, "*shape"], rate: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, "*shape"]:
    """``x`` times normal noise of mean 1 and standard deviation ``sqrt(rate / (1 - rate))``.

    Args:
        x: floats of any shape.
        rate: as for `dropout`; 1 is all zeros.
        key: as for `dropout`.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: as for `dropout`.

    Source: Srivastava et al., Dropout (2014), section 10.

    >>> gaussian_dropout(jnp.zeros(3), 0.5, key=jax.random.key(0)).tolist()
    [0.0, 0.0, 0.0]
    """
    x = _checked("gaussian_dropout", x, rate)
    if _is_identity(rate, key):
        return x
    wide, rate = widened(x), jnp.asarray(rate, jnp.float32)
    spread = jnp.sqrt(rate / jnp.where(rate < 1, 1 - rate, 1)).astype(wide.dtype)
    noise = 1 + spread * jax.random.normal(key, x.shape, wide.dtype)
    return jnp.where(rate < 1, wide * noise, 0).astype(x.dtype)


def gaussian_noise(
    x: Shaped[ArrayLike, "*shape"], stddev: Shaped[ArrayLike, ""], *, key: Any = None
) -> Shaped[Array, "*shape"]:
    """``x`` plus normal noise.

    Args:
        x: floats of any shape.
        stddev: of the noise, at least 0. 0 is exactly ``x``.
        key: a PRNG key; ``None`` is the identity.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: ``stddev`` is a negative number, or ``x`` is not float.

    >>> gaussian_noise(jnp.ones(2), 0.0, key=jax.random.key(0)).tolist()
    [1.0, 1.0]
    """
    if isinstance(stddev, int | float) and not stddev >= 0:
        raise ValueError(f"gaussian_noise: stddev must be at least 0, got {stddev}")
    x = _checked("gaussian_noise", x, 0)
    if key is None:
        return x
    wide = widened(x)
    spread = jnp.asarray(stddev, wide.dtype)
    return (wide + spread * jax.random.normal(key, x.shape, wide.dtype)).astype(x.dtype)


def _drop(op: str, x: ArrayLike, rate: ArrayLike, key: Any, shape: tuple[int, ...]) -> jax.Array:
    x = _checked(op, x, rate)
    if _is_identity(rate, key):
        return x
    rate = jnp.asarray(rate, jnp.float32)
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    # At rate 1 nothing is kept; the division would still put an infinity into the gradient.
    factor = 1 / jnp.where(rate < 1, 1 - rate, 1)
    return jnp.where(jnp.broadcast_to(keep, x.shape), (widened(x) * factor).astype(x.dtype), 0)


def _saturate(op: str, x: ArrayLike, rate: ArrayLike, key: Any, shape: tuple[int, ...]) -> jax.Array:
    x = _checked(op, x, rate)
    if _is_identity(rate, key):
        return x
    q = 1 - jnp.asarray(rate, jnp.float32)
    keep = jnp.broadcast_to(jax.random.bernoulli(key, q, shape), x.shape)
    variance = q + _SATURATED**2 * q * (1 - q)
    scale = jax.lax.rsqrt(jnp.where(q > 0, variance, 1))
    shift = -scale * (1 - q) * _SATURATED
    wide = widened(x)
    y = jnp.where(keep, wide, _SATURATED) * scale.astype(wide.dtype) + shift.astype(wide.dtype)
    return jnp.where(q > 0, y, 0).astype(x.dtype)


def _maps(op: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask over feature maps."""
    if len(shape) < 3:
        raise ValueError(f"{op}: input must be (batch, *spatial, channels), got {shape}")
    return (shape[0], *(1,) * (len(shape) - 2), shape[-1])


def _checked(op: str, x: ArrayLike, rate: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{op}: input must be float, got {x.dtype.name}")
    if isinstance(rate, int | float) and not (0 <= rate <= 1 and math.isfinite(rate)):
        raise ValueError(f"{op}: rate must be in [0, 1], got {rate}")
    return x


def _is_identity(rate: ArrayLike, key: Any) -> bool:
    return key is None or (isinstance(rate, int | float) and rate == 0)
