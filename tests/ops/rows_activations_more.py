"""Rows of ``axonax.tensor.activations``: shrinks, gates, and what lies on the simplex."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import Bound, OpRow, case
from ops.rows_activations import (
    EDGES,
    EMPTY,
    GENERIC,
    MASK,
    SCALAR,
    SWEEP,
    along,
    gelu,
    nothing_allowed,
    row,
    sigmoid,
    softmax,
)

CHANNELS = np.linspace(0.1, 0.5, 5)
FAR = np.array([[1e4, 0.0, -1e4, 1e4, 9999.75], [0.0] * 5, [-1e4] * 5])
_TAIL = "its argument in the tail is rounded in float32: exp(-u) turns half an ulp of u into u ulp"


def sparsemax(x: np.ndarray, axis: Any = -1, where: Any = True) -> np.ndarray:
    """The threshold by bisection."""
    x = np.where(where, x, -np.inf)
    high = np.max(x, axis, keepdims=True, initial=-np.inf)
    high = np.where(np.isfinite(high), high, 0)
    low = high - 1
    for _ in range(200):
        middle = (low + high) / 2
        above = np.sum(np.maximum(x - middle, 0), axis, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(x - low, 0)


def tanh_shrink(x: np.ndarray) -> np.ndarray:
    """Near 0 by its series, where the difference cancels."""
    coefficients = (1 / 3, -2 / 15, 17 / 315, -62 / 2835, 1382 / 155925, -21844 / 6081075)
    small = np.where(np.abs(x) < 0.1, x, 0)
    series = sum(c * small ** (2 * i + 3) for i, c in enumerate(coefficients))
    return np.where(np.abs(x) < 0.1, series, x - np.tanh(x))


def halves(x: np.ndarray, axis: int) -> list[np.ndarray]:
    return np.split(x, 2, axis)


def keeps_nan(op: Any) -> None:
    assert np.isnan(op(jnp.array([jnp.nan]))).all()


def one_sample_by_its_probability(op: Any) -> None:
    """Hard samples are one-hot with the frequencies of the softmax; the gradient is the soft one."""
    x = jnp.broadcast_to(jnp.array([1.0, 0.0, -jnp.inf, 2.0]), (4000, 4))
    key = jax.random.key(3)
    found = np.asarray(op(x, key=key, hard=True, temperature=0.5))
    assert ((found == 0) | (found == 1)).all()
    assert (found.sum(-1) == 1).all()
    p = np.exp([1.0, 0.0, -np.inf, 2.0]) / np.exp([1.0, 0.0, 2.0]).sum()
    assert (np.abs(found.mean(0) - p) <= 4.5 * np.sqrt(p * (1 - p) / len(found))).all()
    weights = jnp.array([[0.3, -0.2, 0.0, 0.9]])
    gradients = [
        jax.grad(lambda x, hard=hard: jnp.sum(op(x, key=key, hard=hard) * weights))(x[:5]) for hard in (0, 1)
    ]
    np.testing.assert_array_equal(*gradients)
    assert (np.asarray(gradients[0]) != 0).any()


def no_sample_where_nothing_is_allowed(op: Any) -> None:
    where = jnp.array([[True, False], [False, False]])
    found = op(jnp.ones((2, 2)), key=jax.random.key(0), hard=True, where=where)
    assert found.tolist() == [[1, 0], [0, 0]]


def gate(name: str, formula: str, function: Any, torch: str, **rest: Any) -> OpRow:
    """A row of ``function(a) * b``."""
    first, second = "x.chunk(2, axis)[0]", "x.chunk(2, axis)[1]"
    return row(
        name,
        formula,
        lambda x, axis=-1, **options: function(halves(x, axis)[0], **options) * halves(x, axis)[1],
        cases=(case(GENERIC[:, :4]), case(GENERIC[:2], axis=0), case(SWEEP.reshape(-1, 2)), case(EMPTY.T)),
        smooth=2,
        edges=(case(EDGES[-6:]),),
        peers="common in transformers",
        torch=torch.replace("a", first, 1) + f" * {second}",
        **rest,
    )


ROWS: tuple[OpRow, ...] = (
    row(
        "hard_shrink",
        "x if |x| > threshold else 0",
        lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0),
        variants=({}, {"threshold": 1.5}),
        peers="Keras, torch",
        torch="F.hardshrink(x, threshold)",
        laws=(keeps_nan,),
    ),
    row(
        "soft_shrink",
        "sign(x) max(|x| - threshold, 0)",
        lambda x, threshold=0.5: np.sign(x) * np.maximum(np.abs(x) - threshold, 0),
        variants=({}, {"threshold": 1.5}),
        peers="Keras, torch",
        torch="F.softshrink(x, threshold)",
        laws=(keeps_nan,),
    ),
    row("tanh_shrink", "x - tanh(x)", tanh_shrink, peers="Keras, torch", torch="F.tanhshrink(x)"),
    row(
        "threshold",
        "x if x > threshold else value",
        lambda x, threshold=0.0, value=0.0: np.where(x > threshold, x, value),
        variants=({"threshold": 0.5, "value": -1.0}, {}),
        peers="Keras, torch",
        torch="F.threshold(x, threshold, value)",
        laws=(keeps_nan,),
    ),
    row(
        "prelu",
        "x if x > 0 else alpha x",
        lambda x, alpha=0.25: np.where(x > 0, x, alpha * x),
        cases=(
            case(GENERIC, CHANNELS),
            case(SWEEP, np.array(0.25)),
            case(GENERIC, CHANNELS[:3, None]),
            case(EMPTY, CHANNELS[:3]),
            case(SCALAR),
        ),
        edges=(case(EDGES, np.array(0.25)),),
        peers="Keras, torch",
        torch="torch.where(x > 0, x, alpha * x)",
    ),
    row(
        "quick_gelu",
        "x sigmoid(1.702 x)",
        lambda x: x * sigmoid(1.702 * x),
        peers="CLIP",
        bound=Bound(4, absolute=2e-7, reason=_TAIL),
        torch="x * torch.sigmoid(1.702 * x)",
    ),
    gate("swiglu", "silu(a) b, x = [a, b]", lambda a: a * sigmoid(a), "F.silu(a)"),
    gate("reglu", "max(a, 0) b, x = [a, b]", lambda a: np.maximum(a, 0), "F.relu(a)"),
    gate(
        "geglu",
        "gelu(a) b, x = [a, b]",
        gelu,
        "F.gelu(a, approximate='tanh' if approximate else 'none')",
        bound=Bound(4, absolute=2e-6, reason=_TAIL),
    ),
    along(
        "softmin",
        "exp(-x) / sum exp(-x)",
        lambda x, axis=-1, where=True: softmax(-x, axis, where),
        peers="torch",
        torch="F.softmin(x, axis)",
        laws=(nothing_allowed(0.0),),
    ),
    along(
        "sparsemax",
        "the nearest point of the simplex, max(x - t, 0)",
        sparsemax,
        peers="Keras",
        oracle_name="bisection in float64",
        cases=(
            case(GENERIC / 3),
            case(GENERIC, axis=0),
            case(GENERIC, axis=(0, 1)),
            case(GENERIC, where=MASK),
            case(FAR),
            case(EMPTY),
        ),
        bound=Bound(16, absolute=5e-7, reason="x - t cancels near t"),
        no_torch="torch has none",
        laws=(nothing_allowed(0.0),),
    ),
    along(
        "gumbel_softmax",
        "softmax((x + noise) / temperature)",
        lambda x, temperature=1.0, axis=-1, where=True: softmax(x / temperature, axis, where),
        peers="torch",
        oracle_name="softmax without a key; frequencies with one",
        cases=(case(GENERIC), case(GENERIC, temperature=0.5, axis=0), case(GENERIC, where=MASK)),
        no_torch="another generator draws other noise",
        laws=(one_sample_by_its_probability, no_sample_where_nothing_is_allowed, nothing_allowed(0.0)),
    ),
)
