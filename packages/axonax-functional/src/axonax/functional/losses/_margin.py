"""Losses that are 0 beyond a margin, and their smooth kin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _classes, _examples
from axonax.functional.losses import _reduction


def hinge(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Hinge loss of each example.

    ``l_i = mean_j max(0, 1 - y_true_ij y_pred_ij)`` over the last dimension; with one dimension, that of the
    examples, no mean is taken.

    Args:
        y_true: labels -1 or 1, ``(B, ..., F)`` or ``(B,)``.
        y_pred: scores of exactly that shape.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> hinge(jnp.array([1, 1, -1]), jnp.array([2.0, 0.5, 0.5])).tolist()
    [0.0, 0.5, 1.5]
    """
    pair = _reduction.pair("hinge", y_true, y_pred, where=where)
    values = _reduction.feature_mean(jnp.maximum(1 - pair.y_true * pair.y_pred, 0))
    return pair.reduce(values, reduction=reduction, weights=weights)


def squared_hinge(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Squared hinge loss of each example.

    ``l_i = mean_j max(0, 1 - y_true_ij y_pred_ij)^2`` over the last dimension; with one dimension, that of
    the examples, no mean is taken.

    Args:
        y_true: labels -1 or 1, ``(B, ..., F)`` or ``(B,)``.
        y_pred: scores of exactly that shape.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> squared_hinge(jnp.array([1, 1, -1]), jnp.array([2.0, 0.5, 0.5])).tolist()
    [0.0, 0.25, 2.25]
    """
    pair = _reduction.pair("squared_hinge", y_true, y_pred, where=where)
    values = _reduction.feature_mean(jnp.square(jnp.maximum(1 - pair.y_true * pair.y_pred, 0)))
    return pair.reduce(values, reduction=reduction, weights=weights)


def categorical_hinge(
    y_true: Shaped[ArrayLike, " ..."],
    y_pred: Shaped[ArrayLike, " ..."],
    *,
    sparse: bool | None = None,
    axis: int = -1,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Hinge loss of one class out of several.

    ``l_i = max(0, 1 + max_c (1 - y_ic) p_ic - sum_c y_ic p_ic)``, as in Axon and Keras: the true class takes
    part in the maximum with a 0.

    Args:
        y_true: integer class indices ``(B, ...)``, or one-hot of exactly the shape of ``y_pred``.
        y_pred: scores or probabilities, ``(B, ..., K)``.
        sparse: True insists on class indices, False on one number a class; ``None`` reads it from the shapes.
        axis: the class dimension of ``y_pred``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least. An index out of range gives NaN under
        ``jit``.

    Raises:
        ValueError: shapes fit neither form or do not fit an option, or indices are out of range.

    >>> categorical_hinge(jnp.array([1, 0]), jnp.array([[0.5, 2.0, 0.0], [0.5, 0.25, 0.0]])).tolist()
    [0.0, 0.75]

    Crammer and Singer, On the algorithmic implementation of multiclass kernel-based vector machines (2001).
    """
    found = _classes.gather("categorical_hinge", y_true, y_pred, axis=axis, sparse=sparse, where=where)
    others = jnp.max((1 - found.targets) * found.scores, axis=-1)
    values = jnp.maximum(1 + others - jnp.sum(found.targets * found.scores, axis=-1), 0)
    return _reduction.reduce(
        "categorical_hinge",
        values,
        reduction=reduction,
        weights=weights,
        kept=found.kept,
        dtype=found.dtype,
    )


def soft_margin(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Soft margin (two-class logistic) loss of each example.

    ``l_i = sum_j log(1 + exp(-y_true_ij y_pred_ij))`` over the last dimension, a sum as in Axon (PyTorch
    takes the mean of all elements); with one dimension, that of the examples, nothing is summed.

    Args:
        y_true: labels -1 or 1, ``(B, ..., F)`` or ``(B,)``.
        y_pred: scores of exactly that shape.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> soft_margin(jnp.array([1, -1]), jnp.array([-1000.0, -1000.0])).tolist()
    [1000.0, 0.0]
    """
    pair = _reduction.pair("soft_margin", y_true, y_pred, where=where)
    values = _reduction.feature_sum(jax.nn.softplus(-pair.y_true * pair.y_pred))
    return pair.reduce(values, reduction=reduction, weights=weights)


def multilabel_soft_margin(
    y_true: Shaped[ArrayLike, "*batch classes"],
    y_pred: Shaped[ArrayLike, "*batch classes"],
    *,
    class_weights: Shaped[ArrayLike, " classes"] | None = None,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Logistic loss of labels that each may hold, from logits.

    ``l_i = mean_c class_weights_c [y_ic log(1 + exp(-x_ic)) + (1 - y_ic) log(1 + exp(x_ic))]`` over the last
    dimension: without weights, `binary_cross_entropy` from logits.

    Args:
        y_true: labels 0 or 1, ``(B, ..., K)``.
        y_pred: logits ``x`` of exactly that shape.
        class_weights: ``(K,)``; they do not enter the divisor.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ or do not fit an option.

    >>> multilabel_soft_margin(jnp.array([[0, 1]]), jnp.array([[1000.0, 1000.0]])).tolist()
    [500.0]
    """
    who = "multilabel_soft_margin"
    pair = _reduction.pair(who, y_true, y_pred, where=where, vectors=True)
    elements = (1 - pair.y_true) * jax.nn.softplus(pair.y_pred) + pair.y_true * jax.nn.softplus(-pair.y_pred)
    if class_weights is not None:
        elements = elements * _classes.class_weights(who, class_weights, elements)
    values = jnp.sum(elements, axis=-1) / max(elements.shape[-1], 1)
    return pair.reduce(values, reduction=reduction, weights=weights)


def margin_ranking(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: tuple[Shaped[ArrayLike, "*shape"], Shaped[ArrayLike, "*shape"]],
    *,
    margin: float = 0.0,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Margin ranking loss: which of two scores shall be larger, and by how much.

    ``l_i = mean_j max(0, margin - y_true_ij (first_ij - second_ij))`` over the last dimension; with one
    dimension, that of the examples, no mean is taken.

    Args:
        y_true: 1 where the first shall be larger, -1 where the second; ``(B, ..., F)`` or ``(B,)``.
        y_pred: the tuple ``(first, second)``, each of exactly that shape.
        margin: by how much.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: ``y_pred`` is no pair, shapes differ, or do not fit ``weights`` or ``where``.

    >>> margin_ranking(jnp.array([1, -1]), (jnp.array([2.0, 2.0]), jnp.array([1.0, 1.0]))).tolist()
    [0.0, 1.0]
    """
    scores = _reduction.parts("margin_ranking", "y_pred", y_pred, "first", "second")
    group = _reduction.group("margin_ranking", {"y_true": y_true, **scores}, where=where)
    sign, first, second = group.arrays
    values = _reduction.feature_mean(jnp.maximum(margin - sign * (first - second), 0))
    return group.reduce(values, reduction=reduction, weights=weights)


def hinge_embedding(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    margin: float = 1.0,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Hinge loss of distances: small for pairs that belong together, beyond a margin for others.

    ``l_i = mean_j [y_pred_ij if y_true_ij = 1 else max(0, margin - y_pred_ij)]`` over the last dimension;
    with one dimension, that of the examples, no mean is taken.

    Args:
        y_true: 1 for a pair that belongs together, -1 for others; ``(B, ..., F)`` or ``(B,)``.
        y_pred: distances of exactly that shape.
        margin: how far apart the others shall be.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ, do not fit ``weights`` or ``where``, or ``reduction`` is unknown.

    >>> hinge_embedding(jnp.array([1, -1]), jnp.array([0.25, 0.25])).tolist()
    [0.25, 0.75]
    """
    _examples.require_nonnegative("hinge_embedding", "margin", margin)
    pair = _reduction.pair("hinge_embedding", y_true, y_pred, where=where)
    elements = jnp.where(pair.y_true > 0, pair.y_pred, jnp.maximum(margin - pair.y_pred, 0))
    return pair.reduce(_reduction.feature_mean(elements), reduction=reduction, weights=weights)
