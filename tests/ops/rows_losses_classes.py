"""Rows of the losses between distributions, of classes and of sets."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops import rows_losses as base
from ops.row import LossRow, case
from ops.rows_losses import (
    BINARY,
    CANCELS,
    CLASS_WEIGHTS,
    HOT,
    LABELS,
    OTHER,
    PROBABILITY,
    REAL,
    SOFT,
    between,
    reals,
    reductions,
)
from ops.rows_losses_margins import of_examples
from ops.rows_losses_real import bad

TARGET, GUESS = (np.exp(each / 4) / np.exp(each / 4).sum(-1, keepdims=True) for each in (OTHER, REAL))


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.where(x == 0, 0, x * np.log(y))


def kl(y: np.ndarray, p: np.ndarray, *, log_target: bool = False, from_logits: bool = False) -> np.ndarray:
    y = np.exp(y) if log_target else y
    p = np.exp(log_softmax(p)) if from_logits else p
    return (xlogy(y, y) - xlogy(y, p)).sum(-1)


def js(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (kl(y, (y + p) / 2) + kl(p, (y + p) / 2)) / 2


def focal(
    y: np.ndarray,
    p: np.ndarray,
    *,
    kind: Any = None,
    gamma: float = 2.0,
    alpha: Any = None,
    from_logits: bool = False,
) -> np.ndarray:
    if kind == "categorical" or y.ndim < p.ndim:
        y = np.eye(p.shape[-1])[y] if y.ndim < p.ndim else y
        p = np.exp(log_softmax(p)) if from_logits else p
        return -(y * (1.0 if alpha is None else alpha) * (1 - p) ** gamma * np.log(p)).sum(-1)
    yes, no = (np.logaddexp(0, -p), np.logaddexp(0, p)) if from_logits else (-np.log(p), -np.log1p(-p))
    one, zero = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    values = one * y * np.exp(-gamma * no) * yes + zero * (1 - y) * np.exp(-gamma * yes) * no
    return values.mean(-1) if values.ndim > 1 else values


def poly(y: np.ndarray, p: np.ndarray, *, epsilon: float = 2.0, from_logits: bool = False) -> np.ndarray:
    y = np.eye(p.shape[-1])[y] if y.ndim < p.ndim else y
    p = np.exp(log_softmax(p)) if from_logits else p
    return -(y * np.log(p)).sum(-1) + epsilon * (1 - (y * p).sum(-1))


def tversky(
    y: np.ndarray,
    p: np.ndarray,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    axis: Any = -1,
) -> np.ndarray:
    hit, false, missed = (each.sum(axis) for each in (y * p, (1 - y) * p, y * (1 - p)))
    return 1 - (hit + smooth) / (hit + alpha * false + beta * missed + smooth)


def dice(y: np.ndarray, p: np.ndarray, *, smooth: float = 1.0, axis: Any = -1) -> np.ndarray:
    return 1 - (2 * (y * p).sum(axis) + smooth) / (y.sum(axis) + p.sum(axis) + smooth)


def iou(y: np.ndarray, p: np.ndarray, *, smooth: float = 1.0, axis: Any = -1) -> np.ndarray:
    both = (y * p).sum(axis)
    return 1 - (both + smooth) / (y.sum(axis) + p.sum(axis) - both + smooth)


def _target_of_zero(op: Any) -> None:
    """Adds 0, and the gradients are finite; a certain wrong prediction is finite too."""
    y, p = jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[0.6, 0.4], [0.4, 0.6]])
    value, pull = jax.vjp(op, y, p)
    np.testing.assert_allclose(value, [-np.log(0.4), 0], rtol=1e-6)
    assert all(np.isfinite(each).all() for each in pull(jnp.ones(2)))
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        value, gradient = jax.value_and_grad(lambda p: op(y, p, reduction="sum"))(y[::-1].astype(dtype))
        assert np.isfinite(value)
        assert (gradient[0].astype(jnp.float32) < jnp.inf).all()


def _masked_on_both_sides(op: Any) -> None:
    logits = jnp.array([[0.0, -jnp.inf, 1.0]])
    value = op(jnp.array([[0.5, 0.0, 0.5]]), logits, from_logits=True)
    np.testing.assert_allclose(
        value, op(jnp.array([[0.5, 0.5]]), logits[:, ::2], from_logits=True), rtol=1e-6
    )
    np.testing.assert_allclose(op(logits, logits, from_logits=True, log_target=True), op(
        logits[:, ::2], logits[:, ::2], from_logits=True, log_target=True), rtol=1e-5)  # fmt: skip


def _at_most_log_two(op: Any) -> None:
    np.testing.assert_allclose(op(HOT[:2], HOT[1:3]), [np.log(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(op(SOFT, TARGET), op(TARGET, SOFT), rtol=1e-5)
    with pytest.raises(ValueError, match="at least one dimension"):
        op(0.5, 0.5)


def _without_gamma_it_is_cross_entropy(op: Any) -> None:
    from axonax.functional import losses  # noqa: PLC0415

    categorical = losses.categorical_cross_entropy(LABELS, REAL, from_logits=True)
    np.testing.assert_allclose(op(LABELS, REAL, from_logits=True, gamma=0.0), categorical, rtol=1e-5)
    binary = losses.binary_cross_entropy(BINARY, REAL, from_logits=True)
    np.testing.assert_allclose(op(BINARY, REAL, from_logits=True, gamma=0.0), binary, rtol=1e-5)
    with pytest.raises(ValueError, match='unknown kind of focal loss "binari": did you mean "binary"'):
        op(LABELS, REAL, kind="binari")
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 2"):
        op(BINARY, PROBABILITY, alpha=2)


def _masked_class(op: Any) -> None:
    logits = jnp.array([[1.0, -jnp.inf, 0.5]])
    expected = op(jnp.array([0]), logits[:, ::2], from_logits=True)
    value, gradient = jax.value_and_grad(lambda x: op(jnp.array([0]), x, from_logits=True).sum())(logits)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert gradient[0, 1] == 0


def _empty_sets_agree(op: Any) -> None:
    """Nothing predicted where nothing is: 0, also without smoothing, with a finite gradient."""
    empty = jnp.zeros((2, 3))
    value, gradient = jax.value_and_grad(lambda p: op(empty, p, smooth=0.0, reduction="sum"))(empty)
    assert value == 0
    assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match=r"axis must be of the dimensions .* \(2, 3\), got \(2,\)"):
        op(empty, empty, axis=2)


NUMPY: dict[str, Any] = {"oracle_name": "NumPy in float64"}
SETS: dict[str, Any] = {
    **NUMPY,
    "bound": CANCELS,
    "edges": (case(0 * BINARY, 0 * BINARY), case(BINARY, BINARY)),
    "domain": ((case(BINARY, PROBABILITY), (between(0, 1), between(0, 1))),),
    "no_torch": "torch has none",
    "laws": (base.a_column_is_no_vector, _empty_sets_agree, bad("smooth", -1, "at least 0")),
}

ROWS: tuple[LossRow, ...] = (
    LossRow(
        **NUMPY,
        name="losses.kl_divergence",
        formula="sum_c y_c (log y_c - log p_c)",
        oracle=of_examples(kl),
        peers="Optax, Keras, torch",
        cases=(
            *reductions(TARGET, GUESS),
            case(np.log(TARGET), GUESS, log_target=True),
            case(TARGET, REAL, from_logits=True),
        ),
        bound=CANCELS,
        edges=(case(HOT, HOT), case(HOT, 1 - HOT), case(HOT, 1e4 * REAL, from_logits=True)),
        domain=(
            (case(TARGET, GUESS), (between(0, 1), between(0, 1))),
            (case(TARGET, REAL, from_logits=True), (between(0, 1), reals(1e37))),
        ),
        torch="F.kl_div(F.log_softmax(y_pred, -1) if from_logits else y_pred.log(), y_true, "
        "reduction='none', log_target=log_target).sum(-1)",
        laws=(base.a_column_is_no_vector, _target_of_zero, _masked_on_both_sides),
    ),
    LossRow(
        **NUMPY,
        name="losses.js_divergence",
        formula="sum_c [y_c log(y_c / m_c) + p_c log(p_c / m_c)] / 2, m = (y + p) / 2",
        oracle=of_examples(js),
        peers="SciPy",
        cases=reductions(TARGET, GUESS),
        bound=CANCELS,
        edges=(case(HOT, HOT), case(HOT, 1 - HOT), case(HOT, GUESS)),
        domain=((case(TARGET, GUESS), (between(0, 1), between(0, 1))),),
        no_torch="torch has none",
        laws=(base.a_column_is_no_vector, _at_most_log_two),
    ),
    LossRow(
        **NUMPY,
        name="losses.focal",
        formula="-alpha_c y_c (1 - p_c)^gamma log p_c, summed over classes or both labels",
        oracle=of_examples(focal),
        peers="Optax, Keras, torchvision",
        cases=(
            case(BINARY, REAL, from_logits=True, alpha=0.25),
            *reductions(LABELS, REAL, from_logits=True),
            case(HOT, SOFT, kind="categorical", alpha=CLASS_WEIGHTS),
            case(BINARY, PROBABILITY, gamma=1.5, alpha=0.3),
            case(BINARY[:, 0], PROBABILITY[:, 0]),
        ),
        bound=CANCELS,
        edges=(
            case(BINARY, 1e4 * REAL, from_logits=True),
            case(LABELS, 1e4 * REAL, from_logits=True),
            case(HOT, HOT, kind="categorical"),
            case(BINARY, 1 - BINARY),
        ),
        domain=(
            (case(BINARY, REAL, from_logits=True), (between(0, 1), reals(1e37))),
            (case(LABELS, REAL, from_logits=True), (base.indices(3), reals(1e37))),
            (case(BINARY, PROBABILITY), (between(0, 1), between(0, 1))),
        ),
        no_torch="torchvision has it",
        laws=(base.a_column_is_no_vector, _without_gamma_it_is_cross_entropy, _masked_class),
    ),
    LossRow(
        **NUMPY,
        name="losses.poly",
        formula="-sum_c y_c log p_c + epsilon (1 - sum_c y_c p_c)",
        oracle=of_examples(poly),
        peers="Optax",
        cases=(
            *reductions(LABELS, REAL, from_logits=True),
            case(HOT, SOFT, epsilon=1.0),
            case(TARGET, REAL, from_logits=True, epsilon=-1.0),
        ),
        bound=CANCELS,
        edges=(case(LABELS, 1e4 * REAL, from_logits=True), case(HOT, 1 - HOT)),
        domain=((case(LABELS, REAL, from_logits=True), (base.indices(3), reals(1e37))),),
        no_torch="torch has none",
        laws=(_masked_class,),
    ),
    LossRow(
        **SETS,
        name="losses.dice",
        formula="1 - (2 sum y p + smooth) / (sum y + sum p + smooth)",
        oracle=of_examples(dice),
        peers="Keras",
        cases=(*reductions(BINARY, PROBABILITY), case(BINARY, PROBABILITY, axis=(0, 1), smooth=0.5)),
    ),
    LossRow(
        **SETS,
        name="losses.tversky",
        formula="1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)",
        oracle=of_examples(tversky),
        peers="Keras",
        cases=(*reductions(BINARY, PROBABILITY, alpha=0.3, beta=0.7), case(BINARY, PROBABILITY, axis=0)),
    ),
    LossRow(
        **SETS,
        name="losses.iou",
        formula="1 - (sum y p + smooth) / (sum y + sum p - sum y p + smooth)",
        oracle=of_examples(iou),
        peers="",
        cases=(*reductions(BINARY, PROBABILITY), case(BINARY, PROBABILITY, axis=(0, 1), smooth=0.0)),
    ),
)
