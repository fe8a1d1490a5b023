"""Rows of ``axonax.tensor.layers``: normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import Bound, OpRow, case

_RANDOM = np.random.default_rng(41)
X = _RANDOM.normal(size=(4, 3, 5)) * 2 + 1
SCALE, OFFSET, MEAN = (_RANDOM.normal(size=5) for _ in range(3))
VAR = _RANDOM.random(5) + 0.5
WHERE = np.array([True, False, True, True])
CENTERED = Bound(16, absolute=2e-6, relative=2e-6, reason="x - mean cancels near the mean")


def along(value: Any, x: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(value).reshape([-1 if each == axis % x.ndim else 1 for each in range(x.ndim)])


def batch_norm(
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    scale: Any = 1.0,
    offset: Any = 0.0,
    *,
    train: bool = False,
    momentum: float = 0.99,
    eps: float = 1e-5,
    axis: int = -1,
    where: Any = None,
) -> tuple[np.ndarray, ...]:
    used, spread = (mean, var), (along(mean, x, axis), along(var, x, axis))
    if train:
        rows = np.moveaxis(x if where is None else x[where], axis, -1).reshape(-1, len(mean))
        found = (rows.mean(0), rows.var(0))
        spread = tuple(along(each, x, axis) for each in found)
        used = tuple(momentum * old + (1 - momentum) * new for old, new in zip(used, found, strict=True))
    y = (x - spread[0]) / np.sqrt(spread[1] + eps)
    return y * along(scale, x, axis) + along(offset, x, axis), *used


def layer_norm(
    x: np.ndarray, scale: Any = 1.0, offset: Any = 0.0, *, eps: float = 1e-5, axis: Any = -1
) -> np.ndarray:
    axis = (axis,) if isinstance(axis, int) else axis
    mean, var = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * scale + offset


def far_from_zero(call: Callable[[Any, Any], Any]) -> Callable[[Any], None]:
    """The law that 1e4 + N(0, 1) in float32 is right to 2e-3, and a constant row is 0."""

    def law(op: Any) -> None:
        x = (1e4 + np.random.default_rng(2).normal(size=(1, 4096))).astype(np.float32)
        wide = x.astype(np.float64)
        expected = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
        assert np.abs(np.asarray(jax.jit(lambda x: call(op, x))(x)) - expected).max() <= 2e-3
        constant = jnp.full((1, 64), 1234.567)
        assert (call(op, constant) == 0).all()

    law.__name__ = "far_from_zero"
    return law


ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.batch_norm",
        formula="(x - mean) / sqrt(var + eps) scale + offset, over all axes but one",
        oracle=batch_norm,
        oracle_name="two passes in float64",
        peers="Flax, Keras, torch",
        cases=(
            case(X, MEAN, VAR, SCALE, OFFSET, train=True, momentum=0.9),
            case(X, MEAN, VAR, SCALE, OFFSET),
            case(X, MEAN, VAR, train=True, where=WHERE),
            case(np.moveaxis(X, -1, 1).copy(), MEAN, VAR, SCALE, OFFSET, train=True, axis=1, eps=1e-3),
        ),
        bound=CENTERED,
        wrt=(0, 3, 4),
        graded=0,
        edges=(case(X * 0 + 3, MEAN, VAR, SCALE, OFFSET, train=True),),
        torch="batch_norm(x, mean, var, scale, offset, train=train, momentum=momentum, eps=eps)",
        laws=(far_from_zero(lambda op, x: op(x.T, jnp.zeros(1), jnp.ones(1), train=True)[0].T),),
    ),
    OpRow(
        name="layers.layer_norm",
        formula="(x - mean) / sqrt(variance + eps) scale + offset, over the features",
        oracle=layer_norm,
        oracle_name="two passes in float64",
        peers="Flax, Keras, torch",
        cases=(case(X, SCALE, OFFSET), case(X), case(X, axis=(1, 2), eps=1e-3)),
        bound=CENTERED,
        edges=(case(X * 0 + 3, SCALE, OFFSET),),
        torch="F.layer_norm(x, x.shape[-1:], scale, offset, eps)",
        laws=(far_from_zero(lambda op, x: op(x)),),
    ),
)
