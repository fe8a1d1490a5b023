"""From arrays to labels: what is true and what is predicted of each example, by the shapes of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _classes, _examples


class LabelOptions(TypedDict, total=False):
    """How metrics of labels read ``y_true`` and ``y_pred``; the meaning stands in `Reading`."""

    threshold: float
    from_logits: bool
    sparse: bool | None
    ignore_index: int | None
    axis: int
    multilabel: bool
    classes: int | None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of a batch: class indices of the shape of the examples.

    With ``binary``, booleans with one more dimension: that of questions that stand alone.
    """

    true: jax.Array
    predicted: jax.Array
    binary: bool
    kept: jax.Array
    """booleans of the shape of the examples"""
    wrong: jax.Array
    """whether an example that counts has a label that is none"""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How labels are read.

    The shapes say what they are: binary with both ``(B,)`` or ``(B, ..., 1)``, categorical with both
    ``(B, ..., K)``, sparse with integer ``y_true`` ``(B, ...)`` and ``y_pred`` ``(B, ..., K)``.

    Args:
        who: the metric, for errors.
        threshold: above which a binary prediction means 1; a probability with ``from_logits``.
        from_logits: whether binary predictions are logits, compared after a sigmoid.
        sparse: True insists on class indices, False on one number a class; ``None`` reads it from the shapes.
        ignore_index: the class index whose examples do not exist.
        axis: the class dimension of ``y_pred``.
        multilabel: whether each of K columns of both is a binary question of its own.
        classes: how many classes there are where ``y_pred`` holds class indices as ``y_true`` does.
    """

    who: str = field(compare=False)
    threshold: float = 0.5
    from_logits: bool = False
    sparse: bool | None = None
    ignore_index: int | None = None
    axis: int = -1
    multilabel: bool = False
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.from_logits:
            _examples.require_fraction(self.who, "threshold", self.threshold)
        if self.classes is not None and self.classes < 2:
            raise ValueError(f"{self.who}: classes must be at least 2, got {self.classes}")
        if self.multilabel and (self.classes is not None or self.ignore_index is not None):
            raise ValueError(f"{self.who}: multilabel goes with neither classes nor ignore_index")

    def count(self, y_true: Any, y_pred: Any) -> int:
        """How many classes the statistics have; 1 for binary labels. Reads shapes alone.

        Raises:
            ValueError: the shapes fit no form.
        """
        if self.classes is not None:
            self._require_indices(y_true, y_pred)
            return self.classes
        if self.multilabel:
            _examples.require_same_shape(self.who, y_true, y_pred)
            if np.ndim(y_pred) < 2:
                raise ValueError(f"{self.who}: multilabel needs columns (B, K), got {np.shape(y_pred)}")
            return int(np.shape(y_pred)[-1])
        found = self._described(y_true, y_pred)
        return 1 if found is None else found.count

    def read(self, y_true: Any, y_pred: Any, where: Any) -> Labels:
        """The labels of a batch.

        Raises:
            ValueError: the shapes fit no form, or labels that can be read are none.
        """
        count = self.count(y_true, y_pred)
        if self.classes is not None:
            return self._hard(y_true, jnp.asarray(y_pred), where, count)
        found = None if self.multilabel else self._described(y_true, y_pred)
        if found is None:
            return self._binary(y_true, jnp.asarray(y_pred), where)
        kept = _kept(_classes.counted(found, y_true, where, self.ignore_index), found.shape)
        _classes.require_in_range(found, y_true, where, self.ignore_index)
        predicted = first_largest(jnp.asarray(y_pred), found.axis)
        if found.sparse:
            true = _classes.labels(found, y_true)
        else:
            true = first_largest(jnp.asarray(y_true), found.axis)
        return _indices(true, predicted, kept, count)

    def _described(self, y_true: Any, y_pred: Any) -> _classes.Classes | None:
        return describe(
            self.who, y_true, y_pred, axis=self.axis, sparse=self.sparse, ignore_index=self.ignore_index
        )

    def _require_indices(self, y_true: Any, y_pred: Any) -> None:
        _examples.require_same_shape(self.who, y_true, y_pred)
        for name, each in (("y_true", y_true), ("y_pred", y_pred)):
            if not jnp.issubdtype(_examples.dtype_of(each), jnp.integer):
                raise ValueError(
                    f"{self.who}: with classes= both hold class indices, got {name} of "
                    f"{_examples.dtype_of(each)}"
                )

    def _hard(self, y_true: Any, y_pred: jax.Array, where: Any, count: int) -> Labels:
        shape = y_pred.shape
        found = _classes.Classes(who=self.who, axis=len(shape), count=count, sparse=True, shape=shape)
        kept = _kept(_classes.counted(found, y_true, where, self.ignore_index), shape)
        _classes.require_in_range(found, y_true, where, self.ignore_index)
        predicted = y_pred.astype(jnp.int32)
        inside = (predicted >= 0) & (predicted < count)
        return _indices(_classes.labels(found, y_true), jnp.where(inside, predicted, count), kept, count)

    def _binary(self, y_true: Any, y_pred: jax.Array, where: Any) -> Labels:
        examples = y_pred.shape[:-1] if self.multilabel else y_pred.shape
        kept = _kept(_examples.mask(self.who, where, examples), examples)
        require_binary(self.who, y_true, where)
        true, scores = jnp.asarray(y_true), y_pred
        if not jnp.issubdtype(y_pred.dtype, jnp.integer) and y_pred.dtype != jnp.bool_:
            scores = y_pred.astype(_examples.computing_dtype(_examples.floating_dtype(self.who, y_pred)))
        bound = logit(self.threshold) if self.from_logits else self.threshold
        # A prediction that is NaN is wrong, whichever the label.
        predicted = jnp.where(jnp.isnan(scores), true != 1, scores > bound)
        odd = (true != 0) & (true != 1)
        if not self.multilabel:
            true, predicted, odd = true[..., None], predicted[..., None], odd[..., None]
        return Labels(
            true=true == 1,
            predicted=predicted,
            binary=True,
            kept=kept,
            wrong=jnp.any(odd & kept[..., None]),
        )


def describe(
    who: str, y_true: Any, y_pred: Any, *, axis: int, sparse: bool | None, ignore_index: int | None
) -> _classes.Classes | None:
    """How the classes are named; ``None`` for binary labels."""
    shape = np.shape(y_pred)
    same = np.shape(y_true) == shape
    if sparse is not None or not same or (len(shape) > 1 and shape[-1] > 1):
        return _classes.describe(who, y_true, y_pred, axis=axis, sparse=sparse)
    if ignore_index is not None:
        raise ValueError(f"{who}: ignore_index needs class indices, got binary labels of shape {shape}")
    return None


def first_largest(scores: jax.Array, axis: int) -> jax.Array:
    """The argmax; with NaN among the scores their number, which is no class."""
    # XLA's argmax takes ten times as long on a CPU as a maximum and a minimum.
    largest = jnp.max(scores, axis=axis, keepdims=True)
    index = jax.lax.broadcasted_iota(jnp.int32, scores.shape, axis % scores.ndim)
    return jnp.min(jnp.where(scores == largest, index, scores.shape[axis]), axis=axis)


def logit(probability: float) -> float:
    """The logit of a probability, of 0 and 1 too."""
    if probability in (0, 1):
        return math.inf if probability else -math.inf
    return math.log(probability) - math.log1p(-probability)


def require_binary(who: str, y_true: Any, where: Any) -> None:
    """Fail on a label other than 0 and 1, where the host can see it; traced labels pass."""
    found = _examples.readable(y_true, where)
    if found is not None and not np.isin(found, (0, 1)).all():
        odd = found[~np.isin(found, (0, 1))].ravel()[0]
        raise ValueError(f"{who}: binary labels must be 0 or 1, got {odd}; class indices need y_pred (B, K)")


def _kept(mask: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    return jnp.ones(shape, bool) if mask is None else mask


def _indices(true: jax.Array, predicted: jax.Array, kept: jax.Array, count: int) -> Labels:
    wrong = jnp.any(((true < 0) | (true >= count)) & kept)
    return Labels(true=true, predicted=predicted, binary=False, kept=kept, wrong=wrong)
