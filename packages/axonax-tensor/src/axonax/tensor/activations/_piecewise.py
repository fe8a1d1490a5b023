"""Activations made of straight pieces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened


def linear(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``x`` itself.

    >>> linear(jnp.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return jnp.asarray(x)


def relu(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``max(x, 0)``; the gradient at 0 is 0.

    >>> relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return jax.nn.relu(x)


def relu6(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``min(max(x, 0), 6)``.

    >>> relu6(jnp.array([-1.0, 2.0, 8.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return jax.nn.relu6(x)


def leaky_relu(
    x: Shaped[ArrayLike, "*shape"], *, negative_slope: Shaped[ArrayLike, " ..."] = 0.01
) -> Shaped[Array, "*shape"]:
    """``x`` where it is positive, else ``negative_slope * x``.

    >>> leaky_relu(jnp.array([-2.0, 2.0]), negative_slope=0.5).tolist()
    [-1.0, 2.0]
    """
    return jax.nn.leaky_relu(x, negative_slope)


def hard_tanh(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``min(max(x, -1), 1)``.

    >>> hard_tanh(jnp.array([-2.0, 0.5])).tolist()
    [-1.0, 0.5]
    """
    return jax.nn.hard_tanh(x)


def hard_sigmoid(
    x: Shaped[ArrayLike, "*shape"], *, slope: float = 1 / 6, offset: float = 0.5
) -> Shaped[Array, "*shape"]:
    """``min(max(slope * x + offset, 0), 1)``, a piecewise linear sigmoid.

    By default that of JAX and PyTorch, ``relu6(x + 3) / 6``. Older Keras has 0.2 and 0.5, Axon 0.2 and 0.2.

    Raises:
        ValueError: ``slope`` is not above 0.

    >>> hard_sigmoid(jnp.array([-3.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    if not slope > 0:
        raise ValueError(f"hard_sigmoid: slope must be above 0, got {slope}")
    # Near the foot this sum is exact, that of the product and the offset is not.
    return jax.nn.relu6((x + offset / slope) * (6 * slope)) / 6.0


def hard_silu(
    x: Shaped[ArrayLike, "*shape"], *, slope: float = 1 / 6, offset: float = 0.5
) -> Shaped[Array, "*shape"]:
    """``x * hard_sigmoid(x)``, with its options; also called ``hard_swish``.

    Raises:
        ValueError: ``slope`` is not above 0.

    Source: Howard et al., Searching for MobileNetV3 (2019), section 5.2.

    >>> hard_silu(jnp.array([0.0, 3.0])).tolist()
    [0.0, 3.0]
    """
    return jnp.asarray(x) * hard_sigmoid(x, slope=slope, offset=offset)


def sparse_plus(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``0`` below -1, ``(x + 1)**2 / 4`` up to 1, then ``x``: a softplus that reaches zero.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 2.0])).tolist()
    [0.0, 0.25, 2.0]
    """
    return jax.nn.sparse_plus(x)


def sparse_sigmoid(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``min(max(x + 1, 0), 2) / 2``, the derivative of `sparse_plus`.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 2.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return jax.nn.sparse_sigmoid(x)


def hard_shrink(
    x: Shaped[ArrayLike, "*shape"], *, threshold: Shaped[ArrayLike, " ..."] = 0.5
) -> Shaped[Array, "*shape"]:
    """``x`` where ``|x| > threshold``, else 0.

    Raises:
        ValueError: ``threshold`` is a negative number.

    >>> hard_shrink(jnp.array([-1.0, 0.25])).tolist()
    [-1.0, 0.0]
    """
    _check_threshold("hard_shrink", threshold)
    wide = widened(x)
    return narrowed(jnp.where(jnp.abs(wide) <= threshold, 0, wide), x)


def soft_shrink(
    x: Shaped[ArrayLike, "*shape"], *, threshold: Shaped[ArrayLike, " ..."] = 0.5
) -> Shaped[Array, "*shape"]:
    """``x`` moved by ``threshold`` towards 0, and 0 where ``|x| <= threshold``.

    Raises:
        ValueError: ``threshold`` is a negative number.

    >>> soft_shrink(jnp.array([-1.0, 0.25])).tolist()
    [-0.5, 0.0]
    """
    _check_threshold("soft_shrink", threshold)
    wide = widened(x)
    # The product is 0 between the thresholds, with gradient 0, but keeps NaN.
    below = jnp.where(wide < jnp.negative(threshold), wide + threshold, wide * 0)
    return narrowed(jnp.where(wide > threshold, wide - threshold, below), x)


def threshold(
    x: Shaped[ArrayLike, "*shape"],
    *,
    threshold: Shaped[ArrayLike, " ..."] = 0.0,
    value: Shaped[ArrayLike, " ..."] = 0.0,
) -> Shaped[Array, "*shape"]:
    """``x`` where it is above ``threshold``, else ``value``.

    >>> threshold(jnp.array([-1.0, 2.0]), threshold=1.0, value=-5.0).tolist()
    [-5.0, 2.0]
    """
    wide = widened(x)
    return narrowed(jnp.where(wide <= threshold, value, wide), x)


def prelu(x: Shaped[ArrayLike, "*shape"], alpha: Shaped[ArrayLike, " ..."] = 0.25) -> Shaped[Array, "*shape"]:
    """``x`` where it is positive, else ``alpha * x``: a `leaky_relu` whose slope is learned.

    Args:
        x: ``(..., channels)``.
        alpha: the slope, a scalar, ``(channels,)`` or whatever broadcasts to ``x``.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: ``alpha`` does not broadcast to ``x``.

    Source: He et al., Delving Deep into Rectifiers (2015), equation 1.

    >>> prelu(jnp.array([[-2.0, -2.0]]), jnp.array([0.5, 1.0])).tolist()
    [[-1.0, -2.0]]
    """
    wide, slope = widened(x), widened(alpha)
    ones = (1,) * (wide.ndim - slope.ndim)
    fits = zip(ones + slope.shape, wide.shape, strict=False)
    if slope.ndim > wide.ndim or any(mine not in (1, size) for mine, size in fits):
        raise ValueError(f"prelu: alpha {slope.shape} does not broadcast to input {wide.shape}")
    return narrowed(jnp.where(wide > 0, wide, slope.reshape(ones + slope.shape) * wide), x)


def _check_threshold(op: str, threshold: ArrayLike) -> None:
    if isinstance(threshold, int | float) and threshold < 0:
        raise ValueError(f"{op}: threshold must not be negative, got {threshold}")


hard_swish = hard_silu
