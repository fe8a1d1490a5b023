"""Rows of ``axonax.tensor.layers``: normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import REDUCTION, Bound, OpRow, case

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


def instance_norm(
    x: np.ndarray,
    mean: Any = None,
    var: Any = None,
    scale: Any = 1.0,
    offset: Any = 0.0,
    *,
    train: bool = False,
    momentum: float = 0.99,
    eps: float = 1e-5,
    axis: int = -1,
) -> tuple[Any, ...]:
    own = mean is None or train
    others = tuple(each for each in range(1, x.ndim) if each != axis % x.ndim)
    used = (x.mean(others), x.var(others))
    spread = [each.reshape([len(x), *along(each[0], x, axis).shape[1:]]) for each in used]
    if not own:
        spread = [along(mean, x, axis), along(var, x, axis)]
    y = (x - spread[0]) / np.sqrt(spread[1] + eps) * along(scale, x, axis) + along(offset, x, axis)
    if mean is None:
        return y, None, None
    kept = momentum if train else 1.0
    return y, *(kept * old + (1 - kept) * new.mean(0) for old, new in zip((mean, var), used, strict=True))


def group_norm(
    x: np.ndarray, scale: Any = 1.0, offset: Any = 0.0, *, groups: int, eps: float = 1e-5, axis: int = -1
) -> np.ndarray:
    parts = []
    for part in np.split(x, groups, axis):
        others = tuple(range(1, x.ndim))
        parts.append(
            (part - part.mean(others, keepdims=True)) / np.sqrt(part.var(others, keepdims=True) + eps)
        )
    return np.concatenate(parts, axis) * along(scale, x, axis) + along(offset, x, axis)


def rms_norm(
    x: np.ndarray, scale: Any = 1.0, *, eps: float = 1e-6, shift: float = 0.0, axis: Any = -1
) -> np.ndarray:
    scale = shift + np.asarray(scale)
    if scale.ndim == 1:
        scale = along(scale, x, axis if isinstance(axis, int) else axis[0])
    return x / np.sqrt(np.square(x).mean(axis, keepdims=True) + eps) * scale


def local_response_norm(
    x: np.ndarray, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, axis: int = -1
) -> np.ndarray:
    last = np.moveaxis(x, axis, -1)
    total = np.zeros_like(last)
    for c in range(last.shape[-1]):
        window = range(max(c - size // 2, 0), min(c - size // 2 + size, last.shape[-1]))
        total[..., c] = sum(last[..., i] ** 2 for i in window)
    return np.moveaxis(last / (k + alpha / size * total) ** beta, -1, axis)


def weight_norm(kernel: np.ndarray, scale: np.ndarray, *, axis: int = -1) -> np.ndarray:
    others = tuple(each for each in range(kernel.ndim) if each != axis % kernel.ndim)
    norm = np.sqrt(np.square(kernel).sum(others, keepdims=True))
    return kernel / np.where(norm == 0, 1, norm) * along(scale, kernel, axis)


def spectral_norm(
    kernel: np.ndarray, u: np.ndarray, *, train: bool = False, steps: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    matrix, v = kernel.reshape(-1, kernel.shape[-1]), u / np.linalg.norm(u)
    for _ in range(steps if train else 0):
        v = matrix.T @ (matrix @ v)
        v /= np.linalg.norm(v)
    return kernel / np.linalg.norm(matrix @ v), v if train else u


def zero_kernel_is_zero(op: Any) -> None:
    value, gradient = jax.value_and_grad(lambda kernel: op(kernel, jnp.ones(3)).sum())(jnp.zeros((2, 3)))
    assert value == 0
    assert (gradient == 0).all()


def finds_the_largest_singular_value(op: Any) -> None:
    """In many steps, or in one at a time; a kernel of 0 stays 0."""
    kernel = jnp.asarray(X[0], jnp.float32)
    expected = kernel / np.linalg.svd(X[0])[1][0]
    once, u = op(kernel, jnp.ones(5), train=True, steps=100)
    np.testing.assert_allclose(once, expected, rtol=1e-5)
    np.testing.assert_allclose(op(kernel, u)[0], expected, rtol=1e-5)
    slowly = jnp.ones(5)
    for _ in range(50):
        y, slowly = op(kernel, slowly, train=True)
    np.testing.assert_allclose(y, expected, rtol=1e-4)
    assert (op(kernel * 0, u, train=True)[0] == 0).all()


def constant_vectors(op: Any) -> None:
    """The gradient is that of kernel / (left^T kernel right), both vectors constant."""
    kernel, weights = jnp.asarray(X[0], jnp.float32), jnp.asarray(X[1], jnp.float32)
    _, u = op(kernel, jnp.ones(5), train=True, steps=3)
    left = kernel @ u / jnp.linalg.norm(kernel @ u)
    found = jax.grad(lambda kernel: jnp.sum(weights * op(kernel, u)[0]))(kernel)
    expected = jax.grad(lambda kernel: jnp.sum(weights * kernel / (left @ kernel @ u)))(kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


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
    OpRow(
        name="layers.instance_norm",
        formula="(x - mean) / sqrt(variance + eps) scale + offset, over the spatial axes of each example",
        oracle=instance_norm,
        oracle_name="two passes in float64",
        peers="Flax, Keras, torch",
        cases=(
            case(X, MEAN, VAR, SCALE, OFFSET, train=True, momentum=0.9),
            case(X, MEAN, VAR, SCALE, OFFSET),
            case(X),
            case(np.moveaxis(X, -1, 1).copy(), MEAN, VAR, SCALE, OFFSET, train=True, axis=1, eps=1e-3),
        ),
        bound=CENTERED,
        wrt=(0,),
        graded=0,
        edges=(case(X * 0 + 3, MEAN, VAR, SCALE, OFFSET, train=True),),
        torch="instance_norm(x, mean, var, scale, offset, train=train, momentum=momentum, eps=eps)",
        laws=(far_from_zero(lambda op, x: op(x[..., None])[0][..., 0]),),
    ),
    OpRow(
        name="layers.group_norm",
        formula="(x - mean) / sqrt(variance + eps) scale + offset, over groups of channels",
        oracle=group_norm,
        oracle_name="two passes in float64",
        peers="Flax, Keras, torch",
        cases=(
            case(X[..., :4].copy(), SCALE[:4], OFFSET[:4], groups=2),
            case(X, groups=1, eps=1e-3),
            case(X[:, 0].copy(), SCALE, OFFSET, groups=5, eps=1e-3),
            case(X[:, :2].copy(), SCALE[:2], OFFSET[:2], groups=2, axis=1),
        ),
        bound=CENTERED,
        edges=(case(X * 0 + 3, SCALE, OFFSET, groups=1),),
        torch="F.group_norm(x.movedim(-1, 1), groups, scale, offset, eps).movedim(1, -1)",
        laws=(far_from_zero(lambda op, x: op(x, groups=1)),),
    ),
    OpRow(
        name="layers.rms_norm",
        formula="x / sqrt(mean(x^2) + eps) (shift + scale)",
        oracle=rms_norm,
        oracle_name="NumPy in float64",
        peers="Flax, Keras, torch",
        cases=(
            case(X, SCALE),
            case(X, axis=(1, 2), eps=1e-3),
            case(X, SCALE[:3], axis=1),
            case(X, SCALE, shift=1.0),
            case(X, X[0], shift=-0.5, axis=(1, 2)),
        ),
        bound=REDUCTION,
        edges=(case(X * 0, SCALE), case(X * 0, SCALE, shift=1.0)),
        torch="F.rms_norm(x, x.shape[-1:], shift + scale, eps)",
    ),
    OpRow(
        name="layers.local_response_norm",
        formula="x / (k + alpha / size sum_window x^2)^beta",
        oracle=local_response_norm,
        oracle_name="loop over channels in float64",
        peers="torch",
        cases=(
            case(X, size=3, alpha=0.5),
            case(X),
            case(X, size=4, alpha=1.0, beta=0.5, k=2.0),
            case(X, size=9, alpha=1.0, axis=1),
        ),
        bound=REDUCTION,
        torch="F.local_response_norm(x.movedim(-1, 1), size, alpha, beta, k).movedim(1, -1)",
    ),
    OpRow(
        name="layers.weight_norm",
        formula="scale kernel / |kernel|",
        oracle=weight_norm,
        oracle_name="NumPy in float64",
        peers="Flax, torch",
        cases=(case(X, SCALE), case(X, SCALE[:3], axis=1)),
        bound=REDUCTION,
        edges=(case(X * 0, SCALE),),
        torch="torch._weight_norm(kernel.movedim(axis, 0), scale[:, None, None], 0).movedim(0, axis)",
        laws=(zero_kernel_is_zero,),
    ),
    OpRow(
        name="layers.spectral_norm",
        formula="kernel / sigma_max, by power iteration",
        oracle=spectral_norm,
        oracle_name="power iteration in float64; singular values",
        peers="Flax, Keras, torch",
        cases=(case(X, SCALE, train=True, steps=2), case(X, SCALE), case(X[0], SCALE, train=True)),
        bound=Bound(32, relative=2e-6),
        gradient="none",
        gradient_reason="the singular vectors are constants to it: a law compares it with that formula",
        no_torch="its module keeps the left vector too and starts from its own draw",
        laws=(finds_the_largest_singular_value, constant_vectors),
    ),
)
