"""Matrices with a structure: orthogonal, identical, sparse."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor.initializers._draw import Initializer, Shape, check_not_negative, factory, random
from axonax.tensor.precision import promoted


@factory
def identity(*, gain: float = 1.0) -> Initializer:
    """``gain`` on the diagonal, 0 elsewhere, in any dtype.

    Raises:
        ValueError: when called, a shape that has not two axes.

    >>> identity()(jax.random.key(0), (2, 3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        if len(shape) != 2:
            raise ValueError(f"identity: shape must have 2 axes, got {tuple(shape)}")
        return jnp.eye(shape[0], shape[1], dtype=dtype) * jnp.asarray(gain, dtype)

    return init


@factory
def dirac(*, groups: int = 1, gain: float = 1.0) -> Initializer:
    """A kernel ``(*window, in / groups, out)`` whose convolution with ``padding="same"`` keeps its inputs.

    In each group, output ``i`` is ``gain`` times input ``i``; outputs beyond the inputs are 0.

    Args:
        groups: of the convolution.
        gain: the factor.

    Raises:
        ValueError: when called, a shape that has not 3 to 5 axes, or outputs that ``groups`` does not
            divide.

    >>> dirac()(jax.random.key(0), (3, 1, 1)).ravel().tolist()
    [0.0, 1.0, 0.0]
    """

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        _check_window("dirac", shape)
        if groups < 1 or shape[-1] % groups:
            raise ValueError(f"dirac: groups must divide the outputs, got {groups} and shape {tuple(shape)}")
        block = jnp.eye(shape[-2], shape[-1] // groups, dtype=dtype) * jnp.asarray(gain, dtype)
        return jnp.zeros(shape, dtype).at[_center(shape)].set(jnp.tile(block, (1, groups)))

    return init


@factory
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
        wide = promoted(dtype, jnp.float32)
        return jax.nn.initializers.orthogonal(gain, axis)(key, shape, wide).astype(dtype)

    return random("orthogonal", draw, least_axes=2)


@factory
def delta_orthogonal(*, gain: float = 1.0) -> Initializer:
    """A kernel ``(*window, in, out)``: `orthogonal` in the middle of the window, 0 elsewhere.

    Raises:
        ValueError: when called, a shape that has not 3 to 5 axes or has fewer outputs than inputs, or a
            dtype that is not float.

    Source: Xiao et al., How to Train 10,000-Layer Vanilla CNNs (2018), algorithm 1.

    >>> bool(delta_orthogonal()(jax.random.key(0), (3, 2, 4))[0].any())
    False
    """

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        _check_window("delta_orthogonal", shape)
        if shape[-1] < shape[-2]:
            raise ValueError(
                f"delta_orthogonal: outputs must not be fewer than inputs, got shape {tuple(shape)}"
            )
        middle = orthogonal(gain=gain)(key, tuple(shape[-2:]), dtype)
        return jnp.zeros(shape, dtype).at[_center(shape)].set(middle)

    return random("delta_orthogonal", draw)


@factory
def sparse(*, sparsity: float = 0.9, stddev: float = 0.01) -> Initializer:
    """Normal, but of the inputs of each unit (the last axis) a share, ``sparsity``, starts at exactly 0.

    Args:
        sparsity: in [0, 1]; ``ceil(sparsity * inputs)`` values of each unit are 0.
        stddev: of the others.

    Raises:
        ValueError: ``sparsity`` outside [0, 1] or a negative ``stddev``; when called, a shape of fewer than
            two axes or a dtype that is not float.

    Source: Martens, Deep learning via Hessian-free optimization (2010), section 5.

    >>> int((sparse(sparsity=0.75)(jax.random.key(0), (8, 3)) == 0).sum())
    18
    """
    check_not_negative("sparse", "stddev", stddev)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse: sparsity must be in [0, 1], got {sparsity}")

    def draw(key: Any, shape: Shape, dtype: Any) -> jax.Array:
        inputs = math.prod(shape[:-1])
        values, order = jax.random.split(key)
        normal = stddev * jax.random.normal(values, (inputs, shape[-1]), dtype)
        rank = jnp.argsort(jax.random.uniform(order, normal.shape), 0)
        return jnp.where(rank < math.ceil(sparsity * inputs), 0, normal).reshape(shape)

    return random("sparse", draw, least_axes=2)


def _check_window(name: str, shape: Shape) -> None:
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"{name}: shape must be (*window, in, out) with 3 to 5 axes, got {tuple(shape)}")


def _center(shape: Shape) -> tuple[int, ...]:
    """The element of the window that "same" padding lays on the output's own position."""
    return tuple((size - 1) // 2 for size in shape[:-2])
