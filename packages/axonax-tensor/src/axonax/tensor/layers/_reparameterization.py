"""Normalizations of neighbours and of kernels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened
from axonax.tensor.layers._arrays import per_axis
from axonax.tensor.layers._scaling import checked_axes, wide_along


def local_response_norm(
    x: Shaped[ArrayLike, "*shape"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    axis: int = -1,
) -> Shaped[Array, "*shape"]:
    """``x / (k + alpha / size * sum(x**2 over size neighbouring channels)) ** beta``.

    Args:
        x: any shape with ``channels`` on ``axis``.
        size: how many channels, ``size // 2`` of them in front; beyond the ends they count as 0.
        alpha: the weight of the mean square.
        beta: the exponent.
        k: the constant.
        axis: the axis of the channels.

    Returns:
        the shape and dtype of ``x``.

    Raises:
        ValueError: an axis that ``x`` has not, or a size below 1.

    Source: Krizhevsky et al., ImageNet Classification (2012), section 3.3, with ``alpha`` per channel as in
    PyTorch.

    >>> local_response_norm(jnp.ones((1, 1)), size=1, alpha=1.0, beta=1.0).tolist()
    [[0.5]]
    """
    (channel,) = checked_axes("local_response_norm", jnp.shape(x), axis, {})
    (size,) = per_axis("local_response_norm", "size", size, 1)
    wide = widened(x)
    pads = [(size // 2, (size - 1) // 2) if each == channel else (0, 0) for each in range(wide.ndim)]
    squares = jnp.pad(jnp.square(wide), pads)
    count = wide.shape[channel]
    total = sum(jax.lax.slice_in_dim(squares, i, i + count, axis=channel) for i in range(size))
    return narrowed(wide * (k + alpha / size * jnp.asarray(total)) ** -beta, x)


def weight_norm(
    kernel: Shaped[ArrayLike, "*shape"], scale: Shaped[ArrayLike, " units"], *, axis: int = -1
) -> Shaped[Array, "*shape"]:
    """``scale * kernel / |kernel|``, the norm over all axes but ``axis``: direction and length apart.

    Args:
        kernel: any shape with ``units`` on ``axis``.
        scale: ``(units,)``, the norms of the result.
        axis: the axis of the units.

    Returns:
        the shape and dtype of ``kernel``; 0, with gradient 0, for a unit whose kernel is 0.

    Raises:
        ValueError: shapes that do not fit.

    Source: Salimans and Kingma, Weight Normalization (2016), equation 2.

    >>> weight_norm(jnp.array([[3.0], [4.0]]), jnp.array([5.0])).tolist()
    [[3.0], [4.0]]
    """
    units = checked_axes("weight_norm", jnp.shape(kernel), axis, {"scale": scale})
    wide = widened(kernel)
    others = tuple(each for each in range(wide.ndim) if each not in units)
    square = jnp.sum(jnp.square(wide), others, keepdims=True)
    direction = jnp.where(square > 0, wide * jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
    return narrowed(direction * wide_along(scale, wide.ndim, units), kernel)


def spectral_norm(
    kernel: Shaped[ArrayLike, "*inputs units"],
    u: Shaped[ArrayLike, " units"],
    *,
    train: bool = False,
    steps: int = 1,
    eps: float = 1e-12,
) -> tuple[Shaped[Array, "*inputs units"], Shaped[Array, " units"]]:
    """``kernel`` divided by its largest singular value, which power iteration finds over many calls.

    Args:
        kernel: ``(..., units)``; all axes but the last count as inputs.
        u: the right singular vector so far, ``(units,)``; start with random numbers.
        train: improve ``u`` by ``steps`` iterations first.
        steps: iterations of a call.
        eps: the least norm that is divided by.

    Returns:
        ``(kernel / sigma, u)``; both singular vectors are constants to the gradient.

    Raises:
        ValueError: shapes that do not fit, or fewer steps than 0.

    Source: Miyato et al., Spectral Normalization (2018), algorithm 1.

    >>> kernel, u = spectral_norm(2 * jnp.eye(2), jnp.array([1.0, 0.0]))
    >>> kernel.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    checked_axes("spectral_norm", jnp.shape(kernel), -1, {"u": u})
    (steps,) = per_axis("spectral_norm", "steps", steps, 1, least=0)
    wide = widened(kernel)
    matrix = wide.reshape(-1, wide.shape[-1])
    held = jax.lax.stop_gradient(matrix)

    def unit(vector: jax.Array) -> jax.Array:
        return vector / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(vector))), eps)

    right = unit(jax.lax.stop_gradient(widened(u)).astype(wide.dtype))
    for _ in range(steps if train else 0):
        right = unit(unit(held @ right) @ held)
    left = unit(held @ right)
    sigma = left @ matrix @ right
    y = wide / jnp.where(sigma > eps, sigma, 1)
    return narrowed(y, kernel), right.astype(jnp.asarray(u).dtype) if train else jnp.asarray(u)
