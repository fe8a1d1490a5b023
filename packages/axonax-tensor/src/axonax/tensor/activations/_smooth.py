"""Smooth activations."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened


def exp(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``e**x``.

    >>> exp(jnp.array([0.0])).tolist()
    [1.0]
    """
    return jnp.exp(x)


def sigmoid(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``1 / (1 + exp(-x))``.

    >>> sigmoid(jnp.array([0.0])).tolist()
    [0.5]
    """
    return narrowed(jax.nn.sigmoid(widened(x)), x)


def log_sigmoid(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``log(sigmoid(x))``, finite where the sigmoid underflows.

    >>> log_sigmoid(jnp.array([-200.0])).tolist()
    [-200.0]
    """
    return jax.nn.log_sigmoid(x)


def tanh(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """The hyperbolic tangent.

    >>> tanh(jnp.array([0.0])).tolist()
    [0.0]
    """
    return jnp.tanh(x)


def softplus(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``log(1 + exp(x))``, without overflow.

    >>> softplus(jnp.array([200.0])).tolist()
    [200.0]
    """
    return jax.nn.softplus(x)


def softsign(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``x / (1 + |x|)``.

    >>> softsign(jnp.array([-1.0, 3.0])).tolist()
    [-0.5, 0.75]
    """
    return jax.nn.soft_sign(x)


def squareplus(
    x: Shaped[ArrayLike, "*shape"], *, b: Shaped[ArrayLike, " ..."] = 4.0
) -> Shaped[Array, "*shape"]:
    """``(x + sqrt(x**2 + b)) / 2``, a softplus without exponentials.

    Source: Barron, Squareplus (2021).

    >>> squareplus(jnp.array([0.0])).tolist()
    [1.0]
    """
    wide = widened(x)
    b = jnp.asarray(b, wide.dtype)
    root = jnp.hypot(wide, jnp.sqrt(b))
    # Where x is negative, the sum of the formula cancels; its conjugate does not.
    conjugate = jnp.maximum(2 * (root - jnp.minimum(wide, 0)), np.finfo(np.float32).tiny)
    result = jnp.where(wide > 0, (wide + root) / 2, b / conjugate)
    return narrowed(result, x)


def silu(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``x * sigmoid(x)``; also called ``swish``.

    Source: Elfwing et al., Sigmoid-Weighted Linear Units (2017), equation 4.

    >>> silu(jnp.array([0.0])).tolist()
    [0.0]
    """
    return narrowed(jax.nn.silu(widened(x)), x)


def mish(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``x * tanh(softplus(x))``.

    Source: Misra, Mish (2019).

    >>> mish(jnp.array([0.0])).tolist()
    [0.0]
    """
    return jax.nn.mish(x)


def gelu(x: Shaped[ArrayLike, "*shape"], *, approximate: bool = False) -> Shaped[Array, "*shape"]:
    """``x * P(X <= x)`` for a standard normal ``X``.

    Args:
        x: any shape.
        approximate: ``True`` takes the formula with tanh, off by up to 5e-4 and faster.

    Returns:
        the shape and dtype of ``x``.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016).

    >>> gelu(jnp.array([0.0])).tolist()
    [0.0]
    """
    wide = widened(x)
    if approximate:
        # (1 + tanh(u)) / 2 is sigmoid(2 * u), which does not cancel where x is negative.
        u = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
        result = wide * jax.nn.sigmoid(2 * u)
    else:
        result = jax.nn.gelu(wide, approximate=False)
    return narrowed(result, x)


def quick_gelu(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``x * sigmoid(1.702 * x)``, an approximation of `gelu` that is off by up to 0.02.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2.

    >>> quick_gelu(jnp.array([0.0])).tolist()
    [0.0]
    """
    wide = widened(x)
    return narrowed(wide * jax.nn.sigmoid(1.702 * wide), x)


def tanh_shrink(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``x - tanh(x)``, without the cancellation near 0.

    >>> tanh_shrink(jnp.array([0.0])).tolist()
    [0.0]
    """
    wide = widened(x)
    is_near = jnp.abs(wide) < 1.5
    near = jnp.where(is_near, wide, 0)
    # tanh(x) = x / (1 + c) with Lambert's continued fraction c = x^2 / (3 + x^2 / (5 + ...)), all positive.
    fraction = jnp.zeros_like(near)
    for odd in range(23, 1, -2):
        fraction = near * near / (odd + fraction)
    return narrowed(jnp.where(is_near, near * fraction / (1 + fraction), wide - jnp.tanh(wide)), x)


def elu(x: Shaped[ArrayLike, "*shape"], *, alpha: Shaped[ArrayLike, " ..."] = 1.0) -> Shaped[Array, "*shape"]:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    Source: Clevert et al., Exponential Linear Units (2015), equation 15.

    >>> elu(jnp.array([2.0])).tolist()
    [2.0]
    """
    return jax.nn.elu(x, alpha)


def celu(
    x: Shaped[ArrayLike, "*shape"], *, alpha: Shaped[ArrayLike, " ..."] = 1.0
) -> Shaped[Array, "*shape"]:
    """``x`` where it is positive, else ``alpha * (exp(x / alpha) - 1)``.

    Raises:
        ValueError: ``alpha`` is the number 0.

    Source: Barron, Continuously Differentiable Exponential Linear Units (2017).

    >>> celu(jnp.array([2.0])).tolist()
    [2.0]
    """
    if isinstance(alpha, int | float) and alpha == 0:
        raise ValueError(f"celu: alpha must not be 0, got {alpha}")
    return jax.nn.celu(x, alpha)


def selu(x: Shaped[ArrayLike, "*shape"]) -> Shaped[Array, "*shape"]:
    """``1.0507 * elu(x, alpha=1.6733)``: keeps mean 0 and variance 1 through many layers.

    Source: Klambauer et al., Self-Normalizing Neural Networks (2017), equation 2.

    >>> selu(jnp.array([0.0])).tolist()
    [0.0]
    """
    return jax.nn.selu(x)


swish = silu
