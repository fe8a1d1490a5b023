"""A projection on many classes and its cross-entropy, without the logits of all examples at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer, Shaped

from axonax.functional import _classes, _examples
from axonax.functional.losses import _reduction
from axonax.functional.losses._categorical_cross_entropy import categorical_cross_entropy

_WHO = "linear_cross_entropy"
_ELEMENTS = 2**22

_Features = Shaped[ArrayLike, "*batch features"]
_Kernel = Shaped[ArrayLike, "features classes"]
_Projection = tuple[_Features, _Kernel] | tuple[_Features, _Kernel, Shaped[ArrayLike, " classes"]]


def linear_cross_entropy(
    y_true: Integer[ArrayLike, "*batch"],
    y_pred: _Projection,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    chunk_size: int | None = None,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""`categorical_cross_entropy` of ``features @ kernel + bias``, in chunks of examples.

    The logits of one chunk are in memory at a time, and are computed again on the way back.

    Args:
        y_true: integer class indices, ``(B, ...)``.
        y_pred: the tuple ``(features, kernel)`` or ``(features, kernel, bias)``: ``(B, ..., F)``, ``(F, K)``
            and ``(K,)``.
        label_smoothing: ``s`` in [0, 1]; targets become ``y * (1 - s) + s / K``.
        ignore_index: the class index, in range or not, whose examples do not exist.
        chunk_size: examples a chunk; ``None`` takes as many as make about four million logits.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B, ...)`` or its leading dimensions; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B, ...)`` in the promoted floating dtype of the arguments for "none", a scalar in float32 at least
        for "mean" and "sum". Computed in float32 at least. Products are summed in
        float32 at least. An index out of range gives NaN under ``jit``.

    Raises:
        ValueError: ``y_pred`` is no such tuple, shapes do not fit, indices are out of range, or an option is.

    >>> features, kernel = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> losses = linear_cross_entropy(jnp.array([0, 0]), (features, kernel))
    >>> [round(each, 4) for each in losses.tolist()]
    [0.3133, 2.1269]

    Wijmans and others, Cut your losses in large-vocabulary language models (2025).
    """
    _examples.require_fraction(_WHO, "label_smoothing", label_smoothing)
    features, kernel, bias = _arrays(y_pred)
    if chunk_size is None:
        chunk_size = max(1, _ELEMENTS // max(kernel.shape[1], 1))
    _examples.require_positive(_WHO, "chunk_size", chunk_size)
    logits = jax.eval_shape(jnp.matmul, features, kernel)
    classes = _classes.describe(_WHO, y_true, logits, axis=-1, sparse=True)
    kept = _classes.counted(classes, y_true, where, ignore_index)
    _classes.require_in_range(classes, y_true, where, ignore_index)
    dtype = _examples.floating_dtype(_WHO, features, kernel)
    wide = _examples.computing_dtype(dtype)
    labels = _classes.labels(classes, y_true)
    if kept is not None:
        labels, features = jnp.where(kept, labels, 0), jnp.where(kept[..., None], features, 0)

    def values(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
        labels, features = chunk
        scores = jnp.matmul(features, kernel, preferred_element_type=wide).astype(wide)
        scores = scores if bias is None else scores + bias.astype(wide)[None]
        return categorical_cross_entropy(labels, scores, from_logits=True, label_smoothing=label_smoothing)

    found = _in_chunks(values, labels.ravel(), features.reshape(-1, features.shape[-1]), chunk_size)
    return _reduction.reduce(
        _WHO, found.reshape(labels.shape), reduction=reduction, weights=weights, kept=kept, dtype=dtype
    )


def _arrays(y_pred: Any) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    names = (
        ("features", "kernel", "bias")
        if isinstance(y_pred, tuple | list) and len(y_pred) == 3
        else ("features", "kernel")
    )
    found = [jnp.asarray(each) for each in _reduction.parts(_WHO, "y_pred", y_pred, *names).values()]
    features, kernel, bias = found[0], found[1], found[2] if len(found) == 3 else None
    if kernel.ndim != 2 or features.ndim < 1 or features.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"{_WHO}: features and kernel must have the shapes (B, ..., F) and (F, K), got {features.shape} "
            f"and {kernel.shape}"
        )
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"{_WHO}: bias must have the shape {kernel.shape[1:]}, got {bias.shape}")
    return features, kernel, bias


def _in_chunks(
    values: Callable[[tuple[jax.Array, jax.Array]], jax.Array],
    labels: jax.Array,
    features: jax.Array,
    size: int,
) -> jax.Array:
    """``values`` of the whole, ``size`` examples at a time; the last chunk is filled with zeros."""
    count = labels.shape[0]
    if count <= size:
        return values((labels, features))
    chunks = -(-count // size)
    missing = chunks * size - count
    labels = jnp.pad(labels, (0, missing)).reshape(chunks, size)
    features = jnp.pad(features, ((0, missing), (0, 0))).reshape(chunks, size, -1)
    found: jax.Array = jax.lax.map(jax.checkpoint(values), (labels, features))
    return found.ravel()[:count]
