"""Connectionist temporal classification: sequences of labels whose timing is unknown."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer, Shaped

from axonax.functional import _examples
from axonax.functional.losses import _logarithms, _reduction
from axonax.tensor.contracts import Closing, expects

_WHO = "connectionist_temporal_classification"


@expects(Closing("log_softmax"))
def connectionist_temporal_classification(
    y_true: tuple[Integer[ArrayLike, " batch"], Integer[ArrayLike, "batch labels"]],
    y_pred: Shaped[ArrayLike, "batch steps classes"],
    *,
    blank: int = 0,
    from_logits: bool = False,
    input_lengths: Integer[ArrayLike, " batch"] | None = None,
    zero_infinity: bool = False,
    reduction: str = "none",
    weights: Shaped[ArrayLike, " ..."] | None = None,
    where: Bool[ArrayLike, " ..."] | None = None,
) -> Float[Array, " ..."]:
    r"""Negative log-likelihood of the labels, summed over all their alignments with the time steps.

    ``l_i = -log sum_a prod_t p_i(a_t | t)`` over the paths ``a`` that give the labels once repetitions are
    merged and blanks removed. The recursion over time is exact, in logarithms. "mean" divides each value by
    the number of its labels first, as Axon and PyTorch do.

    Labels that do not fit into the time steps have the loss inf and the gradient 0: ``jnp.isinf`` flags them.

    Args:
        y_true: the tuple ``(lengths, labels)``: the number of labels of each example ``(B,)``, and integer
            labels ``(B, L)``, padded with anything.
        y_pred: logarithms of probabilities, ``(B, T, K)``.
        blank: the index of the blank.
        from_logits: whether ``y_pred`` holds logits.
        input_lengths: the number of time steps of each example, ``(B,)``; all ``T`` if ``None``.
        zero_infinity: whether what does not fit counts 0 in place of inf.
        reduction: "none", "mean" (divided by the sum of the weights, 0 if that is 0) or "sum".
        weights: of each example, ``(B,)``; 0 removes an example.
        where: booleans, likewise; an example with False does not exist, whatever it holds.

    Returns:
        ``(B,)`` in the floating dtype of ``y_pred`` for "none", a scalar in float32 at least for "mean" and
        "sum". Computed in float32 at least. A label out of range gives NaN.

    Raises:
        ValueError: ``y_true`` is no pair, shapes do not fit, or ``blank`` is no class.

    >>> log_p = jnp.log(jnp.full((1, 2, 2), 0.5))
    >>> loss = connectionist_temporal_classification((jnp.array([1]), jnp.array([[1]])), log_p)
    >>> round(loss.item(), 4)  # three of the four paths: 01, 10, 11
    0.2877

    Graves and others, Connectionist temporal classification (2006), equations 6 to 8.
    """
    named = _reduction.parts(_WHO, "y_true", y_true, "lengths", "labels")
    lengths, labels = (jnp.asarray(each) for each in named.values())
    _require_shapes(lengths, labels, y_pred, input_lengths, blank)
    group = _reduction.group(_WHO, {"y_pred": y_pred}, where=None)
    kept = _examples.mask(_WHO, where, lengths.shape)
    scores = group.arrays[0]
    if kept is not None:
        scores = jnp.where(kept[:, None, None], scores, 0)
    log_p = _logarithms.log_softmax(scores) if from_logits else scores
    steps = jnp.full(lengths.shape, log_p.shape[1]) if input_lengths is None else jnp.asarray(input_lengths)
    values = _values(log_p, lengths, labels, steps, blank)
    if zero_infinity:
        values = jnp.where(jnp.isposinf(values), 0, values)
    if reduction == "mean":
        values = values / jnp.maximum(lengths, 1).astype(values.dtype)
    return _reduction.reduce(_WHO, values, reduction=reduction, weights=weights, kept=kept, dtype=group.dtype)


def _require_shapes(
    lengths: jax.Array, labels: jax.Array, y_pred: Any, input_lengths: Any, blank: int
) -> None:
    shape = jnp.shape(y_pred)
    if len(shape) != 3 or lengths.shape != shape[:1] or labels.shape[:-1] != shape[:1]:
        raise ValueError(
            f"{_WHO}: lengths, labels and y_pred must have the shapes (B,), (B, L) and (B, T, K), got "
            f"{lengths.shape}, {labels.shape} and {shape}"
        )
    if input_lengths is not None and jnp.shape(input_lengths) != shape[:1]:
        raise ValueError(
            f"{_WHO}: input_lengths must have the shape {shape[:1]}, got {jnp.shape(input_lengths)}"
        )
    if not 0 <= blank < shape[-1]:
        raise ValueError(f"{_WHO}: blank must be in [0, {shape[-1]}), got {blank}")


def _values(
    log_p: jax.Array, lengths: jax.Array, labels: jax.Array, steps: jax.Array, blank: int
) -> jax.Array:
    """The forward recursion over the labels with a blank before, between and after them."""
    batch, count = labels.shape
    path = jnp.full((batch, 2 * count + 1), blank).at[:, 1::2].set(labels)
    used = jnp.arange(count)[None] < lengths[:, None]
    wrong = jnp.any(((labels < 0) | (labels >= log_p.shape[-1])) & used, axis=-1) | (lengths > count)
    index = jnp.clip(path, 0, log_p.shape[-1] - 1)
    emitted = jnp.take_along_axis(log_p, index[:, None, :], axis=-1)
    # A blank may be skipped between two labels that differ.
    skips = jnp.pad((path[:, 2:] != path[:, :-2]) & (path[:, 2:] != blank), ((0, 0), (2, 0)))
    start = jnp.where(jnp.arange(path.shape[1]) == 0, 0.0, -jnp.inf).astype(log_p.dtype)

    def step(alpha: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        emission, time = at
        one = jnp.pad(alpha[:, :-1], ((0, 0), (1, 0)), constant_values=-jnp.inf)
        two = jnp.pad(alpha[:, :-2], ((0, 0), (2, 0)), constant_values=-jnp.inf)[:, : alpha.shape[1]]
        total = _log_add(jnp.stack([alpha, one, jnp.where(skips, two, -jnp.inf)]))
        moved = jnp.where(jnp.isneginf(total), -jnp.inf, total + emission)
        # A path starts at the first blank or the first label.
        return jnp.where((time < steps)[:, None], moved, alpha), None

    first = jnp.broadcast_to(start, path.shape)
    alpha, _ = jax.lax.scan(step, first, (jnp.moveaxis(emitted, 1, 0), jnp.arange(log_p.shape[1])))
    ends = jnp.stack([2 * lengths, jnp.where(lengths > 0, 2 * lengths - 1, 2 * lengths)], axis=-1)
    last = jnp.take_along_axis(alpha, jnp.clip(ends, 0, 2 * count), axis=-1)
    last = jnp.where((jnp.arange(2) == 1)[None] & (lengths == 0)[:, None], -jnp.inf, last)
    return jnp.where(wrong, jnp.nan, -_log_add(jnp.moveaxis(last, -1, 0)))


def _log_add(terms: jax.Array) -> jax.Array:
    """``log sum exp`` over the first dimension; -inf with gradient 0 where nothing is possible."""
    top = jax.lax.stop_gradient(jnp.max(terms, axis=0, keepdims=True))
    nothing = jnp.isneginf(top)
    # Replaced on both sides of the logarithm, or its slope at 0 would make NaN of a gradient of 0.
    below = jnp.where(nothing, -jnp.inf, terms - jnp.where(nothing, 0, top))
    total = jnp.sum(jnp.exp(below), axis=0, keepdims=True)
    return jnp.where(nothing, -jnp.inf, top + jnp.log(jnp.where(nothing, 1, total)))[0]
