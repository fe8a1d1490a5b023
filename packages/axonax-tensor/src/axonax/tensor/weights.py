"""Weights made of weights: pruned, widened, and with an update of low rank."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key, Shaped

from axonax.tensor.layers import dense


def prune(weights: Shaped[ArrayLike, "*shape"], fraction: float) -> Shaped[Array, "*shape"]:
    """The weights with the smallest of them set to 0.

    ``round(fraction * size)`` weights of least magnitude become 0; of equal ones the first do.

    Args:
        weights: any shape.
        fraction: how many, in [0, 1].

    Returns:
        the same shape and dtype.

    Raises:
        ValueError: ``fraction`` is not in [0, 1].

    >>> prune(jnp.array([3.0, -1.0, 2.0, -4.0]), 0.5).tolist()
    [3.0, 0.0, 0.0, -4.0]
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"prune: fraction must be in [0, 1], got {fraction}")
    weights = jnp.asarray(weights)
    flat = jnp.ravel(weights)
    smallest = jnp.argsort(jnp.abs(flat), stable=True)[: round(fraction * flat.size)]
    return jnp.reshape(flat.at[smallest].set(0), weights.shape)


def copies(key: Key[Array, ""] | Array, units: int, wider: int) -> Int[Array, " wider"]:
    """Which of ``units`` units each unit of a wider layer is a copy of: all of them, then some at random.

    Args:
        key: a PRNG key.
        units: how many there are.
        wider: how many there shall be.

    Returns:
        integers ``(wider,)`` below ``units``, the first of them ``0, 1, ..., units - 1``.

    Raises:
        ValueError: ``wider`` is less than ``units``.

    >>> copies(jax.random.key(0), 3, 5)[:3].tolist()
    [0, 1, 2]
    """
    if wider < units:
        raise ValueError(f"copies: a layer of {units} units does not become wider by {wider}")
    drawn = jax.random.randint(key, (wider - units,), 0, units)
    return jnp.concatenate([jnp.arange(units, dtype=drawn.dtype), drawn])


def widen_outputs(weights: Shaped[ArrayLike, "*inputs units"], copied: Int[ArrayLike, " wider"]) -> Array:
    """The kernel or bias of a wider layer, whose units are copies.

    Args:
        weights: ``(..., units)``.
        copied: what each unit is a copy of, as of `copies`.

    Returns:
        ``(..., wider)``.

    Source: Chen et al., Net2Net: Accelerating Learning via Knowledge Transfer (2016), equation 2.

    >>> widen_outputs(jnp.array([[1.0, 2.0]]), jnp.array([0, 1, 1])).tolist()
    [[1.0, 2.0, 2.0]]
    """
    return jnp.take(jnp.asarray(weights), jnp.asarray(copied), axis=-1)


def widen_inputs(
    kernel: Float[ArrayLike, "units outputs"], copied: Int[ArrayLike, " wider"]
) -> Float[Array, "wider outputs"]:
    """The kernel of a layer that follows a wider one: the copies of a unit share its weights.

    Args:
        kernel: ``(units, outputs)``.
        copied: what each unit is a copy of, as of `copies`.

    Returns:
        ``(wider, outputs)``, so that the sum over the units is what it was.

    Source: Chen et al., Net2Net: Accelerating Learning via Knowledge Transfer (2016), equation 2.

    >>> widen_inputs(jnp.array([[1.0], [2.0]]), jnp.array([0, 1, 1])).tolist()
    [[1.0], [1.0], [1.0]]
    """
    kernel, copied = jnp.asarray(kernel), jnp.asarray(copied)
    counts = jnp.bincount(copied, length=kernel.shape[0])
    shares = kernel / counts[:, None].astype(kernel.dtype)
    return jnp.take(shares, copied, axis=0)


def low_rank_dense(
    x: Float[ArrayLike, "*batch inputs"],
    kernel: Float[ArrayLike, "inputs units"],
    a: Float[ArrayLike, "inputs rank"],
    b: Float[ArrayLike, "rank units"],
    bias: Float[ArrayLike, " units"] | None = None,
    *,
    scale: float = 1.0,
) -> Float[Array, "*batch units"]:
    """``x @ kernel + bias + scale * (x @ a) @ b``: a dense layer with an update of low rank.

    Args:
        x: ``(..., in)``.
        kernel: ``(in, units)``.
        a: ``(in, rank)``.
        b: ``(rank, units)``; with zeros it is the dense layer, to the bit.
        bias: ``(units,)`` or none.
        scale: of the update.

    Returns:
        ``(..., units)``.

    Raises:
        ValueError: shapes that do not fit.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021), equation 3.

    >>> x, column, one = jnp.ones((1, 2)), jnp.ones((2, 1)), jnp.ones((1, 1))
    >>> low_rank_dense(x, column, column, one, scale=0.5).tolist()
    [[3.0]]
    """
    return dense(x, kernel, bias) + scale * dense(dense(x, a), b)


def merge_low_rank(
    kernel: Float[ArrayLike, "*layers inputs units"],
    a: Float[ArrayLike, "*layers inputs rank"],
    b: Float[ArrayLike, "*layers rank units"],
    *,
    scale: float = 1.0,
) -> Float[Array, "*layers inputs units"]:
    """``kernel + scale * a @ b``: the kernel that does what `low_rank_dense` does.

    Args:
        kernel: ``(..., in, units)``; leading axes are those of stacked layers.
        a: ``(..., in, rank)``.
        b: ``(..., rank, units)``.
        scale: of the update.

    Returns:
        ``(..., in, units)``.

    Raises:
        ValueError: shapes that do not fit.

    >>> merge_low_rank(jnp.ones((2, 1)), jnp.ones((2, 1)), jnp.ones((1, 1)), scale=0.5).tolist()
    [[1.5], [1.5]]
    """
    product = dense
    for _ in range(jnp.ndim(kernel) - 2):
        product = jax.vmap(product)
    return jnp.asarray(kernel) + scale * product(a, b)
