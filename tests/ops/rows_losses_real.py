"""Rows of the losses between real numbers, and of likelihoods."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops import rows_losses as base
from ops.row import LossRow, case
from ops.rows_losses import BINARY, CANCELS, OTHER, REAL, WEIGHTS, WHERE, averaged, between, reals, reductions

POSITIVE, COUNTS = np.abs(REAL) + 0.1, np.round(np.abs(OTHER) * 3)
VARIANCE = np.abs(OTHER.T).reshape(REAL.shape) + 0.2


def huber(y: np.ndarray, p: np.ndarray, *, delta: float = 1.0) -> np.ndarray:
    size = np.abs(p - y)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


def log_cosh(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.logaddexp(p - y, y - p) - np.log(2)


def quantile(y: np.ndarray, p: np.ndarray, *, quantile: float = 0.5) -> np.ndarray:
    return np.where(y > p, quantile * (y - p), (1 - quantile) * (p - y))


def gaussian_nll(y: np.ndarray, p: Any, *, full: bool = False, eps: float = 1e-6) -> np.ndarray:
    mean, variance = p
    variance = np.maximum(variance, eps)
    return (np.log(variance) + (y - mean) ** 2 / variance + full * np.log(2 * np.pi)) / 2


def poisson(y: np.ndarray, p: np.ndarray, *, from_log: bool = False, eps: float = 1e-7) -> np.ndarray:
    return np.exp(p) - y * p if from_log else p - y * np.log(p + eps)


def gaussian_kl(y_true: Any, y_pred: Any, *, reduction: str = "none", **extra: Any) -> np.ndarray:
    mean, s = y_pred
    m, t = (0.0, 0.0) if y_true is None else y_true
    each = np.sum((np.exp(s - t) + (mean - m) ** 2 * np.exp(-t) - 1 - s + t) / 2, axis=-1)
    return base.reduced(each, reduction, **extra)


def like_optax(name: str, **options: Any) -> Any:
    """A law: the same as Optax's elements."""

    def agrees_with_optax(op: Any) -> None:
        optax = pytest.importorskip("optax")
        expected = getattr(optax.losses, name)(jnp.asarray(OTHER), jnp.asarray(REAL), **options).mean(-1)
        np.testing.assert_allclose(op(jnp.asarray(REAL), jnp.asarray(OTHER)), expected, rtol=2e-6)

    return agrees_with_optax


def _zero_error_has_no_slope(op: Any) -> None:
    gradient = jax.grad(lambda p: op(jnp.zeros(3), p, reduction="sum"))(jnp.zeros(3))
    assert gradient.tolist() == [0.0, 0.0, 0.0]


def _small_errors_keep_their_digits(op: Any) -> None:
    """Where the usual formula gives 0."""
    np.testing.assert_allclose(op(jnp.zeros(1), jnp.full(1, 1e-5)), [0.5e-10], rtol=1e-6)


def _negative_numbers_recover(op: Any) -> None:
    gradient = jax.grad(lambda p: op(jnp.ones(1), p, reduction="sum"))(jnp.full(1, -3.0))
    np.testing.assert_allclose(gradient, [-2 * np.log(2)], rtol=1e-6)


def _variance_of_zero(op: Any) -> None:
    """Raised to eps, from where it can recover."""
    value, gradient = jax.value_and_grad(lambda v: op(jnp.ones(1), (jnp.zeros(1), v), reduction="sum"))(
        jnp.zeros(1)
    )
    np.testing.assert_allclose(value, (np.log(1e-6) + 1e6) / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient, [(1e6 - 1e12) / 2], rtol=1e-5)


def _no_pair(op: Any) -> None:
    with pytest.raises(ValueError, match=r"y_pred must be the tuple \(mean, .*variance\), got 3 of them"):
        op(None, (jnp.ones(3), jnp.ones(3), jnp.ones(3)))
    with pytest.raises(ValueError, match=r"y_pred must be the tuple \(mean, .*variance\), got float"):
        op(None, 0.5)


def bad(option: str, value: Any, message: str) -> Any:
    """A law: an option out of its range is named."""

    def names_a_bad_option(op: Any) -> None:
        with pytest.raises(ValueError, match=f"{option} must be {message}, got {value}"):
            op(jnp.ones(3), jnp.ones(3), **{option: value})

    names_a_bad_option.__name__ += f"_{option}"
    return names_a_bad_option


COMMON: dict[str, Any] = {"oracle_name": "NumPy in float64", "laws": (base.a_column_is_no_vector,)}

ROWS: tuple[LossRow, ...] = (
    LossRow(
        **COMMON
        | {
            "laws": (base.a_column_is_no_vector, _zero_error_has_no_slope),
        },
        name="losses.mean_absolute_error",
        formula="mean_j |y_pred_j - y_true_j|",
        oracle=averaged(lambda y, p: np.abs(p - y)),
        peers="Keras, torch",
        cases=(*reductions(REAL, OTHER), case(REAL[:, 0], OTHER[:, 0])),
        edges=(case(REAL, REAL), case(REAL * 1e37, OTHER * 1e37)),
        domain=((case(REAL, OTHER), (reals(1e37), reals(1e37))),),
        torch="F.l1_loss(y_pred, y_true, reduction='none').mean(-1) if y_true.ndim > 1 "
        "else F.l1_loss(y_pred, y_true, reduction='none')",
    ),
    LossRow(
        **COMMON | {"laws": (base.a_column_is_no_vector, bad("eps", 0, "above 0"))},
        name="losses.mean_absolute_percentage_error",
        formula="100 mean_j |y_pred_j - y_true_j| / max(|y_true_j|, eps)",
        oracle=averaged(lambda y, p, eps=1e-7: 100 * np.abs(p - y) / np.maximum(np.abs(y), eps)),
        peers="Keras",
        cases=(
            *reductions(REAL, OTHER),
            case(REAL, OTHER, eps=1.0),
            case(REAL[:, 0], OTHER[:, 0]),
        ),
        edges=(case(np.zeros((2, 3)), np.ones((2, 3))), case(REAL, REAL)),
        domain=((case(REAL, OTHER), (reals(1e12), reals(1e12))),),
        no_torch="torch has none",
    ),
    LossRow(
        **COMMON | {"laws": (base.a_column_is_no_vector, _negative_numbers_recover)},
        name="losses.mean_squared_logarithmic_error",
        formula="mean_j (log(1 + y_pred_j) - log(1 + y_true_j))^2",
        oracle=averaged(lambda y, p: (np.log1p(np.maximum(p, 0)) - np.log1p(np.maximum(y, 0))) ** 2),
        peers="Keras",
        cases=(*reductions(POSITIVE, np.abs(OTHER)), case(REAL, OTHER)),
        smooth=1,
        bound=CANCELS,
        edges=(case(np.zeros((2, 3)), np.zeros((2, 3))), case(REAL * 1e37, OTHER * 1e37)),
        domain=((case(REAL, OTHER), (reals(1e38), reals(1e38))),),
        no_torch="torch has none",
    ),
    LossRow(
        **COMMON
        | {"laws": (base.a_column_is_no_vector, like_optax("huber_loss"), bad("delta", 0, "above 0"))},
        name="losses.huber",
        formula="mean_j d_j^2 / 2 if |d_j| <= delta else delta (|d_j| - delta / 2)",
        oracle=averaged(huber),
        peers="Optax, Keras, torch",
        cases=(
            *reductions(REAL, OTHER),
            case(REAL, OTHER, delta=1.5),
            case(REAL[:, 0], OTHER[:, 0], delta=0.3),
        ),
        edges=(case(REAL, REAL), case(REAL, REAL + 1), case(REAL * 1e37, OTHER * 1e37)),
        domain=((case(REAL, OTHER), (reals(1e37), reals(1e37))),),
        torch="F.huber_loss(y_pred, y_true, reduction='none', delta=delta).mean(-1) if y_true.ndim > 1 "
        "else F.huber_loss(y_pred, y_true, reduction='none', delta=delta)",
    ),
    LossRow(
        **COMMON
        | {"laws": (base.a_column_is_no_vector, like_optax("log_cosh"), _small_errors_keep_their_digits)},
        name="losses.log_cosh",
        formula="mean_j log cosh(y_pred_j - y_true_j)",
        oracle=averaged(log_cosh),
        peers="Optax, Keras",
        cases=(*reductions(REAL, OTHER), case(REAL[:, 0], OTHER[:, 0]), case(REAL, 50 * OTHER)),
        edges=(case(REAL, REAL), case(REAL * 1e37, OTHER * 1e37)),
        domain=((case(REAL, OTHER), (reals(1e37), reals(1e37))),),
        no_torch="torch has none",
    ),
    LossRow(
        **COMMON | {"laws": (base.a_column_is_no_vector, bad("quantile", 1.5, "in \\[0, 1\\]"))},
        name="losses.quantile",
        formula="mean_j max(q d_j, (q - 1) d_j), d = y_true - y_pred",
        oracle=averaged(quantile),
        peers="Optax",
        cases=(
            case(REAL, OTHER, quantile=0.9),
            *reductions(REAL, OTHER, quantile=0.2),
            case(REAL[:, 0], OTHER[:, 0]),
        ),
        edges=(case(REAL, REAL),),
        domain=((case(REAL, OTHER, quantile=0.9), (reals(1e37), reals(1e37))),),
        no_torch="torch has none",
    ),
    LossRow(
        **COMMON | {"laws": (_variance_of_zero, _no_pair)},
        name="losses.gaussian_nll",
        formula="mean_j [log v_j + (y_true_j - mean_j)^2 / v_j] / 2",
        oracle=lambda y, p, *, reduction="none", weights=None, where=None, **options: base.reduced(
            gaussian_nll(y, p, **options).mean(-1), reduction, weights, where
        ),
        peers="torch",
        cases=(
            case(REAL, (OTHER, VARIANCE)),
            case(REAL, (OTHER, VARIANCE), full=True, eps=0.5),
            case(REAL, (OTHER, VARIANCE), reduction="mean", weights=WEIGHTS, where=WHERE),
        ),
        bound=CANCELS,
        edges=(case(REAL, (OTHER, np.zeros_like(VARIANCE))),),
        domain=((case(REAL, (OTHER, VARIANCE)), (reals(1e9), reals(1e9), between(0, 2.0**30))),),
        torch="F.gaussian_nll_loss(y_pred[0], y_true, y_pred[1], full=full, eps=eps, reduction='none')"
        ".mean(-1)",
    ),
    LossRow(
        **COMMON | {"laws": (base.a_column_is_no_vector, bad("eps", -1, "at least 0"))},
        name="losses.poisson",
        formula="mean_j y_pred_j - y_true_j log(y_pred_j + eps)",
        oracle=averaged(poisson),
        peers="Optax, Keras, torch",
        cases=(
            case(COUNTS, POSITIVE, eps=1e-8),
            *reductions(COUNTS, POSITIVE),
            case(COUNTS, OTHER, from_log=True),
            case(COUNTS[:, 0], POSITIVE[:, 0]),
        ),
        bound=CANCELS,
        edges=(case(BINARY, np.zeros_like(BINARY)), case(BINARY, -200 * POSITIVE, from_log=True)),
        domain=(
            (case(COUNTS, POSITIVE), (between(0, 2.0**20), between(0, 2.0**100))),
            (case(COUNTS, OTHER, from_log=True), (between(0, 2.0**20), reals(80))),
        ),
        torch="F.poisson_nll_loss(y_pred, y_true, log_input=from_log, eps=eps, reduction='none').mean(-1) "
        "if y_true.ndim > 1 else F.poisson_nll_loss(y_pred, y_true, log_input=from_log, eps=eps, "
        "reduction='none')",
    ),
    LossRow(
        oracle_name="closed form in float64",
        laws=(_no_pair,),
        name="losses.gaussian_kl",
        formula="sum_j [(exp(s_j) + (mean_j - m_j)^2) exp(-t_j) - 1 - s_j + t_j] / 2",
        oracle=gaussian_kl,
        peers="Keras (examples)",
        cases=(
            case((REAL, OTHER / 4), (OTHER, REAL / 4)),
            case(None, (OTHER, REAL / 4)),
            case(None, (OTHER, REAL / 4), reduction="mean", weights=WEIGHTS, where=WHERE),
        ),
        bound=CANCELS,
        edges=(case((REAL, REAL), (REAL, REAL)), case(None, (0 * REAL, 0 * REAL))),
        domain=((case(None, (REAL, OTHER)), (reals(1e9), reals(80))),),
        torch="normal_kl(y_true, y_pred)",
    ),
)
