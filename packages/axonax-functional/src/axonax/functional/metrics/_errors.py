"""Means of errors between real numbers, of similarities and of surprise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _classes, _examples, losses
from axonax.functional.metrics import _means
from axonax.tensor.contracts import Metric


def mean_absolute_error() -> Metric:
    """Mean absolute error over all elements, ``sum_i w_i |y_pred_i - y_true_i| / sum_i w_i``.

    Returns:
        The metric of two arrays of one shape; weights and masks have that shape or its leading dimensions.
        Its value is a float32 scalar, 0 over nothing.

    Raises:
        ValueError: at the first batch, shapes differ.

    >>> float(mean_absolute_error()(jnp.array([1.0, 2.0]), jnp.array([1.5, 1.0])))
    0.75
    """
    return _means.metric("mean_absolute_error", _ABSOLUTE)


def mean_squared_error() -> Metric:
    """Mean squared error over all elements, ``sum_i w_i (y_pred_i - y_true_i)^2 / sum_i w_i``.

    Returns:
        The metric, as `mean_absolute_error`.

    Raises:
        ValueError: at the first batch, shapes differ.

    >>> float(mean_squared_error()(jnp.array([1.0, 2.0]), jnp.array([1.5, 1.0])))
    0.625
    """
    return _means.metric("mean_squared_error", _SQUARED)


def root_mean_squared_error() -> Metric:
    """Root of the mean squared error over all elements: of the whole pass, not a mean of roots.

    Returns:
        The metric, as `mean_absolute_error`.

    Raises:
        ValueError: at the first batch, shapes differ.

    >>> float(root_mean_squared_error()(jnp.array([1.0, 2.0]), jnp.array([4.0, 6.0])))
    3.535533905029297
    """
    return _means.metric("root_mean_squared_error", _SQUARED, lambda state: jnp.sqrt(_means.mean_of(state)))


def mean_absolute_percentage_error(*, eps: float = 1e-7) -> Metric:
    """Mean absolute error relative to the targets, ``mean_i |y_pred_i - y_true_i| / max(|y_true_i|, eps)``.

    A share: 0.1 is ten percent.

    Args:
        eps: the least that an error is divided by, above 0.

    Returns:
        The metric, as `mean_absolute_error`.

    Raises:
        ValueError: ``eps`` is not above 0; at the first batch, shapes differ.

    >>> float(mean_absolute_percentage_error()(jnp.array([1.0, 2.0]), jnp.array([1.5, 1.0])))
    0.5
    """
    who = "mean_absolute_percentage_error"
    if not eps > 0:
        raise ValueError(f"{who}: eps must be above 0, got {eps}")

    def relative(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
        return jnp.abs(y_pred - y_true) / jnp.maximum(jnp.abs(y_true), eps)

    return _means.metric(who, _means.elementwise(who, relative))


def cosine_similarity(*, axis: int = -1) -> Metric:
    """Cosine similarity: the mean over the examples of ``t . p / (|t| |p|)``, 0 where a side is 0.

    Args:
        axis: the dimension of the vectors.

    Returns:
        The metric of two arrays of one shape, ``(B, ..., F)``; its value is a float32 scalar in [-1, 1].

    Raises:
        ValueError: at the first batch, shapes differ.

    >>> float(cosine_similarity()(jnp.array([[3.0, 4.0], [1.0, 0.0]]), jnp.array([[6.0, 8.0], [0.0, 0.0]])))
    0.5
    """
    who = "cosine_similarity"

    def values(y_true: Any, y_pred: Any, where: Any) -> tuple[jax.Array, jax.Array | None]:
        true, pred = (_unit(each, axis) for each in _means.pair(who, y_true, y_pred))
        found = jnp.sum(true * pred, axis=axis)
        return found, _examples.mask(who, where, found.shape)

    return _means.metric(who, values)


def perplexity(
    *, from_logits: bool = False, sparse: bool | None = None, ignore_index: int | None = None, axis: int = -1
) -> Metric:
    """Perplexity: ``exp`` of the mean negative log-likelihood of the true classes, over the whole pass.

    Args:
        from_logits: whether ``y_pred`` holds logits.
        sparse: as in `accuracy`.
        ignore_index: the class index, in range or not, whose examples (padding) do not exist.
        axis: the class dimension of ``y_pred``.

    Returns:
        The metric of class indices ``(B, ...)`` or distributions ``(B, ..., K)`` and ``y_pred``
        ``(B, ..., K)``; its value is a float32 scalar, 1 over nothing.

    Raises:
        ValueError: at the first batch, shapes fit no form, or labels that can be read are no classes.

    >>> round(float(perplexity()(jnp.array([0, 1]), jnp.array([[0.5, 0.5], [0.75, 0.25]]))), 4)
    2.8284
    """
    who = "perplexity"

    def values(y_true: Any, y_pred: Any, where: Any) -> tuple[jax.Array, jax.Array | None]:
        classes = _classes.describe(who, y_true, y_pred, axis=axis, sparse=sparse)
        _classes.require_in_range(classes, y_true, where, ignore_index)
        kept = _classes.counted(classes, y_true, where, ignore_index)
        wide = jnp.asarray(y_pred).astype(_examples.computing_dtype(_examples.dtype_of(y_pred)))
        surprise = losses.categorical_cross_entropy(
            y_true, wide, from_logits=from_logits, sparse=sparse, ignore_index=ignore_index, axis=axis,
            where=where,
        )  # fmt: skip
        return surprise, kept

    return _means.metric(who, values, lambda state: jnp.exp(_means.mean_of(state)))


def entropy(*, from_logits: bool = False, axis: int = -1) -> Metric:
    """Entropy of the predictions, in nats: the mean over the examples of ``-sum_c p_c log p_c``.

    How sure a model is, whether right or not; ``y_true`` has no part in it and may be ``None``.

    Args:
        from_logits: whether ``y_pred`` holds logits.
        axis: the class dimension of ``y_pred``.

    Returns:
        The metric of probabilities or logits ``(B, ..., K)``; its value is a float32 scalar.

    Raises:
        ValueError: weights or masks do not have the shape of the examples.

    >>> round(float(entropy()(None, jnp.array([[0.5, 0.5], [1.0, 0.0]]))), 4)
    0.3466
    """
    who = "entropy"

    def values(y_true: Any, y_pred: Any, where: Any) -> tuple[jax.Array, jax.Array | None]:
        scores = jnp.asarray(y_pred)
        scores = scores.astype(_examples.computing_dtype(_examples.floating_dtype(who, scores)))
        p = jax.nn.softmax(scores, axis=axis) if from_logits else scores
        nothing = p == 0
        found = -jnp.sum(jnp.where(nothing, 0, p * jnp.log(jnp.where(nothing, 1, p))), axis=axis)
        return found, _examples.mask(who, where, found.shape)

    return _means.metric(who, values)


def _unit(vectors: jax.Array, axis: int) -> jax.Array:
    """Vectors of length 1, or 0; divided by their largest element first, nothing overflows."""
    top = jnp.max(jnp.abs(vectors), axis=axis, keepdims=True, initial=0)
    scaled = vectors / jnp.where(top == 0, 1, top)
    length = jnp.sqrt(jnp.sum(jnp.square(scaled), axis=axis, keepdims=True))
    return scaled / jnp.where(length == 0, 1, length)


_ABSOLUTE = _means.elementwise("mean_absolute_error", lambda y_true, y_pred: jnp.abs(y_pred - y_true))
_SQUARED = _means.elementwise("mean_squared_error", lambda y_true, y_pred: jnp.square(y_pred - y_true))
