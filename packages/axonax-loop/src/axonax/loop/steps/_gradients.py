"""What is done to gradients before the optimizer gets them: clip, sum up, look whether they are finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.tensor.precision import promoted

PyTree = Any


class Gradient(NamedTuple):
    """The mean loss of a batch, its gradient, and the weight that both are a mean over."""

    loss: jax.Array
    tree: PyTree
    weight: Any


class Sums(NamedTuple):
    """Batches since the last step, their weight, and the weighted sums of losses and gradients."""

    batches: jax.Array
    weight: jax.Array
    loss: jax.Array
    tree: PyTree


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How far gradients may go: all of them by their norm, or each number by itself."""

    norm: float | None = None
    value: float | None = None

    def __str__(self) -> str:
        return f"norm {self.norm:g}" if self.norm is not None else f"value {self.value:g}"

    def __call__(self, gradients: PyTree) -> PyTree:
        """The gradients, in their dtypes; the norm is taken in float32 at least."""
        if self.value is not None:
            limit = self.value
            return jax.tree.map(lambda leaf: jnp.clip(leaf, -limit, limit), gradients)
        size = norm(gradients)
        share = jnp.minimum(1, (self.norm or 0) / jnp.where(size > 0, size, 1))

        def shrink(leaf: jax.Array) -> jax.Array:
            wide = leaf.astype(promoted(leaf.dtype, jnp.float32))
            return (wide * share.astype(wide.dtype)).astype(leaf.dtype)

        return jax.tree.map(shrink, gradients)


def make_clip(norm: float | None, value: float | None) -> Clip:
    """The clip by one of the two.

    Raises:
        ValueError: none or both are given, or one that is no finite number above 0.
    """
    if (norm is None) == (value is None):
        raise ValueError(f"clip: takes norm= or value=, got norm={norm!r} and value={value!r}")
    for name, limit in (("norm", norm), ("value", value)):
        if limit is None:
            continue
        number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
        if not number or limit <= 0:
            raise ValueError(f"clip: {name} must be a finite number above 0, got {limit!r}")
    return Clip(norm=norm, value=value)


def norm(tree: PyTree) -> jax.Array:
    """The Euclidean norm of all numbers in a tree, in float32."""
    leaves = [jnp.abs(leaf) for leaf in jax.tree.leaves(tree)]
    squares = [jnp.square(leaf.astype(promoted(leaf.dtype, jnp.float32))).sum() for leaf in leaves]
    return jnp.sqrt(sum((each.astype(jnp.float32) for each in squares), jnp.zeros((), jnp.float32)))


def finite(loss: Any, tree: PyTree) -> jax.Array:
    """Whether a loss and all numbers of its gradient are finite."""
    found = [jnp.isfinite(leaf).all() for leaf in (loss, *jax.tree.leaves(tree))]
    return jnp.stack(found).all()


def no_sums(params: PyTree) -> Sums:
    """The sums of no batches."""
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf, promoted(jnp.result_type(leaf), jnp.float32)), params
    )
    # Arrays of their own: a step gives away each of them.
    return Sums(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32), zeros)


def added(sums: Sums, new: Gradient) -> Sums:
    """The sums with one more batch; one without weight may have a mean of NaN."""
    weight = jnp.asarray(new.weight, jnp.float32)

    def add(old: jax.Array, leaf: Any) -> jax.Array:
        return old + jnp.where(weight > 0, weight.astype(old.dtype) * jnp.asarray(leaf, old.dtype), 0)

    loss, tree = jax.tree.map(add, (sums.loss, sums.tree), (new.loss, new.tree))
    return Sums(sums.batches + 1, sums.weight + weight, loss, tree)


def mean(sums: Sums, like: PyTree) -> Gradient:
    """The loss and gradient of the big batch, in the dtypes of ``like``."""
    weight = jnp.where(sums.weight > 0, sums.weight, 1)

    def divide(leaf: jax.Array) -> jax.Array:
        return leaf / weight.astype(leaf.dtype)

    tree = jax.tree.map(lambda leaf, old: divide(leaf).astype(jnp.asarray(old).dtype), sums.tree, like)
    return Gradient(divide(sums.loss), tree, sums.weight)


def kept(sums: Sums, full: Any) -> Sums:
    """The sums, or those of no batches after a step."""
    return Sums(*jax.tree.map(lambda leaf: jnp.where(full, jnp.zeros_like(leaf), leaf), tuple(sums)))
