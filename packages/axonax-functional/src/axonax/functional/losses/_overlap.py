"""Losses of how little two sets overlap, for segmentation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _reduction
from axonax.tensor.contracts import Closing, expects


@expects(Closing("sigmoid"))
def tversky(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    axis: int | tuple[int, ...] = -1,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Tversky loss: the overlap of two sets, with a price for each kind of error.

    ``l_i = 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)``, 0 where that is 0 over 0, with
    ``TP = sum y p``, ``FP = sum (1 - y) p`` and ``FN = sum y (1 - p)`` over ``axis``.

    Args:
        y_true: memberships 0 or 1, ``(B, ..., F)``.
        y_pred: probabilities of exactly that shape.
        alpha: the price of a false positive, 0 or more.
        beta: the price of a false negative, 0 or more.
        smooth: added above and below, 0 or more: what an empty set is worth.
        axis: the dimensions that make up the set, such as ``(1, 2)`` for masks ``(B, H, W)``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        The shape of ``y_true`` without ``axis``, in the promoted floating dtype of the arguments for "none",
        a scalar in float32 at least for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit an option, or an option is out of its range.

    >>> tversky(jnp.array([[1.0, 1.0, 0.0]]), jnp.array([[1.0, 0.0, 0.0]]), smooth=1.0).tolist()
    [0.20000000298023224]

    Salehi and others, Tversky loss function for image segmentation (2017).
    """
    return _tversky(
        "tversky",
        y_true,
        y_pred,
        (alpha, beta, smooth),
        axis,
        reduction=reduction,
        weights=weights,
        where=where,
    )


@expects(Closing("sigmoid"))
def dice(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    smooth: float = 1.0,
    axis: int | tuple[int, ...] = -1,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Dice loss: one less the overlap of two sets.

    ``l_i = 1 - (2 sum y p + smooth) / (sum y + sum p + smooth)`` over ``axis``, 0 where that is 0 over 0.

    Args:
        y_true: memberships 0 or 1, ``(B, ..., F)``.
        y_pred: probabilities of exactly that shape.
        smooth: added above and below, 0 or more: what an empty set is worth.
        axis: the dimensions that make up the set, such as ``(1, 2)`` for masks ``(B, H, W)``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        As `tversky`.

    Raises:
        ValueError: shapes differ, do not fit an option, or an option is out of its range.

    >>> dice(jnp.array([[1.0, 1.0, 0.0]]), jnp.array([[1.0, 0.0, 0.0]])).tolist()
    [0.25]

    Milletari and others, V-Net (2016).
    """
    _examples.require_nonnegative("dice", "smooth", smooth)
    prices = (0.5, 0.5, smooth / 2)
    return _tversky("dice", y_true, y_pred, prices, axis, reduction=reduction, weights=weights, where=where)


@expects(Closing("sigmoid"))
def iou(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    smooth: float = 1.0,
    axis: int | tuple[int, ...] = -1,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Jaccard loss: one less intersection over union.

    ``l_i = 1 - (sum y p + smooth) / (sum y + sum p - sum y p + smooth)`` over ``axis``, 0 where that is 0
    over 0.

    Args:
        y_true: memberships 0 or 1, ``(B, ..., F)``.
        y_pred: probabilities of exactly that shape.
        smooth: added above and below, 0 or more: what an empty set is worth.
        axis: the dimensions that make up the set, such as ``(1, 2)`` for masks ``(B, H, W)``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        As `tversky`.

    Raises:
        ValueError: shapes differ, do not fit an option, or an option is out of its range.

    >>> iou(jnp.array([[1.0, 1.0, 0.0]]), jnp.array([[1.0, 0.0, 0.0]]), smooth=0.0).tolist()
    [0.5]

    Rahman and Wang, Optimizing intersection-over-union in deep neural networks (2016).
    """
    return _tversky(
        "iou", y_true, y_pred, (1.0, 1.0, smooth), axis, reduction=reduction, weights=weights, where=where
    )


def _tversky(
    who: str,
    y_true: Any,
    y_pred: Any,
    prices: tuple[float, float, float],
    axis: int | tuple[int, ...],
    *,
    reduction: str,
    weights: Any,
    where: Any,
) -> jax.Array:
    alpha, beta, smooth = prices
    for name, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
        _examples.require_nonnegative(who, name, value)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    pair = _reduction.pair(
        who, *(_reduction.last(who, each, axes) for each in (y_true, y_pred)), where=where, vectors=True
    )
    y, p = pair.arrays
    # As differences of elements, exact for labels of 0 and 1; a sum less a sum would not be.
    hit = y * p
    missed = jnp.sum(alpha * (p - hit) + beta * (y - hit), axis=-1)
    whole = jnp.sum(hit, axis=-1) + missed + smooth
    # 1 - (whole - missed) / whole, without the cancellation.
    values = missed / jnp.where(whole == 0, 1, whole)
    return pair.reduce(values, reduction=reduction, weights=weights)
