"""Cross-entropy of one class out of several."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from axonax.functional import _classes, _examples
from axonax.functional.losses import _logarithms, _reduction, _softmax_cross_entropy
from axonax.tensor.contracts import Closing, expects

_WHO = "categorical_cross_entropy"


@expects(lambda y_true, y_pred, *, axis=-1, **options: Closing("softmax", axis))
def categorical_cross_entropy(
    y_true: Shaped[ArrayLike, " ..."],
    y_pred: Shaped[ArrayLike, " ..."],
    *,
    from_logits: bool = False,
    sparse: bool | None = None,
    class_weights: Shaped[ArrayLike, " classes"] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Cross-entropy of each example.

    ``l_i = -sum_c class_weights_c * y_ic * log p_ic`` with ``p = y_pred``, or ``softmax(y_pred)`` with
    ``from_logits``. The mean divides by ``sum_i weights_i * sum_c class_weights_c * y_ic``.

    A logit of -inf masks its class: it adds nothing, gets gradient 0 and no share of the label smoothing.
    Probabilities are not normalized; they are raised to the smallest normal number of their dtype, and the
    gradient goes on below it (bounded by 2**100). After a softmax that underflows to 0 it still vanishes in
    the softmax: train from logits.

    Args:
        y_true: integer class indices ``(B, ...)``, one dimension less than ``y_pred``; or one-hot or
            probabilities of exactly the shape of ``y_pred``.
        y_pred: probabilities or logits, ``(B, ..., K)``.
        from_logits: whether ``y_pred`` holds logits.
        sparse: True insists on class indices (and takes them as ``(B, ..., 1)`` too), False on one number
            a class; ``None`` reads it from the shapes.
        class_weights: ``(K,)``.
        label_smoothing: ``s`` in [0, 1]; targets become ``y * (1 - s) + s / K``.
        ignore_index: the class index, in range or not, whose examples do not exist.
        axis: the class dimension of ``y_pred``.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least. An index out of range gives NaN under ``jit``.

    Raises:
        ValueError: shapes fit neither form or do not fit an option, indices are no integers or, where
            their values are known, out of range, or an option is out of its range.

    >>> probabilities = jnp.array([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
    >>> print(categorical_cross_entropy(jnp.array([1, 2]), probabilities).round(4))
    [0.0513 2.3026]
    """
    _examples.require_fraction(_WHO, "label_smoothing", label_smoothing)
    classes = _classes.describe(_WHO, y_true, y_pred, axis=axis, sparse=sparse)
    kept = _classes.counted(classes, y_true, where, ignore_index)
    _classes.require_in_range(classes, y_true, where, ignore_index)
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    dtype = _examples.floating_dtype(_WHO, y_true, y_pred)
    scores = _scores(classes, y_pred, kept, _examples.computing_dtype(dtype), from_logits)
    scale = None if class_weights is None else _classes.class_weights(_WHO, class_weights, scores.array)
    if classes.sparse:
        values, shares = _of_indices(_classes.labels(classes, y_true), scores, scale, label_smoothing)
    else:
        targets = jnp.moveaxis(y_true, classes.axis, -1).astype(scores.array.dtype)
        targets = targets if kept is None else jnp.where(kept[..., None], targets, 0)
        values = _of_distributions(targets, scores, scale, label_smoothing)
        shares = None if scale is None else jnp.sum(targets * scale, axis=-1)
    return _reduction.reduce(
        _WHO, values, reduction=reduction, weights=weights, kept=kept, dtype=dtype, shares=shares
    )


class _Scores(NamedTuple):
    """Logits, or probabilities that are raised to ``floor``; ``(B, ..., K)``."""

    array: jax.Array
    floor: float | None


def _scores(
    classes: _classes.Classes, y_pred: jax.Array, kept: jax.Array | None, dtype: Any, from_logits: bool
) -> _Scores:
    scores = jnp.moveaxis(y_pred, classes.axis, -1)
    floor = None if from_logits else float(_examples.limits(scores.dtype).tiny)
    scores = scores.astype(dtype)
    if kept is not None:
        # Replaced before the logarithm, a NaN in a masked example reaches neither value nor gradient.
        scores = jnp.where(kept[..., None], scores, 1)
    return _Scores(scores, floor)


def _of_indices(
    labels: jax.Array, scores: _Scores, class_weights: jax.Array | None, smoothing: float
) -> tuple[jax.Array, jax.Array | None]:
    """The values, NaN where an index is out of range, and the shares in the mean."""
    count = scores.array.shape[-1]
    valid = (labels >= 0) & (labels < count)
    index = jnp.where(valid, labels, 0)
    shares = None if class_weights is None else class_weights.ravel()[index]
    if smoothing > 0:
        targets = jax.nn.one_hot(index, count, dtype=scores.array.dtype)
        values = _of_distributions(targets, scores, class_weights, smoothing)
    else:
        values = _at(index, scores)
        if shares is not None:
            # 0 * inf is NaN: a class without weight adds nothing, even if it is masked.
            values = shares * jnp.where((shares == 0) & jnp.isinf(values), 0, values)
    return jnp.where(valid, values, jnp.nan), shares


def _at(index: jax.Array, scores: _Scores) -> jax.Array:
    if scores.floor is None:
        return _softmax_cross_entropy.of_indices(scores.array, index)
    return -_logarithms.floored(_softmax_cross_entropy.at(scores.array, index), scores.floor)


def _of_distributions(
    targets: jax.Array, scores: _Scores, class_weights: jax.Array | None, smoothing: float
) -> jax.Array:
    """The values from one number a class; the smoothing is shared by the classes that are not masked."""
    if smoothing > 0:
        allowed = scores.array > -jnp.inf
        # Summed as floats: XLA adds integers up at a tenth of the pace on a CPU.
        share = smoothing / jnp.sum(allowed.astype(targets.dtype), axis=-1, keepdims=True)
        targets = targets * (1 - smoothing) + jnp.where(allowed, share, 0)
    if class_weights is not None:
        targets = targets * class_weights
    if scores.floor is None:
        return _softmax_cross_entropy.of_distributions(scores.array, targets)
    return -jnp.sum(targets * _logarithms.floored(scores.array, scores.floor), axis=-1)
