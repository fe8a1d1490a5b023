"""A penalty that keeps logits near those of a normalized distribution."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _logarithms, _reduction


def z_loss(
    y_true: Any,
    y_pred: Shaped[ArrayLike, "*batch classes"],
    *,
    coefficient: float = 1e-4,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Penalty of unnormalized logits, to add to a cross-entropy.

    ``l_i = coefficient (log sum_c exp y_pred_ic)^2``.

    Args:
        y_true: not read.
        y_pred: logits, ``(B, ..., K)``.
        coefficient: 0 or more.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: ``coefficient`` is negative, or ``weights`` or ``where`` do not fit.

    >>> round(z_loss(None, jnp.zeros((1, 8)), coefficient=1.0).item(), 4)  # (log 8)^2
    4.3241

    Chowdhery and others, PaLM (2022), section 5.
    """
    _examples.require_nonnegative("z_loss", "coefficient", coefficient)
    group = _reduction.group("z_loss", {"y_pred": y_pred}, where=where, vectors=True)
    logits = group.arrays[0]
    # The largest logit is a constant to the sum: both terms together have the slope of the softmax.
    top = _logarithms.largest(logits)
    # Beside the largest, what a sum of nearly 1 rounds away is nothing.
    total = jnp.log(jnp.sum(jnp.exp(_logarithms.below(logits, top)), axis=-1)) + top[..., 0]
    return group.reduce(coefficient * jnp.square(total), reduction=reduction, weights=weights)
