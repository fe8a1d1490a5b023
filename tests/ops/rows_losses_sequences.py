"""Rows of the losses of sequences, of large vocabularies and of raw logits."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops import rows_losses as base
from ops.row import LossRow, case
from ops.rows_losses import CANCELS, LABELS, OTHER, REAL, WEIGHTS, WHERE, F, reals, reductions
from ops.rows_losses_classes import log_softmax
from ops.rows_losses_margins import of_examples
from ops.rows_losses_real import bad

RANDOM = np.random.default_rng(29)
SCORES = RANDOM.normal(size=(4, 5, 3))
LENGTHS = np.array([2, 3, 0, 1], np.int32)
SEQUENCES = np.array([[1, 2, 0], [1, 1, 2], [0, 0, 0], [2, 9, -1]], np.int32)
STEPS = np.array([5, 4, 3, 2], np.int32)
KERNEL, BIAS = RANDOM.normal(size=(F, 5)), RANDOM.normal(size=5)


def paths(length: int, labels: list[int], count: int, blank: int) -> list[tuple[int, ...]]:
    """All alignments of labels, by trying every path."""
    return [
        path
        for path in itertools.product(range(count), repeat=length)
        if [c for c, _ in itertools.groupby(path) if c != blank] == labels
    ]


def ctc(
    y: Any,
    p: np.ndarray,
    *,
    blank: int = 0,
    from_logits: bool = False,
    input_lengths: Any = None,
    zero_infinity: bool = False,
    reduction: str = "none",
    **extra: Any,
) -> np.ndarray:
    lengths, labels = y
    p = log_softmax(p) if from_logits else p
    values = np.zeros(len(p))
    for i, (length, row) in enumerate(zip(lengths, labels, strict=True)):
        steps = p.shape[1] if input_lengths is None else input_lengths[i]
        found = paths(int(steps), row[:length].tolist(), p.shape[-1], blank)
        total = sum(np.exp(sum(p[i, t, c] for t, c in enumerate(path))) for path in found)
        values[i] = -np.log(total) if found else 0.0 if zero_infinity else np.inf
    if reduction == "mean":
        values = values / np.maximum(lengths, 1)
    return base.reduced(values, reduction, **extra)


def linear(
    y: np.ndarray,
    p: Any,
    *,
    label_smoothing: float = 0.0,
    ignore_index: Any = None,
    chunk_size: Any = None,
    **extra: Any,
) -> np.ndarray:
    logits = p[0] @ p[1] + (p[2] if len(p) > 2 else 0.0)
    return base.cross_entropy(
        y, logits, from_logits=True, label_smoothing=label_smoothing, ignore_index=ignore_index, **extra
    )


def z_loss(y: Any, p: np.ndarray, *, coefficient: float = 1e-4) -> np.ndarray:
    return coefficient * np.log(np.exp(p).sum(-1)) ** 2


def _what_cannot_fit(op: Any) -> None:
    """Is inf, has gradient 0, and leaves the others alone; a repeated label needs a blank in between."""
    y = (jnp.array([3, 2, 1]), jnp.array([[1, 2, 1], [1, 1, 0], [1, 0, 0]]))
    log_p = jnp.log(jnp.full((3, 2, 3), 1 / 3))
    value, gradient = jax.jit(jax.value_and_grad(lambda p: op(y, p).sum()))(log_p)
    assert np.isinf(op(y, log_p)).tolist() == [True, True, False]
    assert value == np.inf
    assert (gradient[:2] == 0).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(op(y, log_p, zero_infinity=True), [0, 0, np.log(9 / 3)], rtol=1e-6)


def _masked_steps(op: Any) -> None:
    """Probabilities of exactly 0 on the way have finite gradients."""
    log_p = jnp.log(jnp.array([[[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]]))
    value, gradient = jax.value_and_grad(lambda p: op((jnp.array([1]), jnp.array([[1]])), p).sum())(log_p)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert np.isfinite(gradient).all()


def _bad_sequences(op: Any) -> None:
    y, log_p = (jnp.array([1]), jnp.array([[5]])), jnp.zeros((1, 2, 3))
    assert np.isnan(op(y, log_p)).all()
    assert np.isnan(op((jnp.array([2]), jnp.array([[1]])), log_p)).all()
    with pytest.raises(ValueError, match=r"y_true must be the tuple \(lengths, labels\), got"):
        op(jnp.ones(3), log_p)
    with pytest.raises(ValueError, match=r"\(B,\), \(B, L\) and \(B, T, K\), got \(2,\), \(1, 1\)"):
        op((jnp.array([1, 1]), jnp.array([[1]])), log_p)
    with pytest.raises(ValueError, match=r"input_lengths must have the shape \(1,\), got \(2,\)"):
        op(y, log_p, input_lengths=jnp.ones(2, int))
    with pytest.raises(ValueError, match=r"blank must be in \[0, 3\), got 3"):
        op(y, log_p, blank=3)


def _logits_never_whole(op: Any) -> None:
    """No array in the program, forward and backward, has a number for each example and class."""
    shapes = set()

    def visit(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            shapes.update(each.aval.size for each in equation.outvars)
            for value in equation.params.values():
                for each in value if isinstance(value, tuple | list) else (value,):
                    inner = getattr(each, "jaxpr", each)
                    if hasattr(inner, "eqns"):
                        visit(inner)

    arrays = jnp.zeros(64, int), jnp.ones((64, 4)), jnp.ones((4, 100))
    loss = jax.grad(lambda f, k, y: op(y, (f, k), chunk_size=8, reduction="mean"), (0, 1))
    visit(jax.make_jaxpr(loss)(*arrays[1:], arrays[0]).jaxpr)
    assert max(shapes) < 64 * 100
    assert 8 * 100 in shapes


def _bad_parts(op: Any) -> None:
    for parts, message in (
        (jnp.ones((2, 3)), r"must be the tuple \(features, kernel\), got ArrayImpl"),
        (
            (jnp.ones((2, 3)), jnp.ones((2, 3))),
            r"shapes \(B, ..., F\) and \(F, K\), got \(2, 3\) and \(2, 3\)",
        ),
        ((jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.ones(3)), r"bias must have the shape \(4,\), got \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            op(jnp.zeros(2, int), parts)
    with pytest.raises(ValueError, match="chunk_size must be above 0, got 0"):
        op(jnp.zeros(2, int), (jnp.ones((2, 3)), jnp.ones((3, 4))), chunk_size=0)
    with pytest.raises(ValueError, match=r"in \[0, 4\), got 4"):
        op(jnp.full(2, 4), (jnp.ones((2, 3)), jnp.ones((3, 4))))


ROWS: tuple[LossRow, ...] = (
    LossRow(
        name="losses.connectionist_temporal_classification",
        formula="-log sum_a prod_t p(a_t | t) over the alignments a",
        oracle=ctc,
        oracle_name="all paths in float64",
        peers="Optax, Keras, torch",
        cases=(
            case((LENGTHS, SEQUENCES), SCORES, from_logits=True),
            case((LENGTHS, SEQUENCES), log_softmax(SCORES), input_lengths=STEPS),
            case((LENGTHS, SEQUENCES), SCORES, from_logits=True, reduction="mean"),
            case(
                (LENGTHS, SEQUENCES), SCORES, from_logits=True, reduction="mean", weights=WEIGHTS, where=WHERE
            ),
            case((LENGTHS, np.where(SEQUENCES == 2, 0, SEQUENCES)), SCORES, from_logits=True, blank=2),
            case(
                (np.array([3, 1], np.int32), SEQUENCES[1::2]), log_softmax(SCORES[:2, :3]), zero_infinity=True
            ),
        ),
        bound=CANCELS,
        smooth=1,
        edges=(case((np.array([3], np.int32), SEQUENCES[1:2]), SCORES[:1, :2]),),
        domain=(
            (
                case((LENGTHS, SEQUENCES), SCORES, from_logits=True),
                (
                    lambda shape: base.hnp.arrays(np.int32, shape, elements=base.st.integers(0, 2)),
                    base.indices(3),
                    reals(1e30),
                ),
            ),
        ),
        torch="ctc(y_true, y_pred, blank, from_logits, input_lengths, zero_infinity)",
        laws=(_what_cannot_fit, _masked_steps, _bad_sequences),
    ),
    LossRow(
        name="losses.linear_cross_entropy",
        formula="-log softmax(features @ kernel + bias)[y_true]",
        oracle=linear,
        oracle_name="shifted sum in float64",
        peers="",
        cases=(
            case(LABELS, (REAL, KERNEL, BIAS), chunk_size=3),
            case(LABELS, (REAL, KERNEL), label_smoothing=0.1),
            case(LABELS, (REAL, KERNEL), chunk_size=2, reduction="mean", weights=WEIGHTS, where=WHERE),
            case(np.array([4, -1, 0, -1], np.int32), (REAL, KERNEL, BIAS), ignore_index=-1, reduction="mean"),
        ),
        shared=(2, 3),
        bound=CANCELS,
        edges=(case(LABELS, (1e4 * REAL, KERNEL, BIAS)),),
        domain=((case(LABELS, (REAL, KERNEL)), (base.indices(5), reals(1e15), reals(1e15))),),
        torch="F.cross_entropy(y_pred[0] @ y_pred[1] + (y_pred[2] if len(y_pred) > 2 else 0), y_true.long(), "
        "label_smoothing=label_smoothing, reduction='none')",
        laws=(_logits_never_whole, _bad_parts),
    ),
    LossRow(
        name="losses.z_loss",
        formula="coefficient (log sum_c exp y_pred_c)^2",
        oracle=of_examples(z_loss),
        oracle_name="NumPy in float64",
        peers="",
        cases=reductions(None, REAL, coefficient=0.5),
        bound=CANCELS,
        edges=(case(None, 1e4 * OTHER),),
        domain=((case(None, REAL), (reals(1e18),)),),
        torch="coefficient * torch.logsumexp(y_pred, -1) ** 2",
        laws=(bad("coefficient", -1, "at least 0"),),
    ),
)
