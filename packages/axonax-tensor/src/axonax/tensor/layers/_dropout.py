"""Dropout and its kin: noise in training, the identity without a key."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor._moments import widened


def dropout(x: ArrayLike, rate: ArrayLike, *, key: Any = None) -> jax.Array:
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


def spatial_dropout(x: ArrayLike, rate: ArrayLike, *, key: Any = None) -> jax.Array:
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
    shape = jnp.shape(x)
    if len(shape) < 3:
        raise ValueError(f"spatial_dropout: input must be (batch, *spatial, channels), got {shape}")
    return _drop("spatial_dropout", x, rate, key, (shape[0], *(1,) * (len(shape) - 2), shape[-1]))


def _drop(op: str, x: ArrayLike, rate: ArrayLike, key: Any, shape: tuple[int, ...]) -> jax.Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{op}: input must be float, got {x.dtype.name}")
    if isinstance(rate, int | float) and not (0 <= rate <= 1 and math.isfinite(rate)):
        raise ValueError(f"{op}: rate must be in [0, 1], got {rate}")
    if key is None or (isinstance(rate, int | float) and rate == 0):
        return x
    rate = jnp.asarray(rate, jnp.float32)
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    # At rate 1 nothing is kept; the division would still put an infinity into the gradient.
    factor = 1 / jnp.where(rate < 1, 1 - rate, 1)
    return jnp.where(jnp.broadcast_to(keep, x.shape), (widened(x) * factor).astype(x.dtype), 0)
