"""Activations of which one half gates the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor._moments import narrowed, widened
from axonax.tensor.activations import _smooth


def glu(x: Shaped[ArrayLike, "*shape"], *, axis: int = -1) -> Shaped[Array, " ..."]:
    """``a * sigmoid(b)``, where ``a`` and ``b`` are the halves of ``x`` along ``axis``.

    Args:
        x: any shape whose size along ``axis`` is even.
        axis: the axis that is halved.

    Raises:
        ValueError: the size is odd.

    Source: Dauphin et al., Language Modeling with Gated Convolutional Networks (2016), equation 1.

    >>> glu(jnp.array([2.0, 0.0])).tolist()
    [1.0]
    """
    a, b = _halves("glu", x, axis)
    return narrowed(a * jax.nn.sigmoid(b), x)


def swiglu(x: Shaped[ArrayLike, "*shape"], *, axis: int = -1) -> Shaped[Array, " ..."]:
    """``silu(a) * b``, where ``a`` and ``b`` are the halves of ``x`` along ``axis``.

    Args:
        x: any shape whose size along ``axis`` is even.
        axis: the axis that is halved.

    Raises:
        ValueError: the size is odd.

    Source: Shazeer, GLU Variants Improve Transformer (2020), equation 5.

    >>> swiglu(jnp.array([0.0, 2.0])).tolist()
    [0.0]
    """
    a, b = _halves("swiglu", x, axis)
    return narrowed(jax.nn.silu(a) * b, x)


def geglu(
    x: Shaped[ArrayLike, "*shape"], *, axis: int = -1, approximate: bool = False
) -> Shaped[Array, " ..."]:
    """``gelu(a) * b``, where ``a`` and ``b`` are the halves of ``x`` along ``axis``.

    Args:
        x: any shape whose size along ``axis`` is even.
        axis: the axis that is halved.
        approximate: as for `gelu`.

    Raises:
        ValueError: the size is odd.

    Source: Shazeer, GLU Variants Improve Transformer (2020), equation 5.

    >>> geglu(jnp.array([0.0, 2.0])).tolist()
    [0.0]
    """
    a, b = _halves("geglu", x, axis)
    return narrowed(_smooth.gelu(a, approximate=approximate) * b, x)


def reglu(x: Shaped[ArrayLike, "*shape"], *, axis: int = -1) -> Shaped[Array, " ..."]:
    """``relu(a) * b``, where ``a`` and ``b`` are the halves of ``x`` along ``axis``.

    Args:
        x: any shape whose size along ``axis`` is even.
        axis: the axis that is halved.

    Raises:
        ValueError: the size is odd.

    Source: Shazeer, GLU Variants Improve Transformer (2020), equation 5.

    >>> reglu(jnp.array([3.0, 2.0])).tolist()
    [6.0]
    """
    a, b = _halves("reglu", x, axis)
    return narrowed(jax.nn.relu(a) * b, x)


def _halves(op: str, x: ArrayLike, axis: int) -> tuple[jax.Array, jax.Array]:
    size = jnp.shape(x)[axis]
    if size % 2:
        raise ValueError(f"{op}: axis {axis} must have an even size, got {size} in {jnp.shape(x)}")
    a, b = jnp.split(widened(x), 2, axis)
    return a, b
