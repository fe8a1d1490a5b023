"""From one value an example to what a loss returns, and the pairs of arrays that most losses start from.

A loss is three lines on this module: `pair` checks and masks its arguments, the formula gives one value an
example, `Pair.reduce` weighs and reduces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
class Pair:
    """Targets and predictions of one shape in the computing dtype, masked examples replaced."""

    who: str
    y_true: jax.Array
    y_pred: jax.Array
    kept: jax.Array | None
    dtype: Any
    eps: float
    """the resolution of the dtype in which the predictions came"""

    def reduce(self, values: jax.Array, *, reduction: str, weights: Any) -> jax.Array:
        """`reduce` with what the pair knows."""
        return reduce(
            self.who, values, reduction=reduction, weights=weights, kept=self.kept, dtype=self.dtype
        )


def pair(who: str, y_true: Any, y_pred: Any, *, where: Any, neutral: float = 0.0) -> Pair:
    """Check that shapes agree, cast, and put ``neutral`` in place of masked examples.

    Replaced before the loss is computed, a NaN in a masked example reaches neither value nor gradient.
    """
    _examples.require_same_shape(who, y_true, y_pred)
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    dtype = _examples.floating_dtype(who, y_true, y_pred)
    wide, eps = _examples.computing_dtype(dtype), float(_examples.limits(y_pred.dtype).eps)
    y_true, y_pred = y_true.astype(wide), y_pred.astype(wide)
    examples = y_pred.shape[:-1] if y_pred.ndim > 1 else y_pred.shape
    kept = _examples.mask(who, where, examples)
    if kept is not None:
        inside = _examples.spread(who, "where", kept, y_pred.shape)
        y_true, y_pred = jnp.where(inside, y_true, neutral), jnp.where(inside, y_pred, neutral)
    return Pair(who=who, y_true=y_true, y_pred=y_pred, kept=kept, dtype=dtype, eps=eps)


def feature_mean(elements: jax.Array) -> jax.Array:
    """The mean over the last dimension; one dimension alone is that of the examples and stays."""
    if elements.ndim < 2:
        return elements
    return jnp.sum(elements, axis=-1) / max(elements.shape[-1], 1)


def clip(values: jax.Array, low: float, high: float) -> jax.Array:
    """``jnp.clip`` whose gradient passes outside the bounds as well: what was clipped can recover."""
    return values + jax.lax.stop_gradient(jnp.clip(values, low, high) - values)
