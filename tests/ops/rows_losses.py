"""Rows of ``axonax.functional.losses``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ops.row import Bound, Case, LossRow, case

_RANDOM = np.random.default_rng(23)
B, F = 4, 3
REAL, OTHER = _RANDOM.normal(size=(B, F)) * 2, _RANDOM.normal(size=(B, F)) * 2
LABELS = np.array([2, 0, 1, 1], np.int32)
HOT = np.eye(F)[LABELS]
SOFT = np.exp(REAL) / np.exp(REAL).sum(-1, keepdims=True)
BINARY = (_RANDOM.random((B, F)) > 0.5).astype(np.float64)
PROBABILITY = np.clip(_RANDOM.random((B, F)), 0.05, 0.95)
WEIGHTS = np.array([1.0, 0.0, 2.5, 0.5])
WHERE = np.array([True, True, False, True])
CLASS_WEIGHTS = np.array([0.3, 2.0, 1.0])

CANCELS = Bound(16, absolute=1e-6, relative=1e-6, reason="logarithms of numbers near 1")


def reals(size: float, least: float = 0.0) -> Callable[[tuple[int, ...]], Any]:
    """Any float32 up to ``size`` in magnitude; what is below ``least`` becomes 0."""
    limit = float(np.float32(size))
    elements = st.floats(-limit, limit, width=32).map(lambda value: value if abs(value) >= least else 0.0)
    return lambda shape: hnp.arrays(np.float32, shape, elements=elements)


def between(low: float, high: float) -> Callable[[tuple[int, ...]], Any]:
    return lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(low, high, width=32))


def indices(count: int) -> Callable[[tuple[int, ...]], Any]:
    return lambda shape: hnp.arrays(np.int32, shape, elements=st.integers(0, count - 1))


def one_hot(shape: tuple[int, ...]) -> Any:
    return indices(shape[-1])(shape[:-1]).map(lambda each: np.eye(shape[-1], dtype=np.float32)[each])


def reduced(
    values: np.ndarray, reduction: str, weights: Any = None, where: Any = None, shares: Any = 1.0
) -> np.ndarray:
    """What a loss makes of its values, in float64."""
    shares = np.broadcast_to(np.asarray(shares, np.float64), values.shape)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, np.float64)
    kept = np.ones(values.shape, bool) if where is None else np.asarray(where)
    spread = values.shape
    weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(spread) - weights.ndim)), spread)
    values = np.where(kept & (weights != 0), values * weights, 0.0)
    if reduction == "none":
        return values
    whole = np.sum(np.where(kept, shares * weights, 0.0))
    return values.sum() if reduction == "sum" else np.asarray(values.sum() / whole if whole else 0.0)


def averaged(elements: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The oracle of a loss that is the mean of ``elements`` over the features."""

    def oracle(
        y_true: np.ndarray,
        y_pred: np.ndarray,
        *,
        reduction: str = "none",
        weights: Any = None,
        where: Any = None,
        **options: Any,
    ) -> np.ndarray:
        each = elements(np.asarray(y_true, np.float64), y_pred, **options)
        return reduced(each if each.ndim < 2 else each.mean(-1), reduction, weights, where)

    return oracle


def binary_elements(
    y: np.ndarray,
    p: np.ndarray,
    *,
    from_logits: bool = False,
    positive_weight: Any = 1.0,
    negative_weight: Any = 1.0,
    label_smoothing: float = 0.0,
) -> np.ndarray:
    y = y * (1 - label_smoothing) + label_smoothing / 2
    with np.errstate(all="ignore"):
        yes = np.logaddexp(0, -p) if from_logits else -np.log(p)
        no = np.logaddexp(0, p) if from_logits else -np.log1p(-p)
    return positive_weight * np.where(y == 0, 0, y * yes) + negative_weight * np.where(
        y == 1, 0, (1 - y) * no
    )


def cross_entropy(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    from_logits: bool = False,
    sparse: bool | None = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: str = "none",
    weights: Any = None,
    where: Any = None,
) -> np.ndarray:
    y_pred = np.moveaxis(y_pred, axis, -1)
    y_true = y_true[..., 0] if sparse else y_true
    count = y_pred.shape[-1]
    if y_true.dtype.kind in "iu":
        if ignore_index is not None:
            where = (y_true != ignore_index) & (True if where is None else where)
        y_true = np.eye(count)[np.where(where, y_true, 0) if where is not None else y_true]
    else:
        y_true = np.moveaxis(y_true, axis, -1)
    with np.errstate(all="ignore"):
        top = y_pred.max(-1, keepdims=True)
        log_p = np.log(y_pred)
        if from_logits:
            log_p = y_pred - top - np.log(np.exp(y_pred - top).sum(-1, keepdims=True))
    allowed = (y_pred > -np.inf) if from_logits else np.ones(y_pred.shape)
    scale = np.ones(count) if class_weights is None else class_weights
    shares = (y_true * scale).sum(-1) if class_weights is not None else 1.0
    smooth = y_true * (1 - label_smoothing) + label_smoothing * allowed / allowed.sum(-1, keepdims=True)
    values = -(np.where(smooth == 0, 0, smooth * scale * log_p)).sum(-1)
    return reduced(values, reduction, weights, where, shares)


def reductions(*arrays: np.ndarray, **options: Any) -> tuple[Case, ...]:
    """One call without reduction, then with each, weighted and masked."""
    return (
        case(*arrays, **options),
        case(*arrays, reduction="mean", **options),
        case(*arrays, reduction="sum", weights=WEIGHTS, **options),
        case(*arrays, reduction="mean", weights=WEIGHTS, where=WHERE, **options),
        case(*arrays, weights=WEIGHTS, where=WHERE, **options),
    )


def a_column_is_no_vector(op: Any) -> None:
    """(N,) against (N, 1) is an error, never (N, N)."""
    with pytest.raises(ValueError, match="shape"):
        op(jnp.zeros(4), jnp.full((4, 1), 0.5))
    with pytest.raises(ValueError, match="shape"):
        op(jnp.zeros((4, 1)), jnp.full(4, 0.5))


def _logit_dtypes(op: Any) -> None:
    """Logits of 1e4 in every float dtype: the value as the dtype rounds it, the gradient 1 or -1."""
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        logits, labels = jnp.array([1e4, -1e4, 1e4, -1e4], dtype), jnp.array([0, 1, 1, 0])
        value, pull = jax.vjp(jax.jit(lambda x, y=labels: op(y, x, from_logits=True)), logits)
        (gradient,) = pull(jnp.ones_like(value))
        assert value.tolist() == [float(dtype(1e4))] * 2 + [0.0] * 2
        assert gradient.tolist() == [1.0, -1.0, 0.0, 0.0]


def _infinite_logit(op: Any) -> None:
    found = op(jnp.array([1, 0]), jnp.array([jnp.inf, -jnp.inf]), from_logits=True)
    assert found.tolist() == [0.0, 0.0]


def _certain_probabilities(op: Any) -> None:
    """Probabilities of exactly 0 and 1 are finite in float16, wrong ones too."""
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        p, y = jnp.array([0, 1, 0, 1], dtype), jnp.array([0, 1, 1, 0])
        value, pull = jax.vjp(jax.jit(lambda p, y=y: op(y, p)), p)
        (gradient,) = pull(jnp.ones_like(value))
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def _masked_class(op: Any) -> None:
    """A class of logit -inf leaves the value of the others, by index and by one-hot alike."""
    logits, short = jnp.array([[1.0, -jnp.inf, 0.5]]), jnp.array([[1.0, 0.5]])
    expected = op(jnp.array([0]), short, from_logits=True)
    for label in (jnp.array([0]), jnp.array([[1.0, 0.0, 0.0]])):
        loss = jax.jit(jax.value_and_grad(lambda x, y=label: op(y, x, from_logits=True).sum()))
        value, gradient = loss(logits)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6)
        assert np.isfinite(gradient).all()
        assert gradient[0, 1] == 0


def _label_out_of_range(op: Any) -> None:
    """NaN on the device, with a gradient that is NaN or 0; an error on the host; -1 is not the last class."""
    for label in (3, -1):
        with pytest.raises(ValueError, match=f"in \\[0, 3\\), got {label}"):
            op(jnp.array([label]), jnp.zeros((1, 3)), from_logits=True)
        loss = jax.jit(lambda x, y: op(y, x, from_logits=True).sum())
        assert np.isnan(loss(jnp.zeros((1, 3)), jnp.array([label])))
        gradient = jax.jit(jax.grad(loss))(jnp.zeros((1, 3)), jnp.array([label]))
        assert (np.isnan(gradient) | (gradient == 0)).all()


def _all_ignored(op: Any) -> None:
    def loss(x: Any) -> Any:
        return op(jnp.array([-100, -100]), x, from_logits=True, ignore_index=-100, reduction="mean")

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.ones((2, 3)))
    assert value == 0
    assert (gradient == 0).all()


ROWS: tuple[LossRow, ...] = (
    LossRow(
        name="losses.mean_squared_error",
        formula="mean_j (y_pred_j - y_true_j)^2",
        oracle=averaged(lambda y, p: (p - y) ** 2),
        oracle_name="NumPy in float64",
        peers="Optax, Keras, torch",
        cases=(*reductions(REAL, OTHER), case(REAL[:, 0], OTHER[:, 0])),
        edges=(case(REAL, REAL), case(REAL * 1e15, OTHER * 1e15)),
        domain=((case(REAL, OTHER), (reals(1e18), reals(1e18))),),
        torch="F.mse_loss(y_pred, y_true, reduction='none').mean(-1) if y_true.ndim > 1 "
        "else F.mse_loss(y_pred, y_true, reduction='none')",
        laws=(a_column_is_no_vector,),
    ),
    LossRow(
        name="losses.binary_cross_entropy",
        formula="mean_j -w+ y_j log p_j - w- (1 - y_j) log(1 - p_j)",
        oracle=averaged(binary_elements),
        oracle_name="logaddexp in float64",
        peers="Optax, Keras, torch",
        cases=(
            case(BINARY, REAL, from_logits=True),
            case(BINARY, REAL, from_logits=True, positive_weight=CLASS_WEIGHTS),
            *reductions(BINARY, PROBABILITY),
            case(BINARY, PROBABILITY, positive_weight=0.5, negative_weight=0.8, label_smoothing=0.1),
            case(BINARY[:, 0], REAL[:, 0], from_logits=True, reduction="mean"),
        ),
        bound=CANCELS,
        edges=(
            case(BINARY, REAL * 1e4, from_logits=True),
            case(BINARY, (REAL > 0).astype(np.float64)),
            case(BINARY, np.zeros((B, F)), from_logits=True),
        ),
        domain=(
            (case(BINARY, REAL, from_logits=True), (between(0, 1), reals(1e38))),
            (case(BINARY, PROBABILITY), (between(0, 1), between(0, 1))),
        ),
        torch="binary(y_true, y_pred, from_logits, positive_weight)",
        laws=(a_column_is_no_vector, _logit_dtypes, _infinite_logit, _certain_probabilities),
    ),
    LossRow(
        name="losses.categorical_cross_entropy",
        formula="-sum_c w_c y_c log p_c",
        oracle=cross_entropy,
        oracle_name="shifted sum in float64",
        peers="Optax, Keras, torch",
        cases=(
            case(LABELS, REAL, from_logits=True),
            case(HOT, REAL, from_logits=True),
            case(LABELS, REAL, from_logits=True, class_weights=CLASS_WEIGHTS, reduction="mean"),
            case(LABELS, REAL, from_logits=True, label_smoothing=0.2, class_weights=CLASS_WEIGHTS),
            case(np.array([2, -1, 1, -1]), REAL, from_logits=True, ignore_index=-1, reduction="mean"),
            *reductions(LABELS, SOFT),
            case(HOT, SOFT),
            case(HOT.T, REAL.T, from_logits=True, axis=0),
            case(LABELS[:, None], REAL, from_logits=True, sparse=True),
        ),
        bound=CANCELS,
        edges=(
            case(LABELS, REAL * 1e4, from_logits=True),
            case(LABELS, np.eye(F)[[2, 0, 1, 0]]),
            case(HOT, np.where(HOT > 0, REAL, -np.inf), from_logits=True),
        ),
        domain=(
            (case(LABELS, REAL, from_logits=True), (indices(F), reals(1e38))),
            (case(HOT, REAL, from_logits=True), (one_hot, reals(1e38))),
            (case(LABELS, PROBABILITY), (indices(F), between(0, 1))),
        ),
        torch="categorical(y_true, y_pred, from_logits, class_weights, label_smoothing, ignore_index, "
        "reduction)",
        laws=(_masked_class, _label_out_of_range, _all_ignored),
    ),
)
