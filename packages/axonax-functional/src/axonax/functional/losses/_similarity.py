"""Losses of directions and distances between embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer, Shaped

from axonax.functional import _classes, _examples
from axonax.functional.losses import _logarithms, _reduction


def cosine_similarity(
    y_true: Shaped[ArrayLike, "*shape"],
    y_pred: Shaped[ArrayLike, "*shape"],
    *,
    axis: int = -1,
    eps: float = 0.0,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""The negative cosine of the angle between targets and predictions: -1 where they agree.

    ``l_i = -sum_j y_ij p_ij / (max(|y_i|, eps) max(|p_i|, eps))`` over ``axis``; 0 with gradient 0 where one
    of them is 0. However large or small the numbers are, their squares neither overflow nor vanish.

    Args:
        y_true: targets, ``(B, ..., F)``.
        y_pred: predictions of exactly that shape.
        axis: the dimension of the vectors.
        eps: the length below which a vector counts less, 0 or more.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: shapes differ or are (), do not fit an option, or an option is out of its range.

    >>> cosine_similarity(jnp.array([[1.0, 0.0], [3.0, 4.0]]), jnp.array([[2.0, 0.0], [-3.0, -4.0]])).tolist()
    [-1.0, 1.0]
    """
    who = "cosine_similarity"
    _examples.require_nonnegative(who, "eps", eps)
    y_true, y_pred = (_reduction.last(who, each, (axis,)) for each in (y_true, y_pred))
    pair = _reduction.pair(who, y_true, y_pred, where=where, vectors=True)
    values = -jnp.sum(_direction(pair.y_true, eps) * _direction(pair.y_pred, eps), axis=-1)
    return pair.reduce(values, reduction=reduction, weights=weights)


def _direction(x: jax.Array, eps: float = 0.0) -> jax.Array:
    """``x / max(|x|, eps)`` over the last dimension; 0 with gradient 0 at 0."""
    size, scale, present = _measured(x)
    inverse = 1 / size if eps == 0 else jnp.minimum(scale / eps, 1 / size)
    return x * (present / scale)[..., None] * inverse[..., None]


def _length(x: jax.Array) -> jax.Array:
    """``|x|`` over the last dimension; 0 with gradient 0 at 0."""
    size, scale, present = _measured(x)
    return scale * size * present


def _measured(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The length of ``x`` divided by its largest number, that number, and 0 where ``x`` is 0, else 1."""
    limits = _examples.limits(x.dtype)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, initial=0.0))
    # Within these bounds the inverse is no subnormal number, which a CPU takes for 0.
    scale = jnp.clip(largest, float(limits.tiny), 1 / (8 * float(limits.tiny)))
    squares = jnp.sum(jnp.square(x / scale[..., None]), axis=-1)
    # Below 1 is x = 0 alone. A bound, not a choice: without any, a CPU's library computes all in one loop.
    return jnp.sqrt(jnp.maximum(squares, 0.5)), scale, jnp.minimum(largest / float(limits.tiny), 1)


def triplet_margin(
    y_true: None,
    y_pred: tuple[
        Shaped[ArrayLike, "*batch features"],
        Shaped[ArrayLike, "*batch features"],
        Shaped[ArrayLike, "*batch features"],
    ],
    *,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Triplet loss: the positive shall be nearer to the anchor than the negative, by a margin.

    ``l_i = max(0, |a_i - p_i| - |a_i - n_i| + margin)``; with ``swap``, ``|p_i - n_i|`` takes the place of
    ``|a_i - n_i|`` where it is smaller.

    Args:
        y_true: not read: ``None``.
        y_pred: the tuple ``(anchor, positive, negative)``, each ``(B, ..., F)``.
        margin: by how much, 0 or more.
        swap: whether the positive may stand for the anchor.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: ``y_pred`` is no triple, shapes differ, or an option is out of its range.

    >>> a, p, n = jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), jnp.array([[3.0, 4.0]])
    >>> triplet_margin(None, (a, p, n), margin=5.0).tolist()
    [1.0]

    Balntas and others, Learning local feature descriptors with triplets and shallow neural networks (2016).
    """
    who = "triplet_margin"
    _examples.require_nonnegative(who, "margin", margin)
    named = _reduction.parts(who, "y_pred", y_pred, "anchor", "positive", "negative")
    group = _reduction.group(who, named, where=where, vectors=True)
    anchor, positive, negative = group.arrays
    far = _length(anchor - negative)
    if swap:
        far = jnp.minimum(far, _length(positive - negative))
    values = jnp.maximum(_length(anchor - positive) - far + margin, 0)
    return group.reduce(values, reduction=reduction, weights=weights)


def contrastive(
    y_true: Shaped[ArrayLike, "*batch"],
    y_pred: tuple[Shaped[ArrayLike, "*batch features"], Shaped[ArrayLike, "*batch features"]],
    *,
    margin: float = 1.0,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Contrastive loss of pairs: together near each other, others apart by a margin.

    ``l_i = y_i d_i^2 + (1 - y_i) max(0, margin - d_i)^2`` with ``d_i = |first_i - second_i|``.

    Args:
        y_true: 1 for a pair that belongs together, 0 for others; ``(B, ...)``.
        y_pred: the tuple ``(first, second)`` of embeddings, each ``(B, ..., F)``.
        margin: how far apart the others shall be, 0 or more.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least.

    Raises:
        ValueError: ``y_pred`` is no pair, shapes differ, or an option is out of its range.

    >>> first, second = jnp.zeros((2, 2)), jnp.array([[0.0, 0.5], [0.0, 0.5]])
    >>> contrastive(jnp.array([1, 0]), (first, second)).tolist()
    [0.25, 0.25]

    Hadsell and others, Dimensionality reduction by learning an invariant mapping (2006).
    """
    who = "contrastive"
    _examples.require_nonnegative(who, "margin", margin)
    named = _reduction.parts(who, "y_pred", y_pred, "first", "second")
    group = _reduction.group(who, named, where=where, vectors=True)
    first, second = group.arrays
    gap = first - second
    if jnp.shape(y_true) != gap.shape[:-1]:
        raise ValueError(
            f"{who}: y_true must have the shape {gap.shape[:-1]} of the pairs, got {jnp.shape(y_true)}"
        )
    together = jnp.asarray(y_true).astype(gap.dtype)
    together = together if group.kept is None else jnp.where(group.kept, together, 0)
    apart = jnp.square(jnp.maximum(margin - _length(gap), 0))
    values = together * jnp.sum(jnp.square(gap), axis=-1) + (1 - together) * apart
    return group.reduce(values, reduction=reduction, weights=weights)


def info_nce(
    y_true: Integer[ArrayLike, " batch"] | None,
    y_pred: tuple[Shaped[ArrayLike, "batch features"], Shaped[ArrayLike, "keys features"]],
    *,
    temperature: float = 0.1,
    normalize: bool = True,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""InfoNCE: each query shall find its key among those of the whole batch.

    ``l_i = -log softmax_j(s_ij / temperature)[y_i]`` with ``s_ij`` the cosine of query ``i`` and key ``j``,
    or their inner product without ``normalize``. A key that ``where`` removes is no negative either.

    Args:
        y_true: the integer index of each query's key, ``(B,)``; ``None`` pairs them in order.
        y_pred: the tuple ``(queries, keys)``, each ``(B, F)``.
        temperature: above 0.
        normalize: whether embeddings are brought to length 1.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each query, ``(B,)``; 0 removes a query, its key stays.
        where: booleans ``(B,)``; an example with False does not exist, whatever it holds.

    Returns:
        ``(B,)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least for
        "mean" and "sum". Computed in float32 at least. An index out of range gives NaN under ``jit``.

    Raises:
        ValueError: ``y_pred`` is no pair, shapes differ, or an option is out of its range.

    >>> queries = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> [round(each, 4) for each in info_nce(None, (queries, queries), temperature=1.0).tolist()]
    [0.3133, 0.3133]

    Oord and others, Representation learning with contrastive predictive coding (2018).
    """
    who = "info_nce"
    _examples.require_positive(who, "temperature", temperature)
    named = _reduction.parts(who, "y_pred", y_pred, "queries", "keys")
    group = _reduction.group(who, named, where=where, vectors=True)
    queries, keys = group.arrays
    if queries.ndim != 2:
        raise ValueError(f"{who}: queries and keys must have the shape (B, F), got {queries.shape}")
    if normalize:
        queries, keys = _direction(queries), _direction(keys)
    scores = jnp.matmul(queries, keys.T, precision=jax.lax.Precision.HIGHEST) / temperature
    if group.kept is not None:
        scores = jnp.where(group.kept[None, :] | jnp.eye(len(keys), dtype=bool), scores, -jnp.inf)
    log_p = _logarithms.log_softmax(scores)
    if y_true is None:
        return group.reduce(-jnp.diagonal(log_p), reduction=reduction, weights=weights)
    classes = _classes.describe(who, y_true, log_p, axis=-1, sparse=True)
    _classes.require_in_range(classes, y_true, where, None)
    index = _classes.labels(classes, y_true)
    valid = (index >= 0) & (index < classes.count)
    picked = jnp.take_along_axis(log_p, jnp.where(valid, index, 0)[:, None], axis=-1)[:, 0]
    return group.reduce(jnp.where(valid, -picked, jnp.nan), reduction=reduction, weights=weights)
