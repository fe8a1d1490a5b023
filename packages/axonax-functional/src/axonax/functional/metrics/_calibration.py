"""How far stated probabilities are from frequencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.metrics import _labels, _scored, _sums, _tally
from axonax.tensor import names
from axonax.tensor.contracts import Metric

_WHO = "calibration_error"
State = tuple[_tally.Tally, jax.Array]


def calibration_error(*, bins: int = 15, norm: str = "l1") -> Metric:
    """Expected calibration error: the gap between how sure predictions are and how often they are right.

    ``sum_b w_b |right_b - confidence_b| / sum_b w_b`` over bins of equal width (C. Guo et al., 2017); the
    confidence is the largest of K probabilities, or that of label 1 against its frequency.

    Args:
        bins: how many, 1 or more.
        norm: "l1"; "l2", the root of the mean square; "max", the largest gap.

    Returns:
        The metric of labels and probabilities as in `accuracy`; its value is a float32 scalar, 0 over
        nothing.

    Raises:
        ValueError: an option is out of its range; shapes or labels fit no form.

    >>> round(float(calibration_error()(jnp.array([1, 1, 0, 1]), jnp.array([0.75, 0.75, 0.75, 0.75]))), 4)
    0.0
    """
    joined = names.lookup(_NORMS, norm, "norm")
    if bins < 1:
        raise ValueError(f"{_WHO}: bins must be at least 1, got {bins}")
    reading = _labels.Reading(who=_WHO)

    def init(y_true: Any, y_pred: Any) -> State:
        reading.count(y_true, y_pred)
        return _tally.zeros((2 * bins,)), _sums.zeros((bins,))

    def update(state: State, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> State:
        labels = reading.read(y_true, y_pred, where)
        scores = jnp.asarray(y_pred).astype(jnp.float32)
        if labels.binary:
            right = labels.true[..., 0]
        else:
            scores, right = jnp.max(scores, axis=-1), labels.predicted == labels.true
        place = jnp.where(labels.kept, _scored.places(scores, bins), bins)
        nowhere = 2 * bins
        all_of = jnp.where(labels.kept, place, nowhere)
        both = jnp.stack([all_of, jnp.where(right & labels.kept, place + bins, nowhere)])
        if weights is not None:
            weights = _examples.spread(_WHO, "weights", weights, place.shape)
        counted = _tally.scatter(state[0], both, None if weights is None else weights[None])
        counted = _tally.spoil(counted, labels.wrong | jnp.any(jnp.isnan(scores) & labels.kept))
        stated = scores if weights is None else scores * weights
        return counted, _sums.add(state[1], _sums.scatter(stated, place, bins))

    def merge(left: State, right: State) -> State:
        return _tally.merge(left[0], right[0]), _sums.add(left[1], right[1])

    def compute(state: State) -> jax.Array:
        weight, right = jnp.split(_tally.value(state[0]), 2)
        gaps = jnp.abs(_tally.ratio(right - _sums.to_float(state[1]), weight))
        return joined(gaps, _tally.ratio(weight, jnp.sum(weight)))

    return Metric(init=init, update=update, merge=merge, compute=compute, name=_WHO)


_NORMS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "l1": lambda gaps, shares: jnp.sum(gaps * shares),
    "l2": lambda gaps, shares: jnp.sqrt(jnp.sum(jnp.square(gaps) * shares)),
    "max": lambda gaps, shares: jnp.max(jnp.where(shares == 0, 0, gaps)),
}
