"""How targets name the classes of a prediction: by integer index, or by one number a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _examples


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The class dimension of a prediction, and the form of its targets."""

    who: str
    axis: int
    count: int
    sparse: bool
    shape: tuple[int, ...]
    """the shape of the examples: the prediction's without its class dimension"""


def describe(who: str, y_true: Any, y_pred: Any, *, axis: int, sparse: bool | None) -> Classes:
    """Read from shapes and dtypes alone whether targets are indices or have one number a class.

    Args:
        who: the loss or metric, for errors.
        y_true: integers of the shape of the examples, or numbers of the shape of ``y_pred``.
        y_pred: any array with a class dimension.
        axis: the class dimension.
        sparse: True and False insist on one form; indices may then keep a class dimension of size 1.

    Raises:
        ValueError: the shapes fit neither form, or indices are no integers.
    """
    true, pred = np.shape(y_true), np.shape(y_pred)
    if not -len(pred) <= axis < len(pred):
        raise ValueError(f"{who}: axis must be a dimension of y_pred of shape {pred}, got {axis}")
    axis %= len(pred)
    examples = pred[:axis] + pred[axis + 1 :]
    column = (*pred[:axis], 1, *pred[axis + 1 :])
    if sparse is None and pred == column:
        _examples.require_same_shape(who, y_true, y_pred)
    indexed = true == examples or (sparse is True and true == column)
    if (sparse is not False and indexed) or (sparse is not True and true == pred):
        found = Classes(who=who, axis=axis, count=pred[axis], sparse=indexed, shape=examples)
        _require_integers(found, y_true)
        return found
    raise ValueError(f"{who}: y_true must have {_forms(sparse, examples, pred)}, got {true} and {pred}")


def _forms(sparse: bool | None, examples: tuple[int, ...], pred: tuple[int, ...]) -> str:
    """What would have fitted, in words."""
    indices = f"the shape {examples} (integer class indices)"
    full = f"the shape {pred} of y_pred (one-hot or probabilities)"
    return {True: indices, False: full, None: f"{indices} or {full}"}[sparse]


def _require_integers(classes: Classes, y_true: Any) -> None:
    dtype = _examples.dtype_of(y_true)
    if classes.sparse and not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(
            f"{classes.who}: y_true of shape {np.shape(y_true)} against {classes.count} classes must hold "
            f"integer class indices, got {dtype}; cast it (y_true.astype(int)) if it holds whole numbers"
        )


def counted(classes: Classes, y_true: Any, where: Any, ignore_index: int | None) -> jax.Array | None:
    """The mask of the examples that count: what ``where`` keeps and ``ignore_index`` does not drop."""
    kept = _examples.mask(classes.who, where, classes.shape)
    if ignore_index is None:
        return kept
    if not classes.sparse:
        raise ValueError(
            f"{classes.who}: ignore_index needs integer class indices, got y_true of shape {np.shape(y_true)}"
        )
    valid = labels(classes, y_true) != ignore_index
    return valid if kept is None else kept & valid


def labels(classes: Classes, y_true: Any) -> jax.Array:
    """Class indices of the shape of the examples, as int32; what does not fit is no class either way."""
    return jnp.asarray(y_true).reshape(classes.shape).astype(jnp.int32)


def require_in_range(classes: Classes, y_true: Any, where: Any, ignore_index: int | None) -> None:
    """Fail on an index that names no class, where the host can see it; traced indices pass."""
    found = None
    if classes.sparse and _examples.is_concrete(y_true):
        found = _examples.readable(np.asarray(y_true).reshape(classes.shape), where)
    if found is None:
        return
    wrong = (found < 0) | (found >= classes.count)
    if ignore_index is not None:
        wrong &= found != ignore_index
    if wrong.any():
        raise ValueError(
            f"{classes.who}: class indices must be in [0, {classes.count}), got {found[wrong].ravel()[0]}"
        )


def class_weights(who: str, weights: Any, like: jax.Array) -> jax.Array:
    """One weight a class, ``(1, ..., 1, K)`` against ``like`` of shape ``(B, ..., K)``, in its dtype."""
    found, count = jnp.asarray(weights), like.shape[-1]
    if found.shape != (count,):
        raise ValueError(
            f"{who}: class_weights must have shape ({count},), one for each class, got {found.shape}"
        )
    return found.astype(like.dtype).reshape((1,) * (like.ndim - 1) + (count,))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Targets of one number a class and scores, both ``(B, ..., K)``, masked examples replaced by 0."""

    targets: jax.Array
    """NaN where an index is out of range"""
    scores: jax.Array
    kept: jax.Array | None
    dtype: Any


def gather(
    who: str,
    y_true: Any,
    y_pred: Any,
    *,
    axis: int,
    sparse: bool | None,
    where: Any,
    ignore_index: int | None = None,
) -> Scores:
    """Check targets of either form against predictions, and bring both to one, in the computing dtype."""
    classes = describe(who, y_true, y_pred, axis=axis, sparse=sparse)
    kept = counted(classes, y_true, where, ignore_index)
    require_in_range(classes, y_true, where, ignore_index)
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    dtype = _examples.floating_dtype(who, y_true, y_pred)
    wide = _examples.computing_dtype(dtype)
    scores = jnp.moveaxis(y_pred, classes.axis, -1).astype(wide)
    if classes.sparse:
        index = labels(classes, y_true)
        valid = (index >= 0) & (index < classes.count)
        targets = jnp.where(valid[..., None], jax.nn.one_hot(index, classes.count, dtype=wide), jnp.nan)
    else:
        targets = jnp.moveaxis(y_true, classes.axis, -1).astype(wide)
    if kept is not None:
        targets, scores = (jnp.where(kept[..., None], each, 0) for each in (targets, scores))
    return Scores(targets=targets, scores=scores, kept=kept, dtype=dtype)
