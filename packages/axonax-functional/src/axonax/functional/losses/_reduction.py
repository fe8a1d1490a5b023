"""From one value an example to what a loss returns, and the pairs of arrays that most losses start from.

A loss is three lines on this module: `pair` checks and masks its arguments, the formula gives one value an
example, `Pair.reduce` weighs and reduces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.tensor import names


def reduce(
    who: str,
    values: jax.Array,
    *,
    reduction: str,
    weights: Any,
    kept: jax.Array | None,
    dtype: Any,
    shares: jax.Array | None = None,
) -> jax.Array:
    """Weigh the values of the examples, drop the masked ones, reduce.

    Args:
        who: the loss, for errors.
        values: one value an example, ``(B, ...)``, in float32 at least.
        reduction: "none", "mean" (over the sum of weights) or "sum".
        weights: numbers of shape ``(B, ...)`` or its leading dimensions, or ``None``.
        kept: booleans of the shape of ``values``, or ``None``.
        dtype: of the result of "none"; "mean" and "sum" stay in the dtype of ``values``.
        shares: what each example counts for in the mean before ``weights``; ones if ``None``.
    """
    finish = names.lookup(_REDUCTIONS, reduction, "reduction")
    shares = jnp.ones_like(values) if shares is None else shares
    if weights is not None:
        weights = _examples.spread(who, "weights", weights, values.shape).astype(values.dtype)
        # 0 * inf is NaN: an example of weight 0 is out, whatever its value.
        values = jnp.where((weights == 0) & ~jnp.isfinite(values), 0, values) * weights
        shares = shares * weights
    if kept is not None:
        values, shares = jnp.where(kept, values, 0), jnp.where(kept, shares, 0)
    return finish(values, shares, dtype)


def _mean(values: jax.Array, shares: jax.Array, dtype: Any) -> jax.Array:
    total = jnp.sum(shares)
    empty = total == 0
    return jnp.where(empty, 0, jnp.sum(values) / jnp.where(empty, 1, total))


_REDUCTIONS: dict[str, Callable[[jax.Array, jax.Array, Any], jax.Array]] = {
    "none": lambda values, shares, dtype: values.astype(dtype),
    "mean": _mean,
    "sum": lambda values, shares, dtype: jnp.sum(values),
}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Arrays of one shape in the computing dtype, masked examples replaced."""

    who: str
    arrays: tuple[jax.Array, ...]
    kept: jax.Array | None
    dtype: Any

    def reduce(self, values: jax.Array, *, reduction: str, weights: Any) -> jax.Array:
        """`reduce` with what the group knows."""
        return reduce(
            self.who, values, reduction=reduction, weights=weights, kept=self.kept, dtype=self.dtype
        )


@dataclass(frozen=True, kw_only=True)
class Pair(Group):
    """Targets and predictions of one shape."""

    eps: float
    """the resolution of the dtype in which the predictions came"""

    @property
    def y_true(self) -> jax.Array:
        """The targets."""
        return self.arrays[0]

    @property
    def y_pred(self) -> jax.Array:
        """The predictions."""
        return self.arrays[1]


def pair(
    who: str, y_true: Any, y_pred: Any, *, where: Any, neutral: float = 0.0, vectors: bool = False
) -> Pair:
    """`group` of targets and predictions."""
    found = group(who, {"y_true": y_true, "y_pred": y_pred}, where=where, neutral=neutral, vectors=vectors)
    eps = float(_examples.limits(jnp.asarray(y_pred).dtype).eps)
    return Pair(who=who, arrays=found.arrays, kept=found.kept, dtype=found.dtype, eps=eps)


def group(
    who: str, named: dict[str, Any], *, where: Any, neutral: float = 0.0, vectors: bool = False
) -> Group:
    """Check that shapes agree, cast, and put ``neutral`` in place of masked examples.

    Replaced before the loss is computed, a NaN in a masked example reaches neither value nor gradient.

    Args:
        who: the loss, for errors.
        named: the arrays by the names that errors call them.
        where: the mask of the examples, or ``None``.
        neutral: a number on which the loss and its gradient are finite.
        vectors: whether the last dimension is no example even where there is no other.
    """
    _examples.require_equal_shapes(who, named)
    arrays = [jnp.asarray(each) for each in named.values()]
    shape = arrays[0].shape
    if vectors and not shape:
        raise ValueError(f"{who}: {' and '.join(named)} must have at least one dimension, got scalars")
    dtype = _examples.floating_dtype(who, *arrays)
    wide = [each.astype(_examples.computing_dtype(dtype)) for each in arrays]
    kept = _examples.mask(who, where, shape[:-1] if vectors or len(shape) > 1 else shape)
    if kept is not None:
        inside = _examples.spread(who, "where", kept, shape)
        wide = [jnp.where(inside, each, neutral) for each in wide]
    return Group(who=who, arrays=tuple(wide), kept=kept, dtype=dtype)


def parts(who: str, name: str, value: Any, *names_of_parts: str) -> dict[str, Any]:
    """The arrays of a tuple argument, by name.

    Raises:
        ValueError: it is no tuple or list of that many.
    """
    if not isinstance(value, tuple | list) or len(value) != len(names_of_parts):
        got = f"{len(value)} of them" if isinstance(value, tuple | list) else type(value).__name__
        raise ValueError(f"{who}: {name} must be the tuple ({', '.join(names_of_parts)}), got {got}")
    return dict(zip(names_of_parts, value, strict=True))


def feature_mean(elements: jax.Array) -> jax.Array:
    """The mean over the last dimension; one dimension alone is that of the examples and stays."""
    if elements.ndim < 2:
        return elements
    return jnp.sum(elements, axis=-1) / max(elements.shape[-1], 1)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def clip(values: jax.Array, low: float, high: float) -> jax.Array:
    """``jnp.clip`` whose gradient passes outside the bounds as well: what was clipped can recover."""
    return jnp.clip(values, low, high)


@clip.defjvp
def _clip_jvp(
    low: float, high: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return clip(primals[0], low, high), tangents[0]


def feature_sum(elements: jax.Array) -> jax.Array:
    """The sum over the last dimension; one dimension alone is that of the examples and stays."""
    return elements if elements.ndim < 2 else jnp.sum(elements, axis=-1)


@jax.custom_jvp
def absolute(values: jax.Array) -> jax.Array:
    """``|values|`` with the slope 0 at 0, where ``jnp.abs`` has 1."""
    return jnp.abs(values)


@absolute.defjvp
def _absolute_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return absolute(primals[0]), jnp.sign(primals[0]) * tangents[0]


def last(who: str, value: Any, axes: tuple[int, ...]) -> jax.Array:
    """``value`` with ``axes`` moved to the end and made one.

    Raises:
        ValueError: one of them is no dimension of ``value``.
    """
    value = jnp.asarray(value)
    if not all(-value.ndim <= axis < value.ndim for axis in axes):
        raise ValueError(
            f"{who}: axis must be of the dimensions of an array of shape {value.shape}, got {axes}"
        )
    moved = jnp.moveaxis(value, axes, range(-len(axes), 0))
    kept, joined = moved.shape[: value.ndim - len(axes)], moved.shape[value.ndim - len(axes) :]
    return moved.reshape((*kept, math.prod(joined)))
