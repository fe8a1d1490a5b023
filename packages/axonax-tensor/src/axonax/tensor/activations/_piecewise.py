"""Activations made of straight pieces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def linear(x: ArrayLike) -> jax.Array:
    """``x`` itself.

    >>> linear(jnp.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """
    return jnp.asarray(x)


def relu(x: ArrayLike) -> jax.Array:
    """``max(x, 0)``; the gradient at 0 is 0.

    >>> relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return jax.nn.relu(x)


def relu6(x: ArrayLike) -> jax.Array:
    """``min(max(x, 0), 6)``.

    >>> relu6(jnp.array([-1.0, 2.0, 8.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return jax.nn.relu6(x)


def leaky_relu(x: ArrayLike, *, negative_slope: ArrayLike = 0.01) -> jax.Array:
    """``x`` where it is positive, else ``negative_slope * x``.

    >>> leaky_relu(jnp.array([-2.0, 2.0]), negative_slope=0.5).tolist()
    [-1.0, 2.0]
    """
    return jax.nn.leaky_relu(x, negative_slope)


def hard_tanh(x: ArrayLike) -> jax.Array:
    """``min(max(x, -1), 1)``.

    >>> hard_tanh(jnp.array([-2.0, 0.5])).tolist()
    [-1.0, 0.5]
    """
    return jax.nn.hard_tanh(x)


def hard_sigmoid(x: ArrayLike) -> jax.Array:
    """``relu6(x + 3) / 6``, a piecewise linear sigmoid.

    >>> hard_sigmoid(jnp.array([-3.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return jax.nn.hard_sigmoid(x)


def hard_silu(x: ArrayLike) -> jax.Array:
    """``x * hard_sigmoid(x)``; also called ``hard_swish``.

    Source: Howard et al., Searching for MobileNetV3 (2019), section 5.2.

    >>> hard_silu(jnp.array([0.0, 3.0])).tolist()
    [0.0, 3.0]
    """
    return jax.nn.hard_silu(x)


def sparse_plus(x: ArrayLike) -> jax.Array:
    """``0`` below -1, ``(x + 1)**2 / 4`` up to 1, then ``x``: a softplus that reaches zero.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 2.0])).tolist()
    [0.0, 0.25, 2.0]
    """
    return jax.nn.sparse_plus(x)


def sparse_sigmoid(x: ArrayLike) -> jax.Array:
    """``min(max(x + 1, 0), 2) / 2``, the derivative of `sparse_plus`.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 2.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return jax.nn.sparse_sigmoid(x)


hard_swish = hard_silu
