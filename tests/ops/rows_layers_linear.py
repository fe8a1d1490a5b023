"""Rows of ``axonax.tensor.layers``: products, shapes, dropout."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import REDUCTION, OpRow, case

_RANDOM = np.random.default_rng(31)
X, KERNEL, BIAS = (_RANDOM.normal(size=size) for size in ((2, 3, 5), (5, 4), (4,)))
RATE = 0.4
KEY = jax.random.key(8)


def zero_rate_is_the_input(op: Any) -> None:
    x = jnp.asarray(X, jnp.float32)
    for rate in (0.0, jnp.float32(0)):
        np.testing.assert_array_equal(op(x, rate, key=KEY), x)


def rate_one_is_zero(op: Any) -> None:
    x = jnp.full((2, 3, 5), 1e30)
    for rate in (1.0, jnp.float32(1)):
        value, gradient = jax.value_and_grad(lambda x, rate=rate: op(x, rate, key=KEY).sum())(x)
        assert value == 0
        assert (gradient == 0).all()


def share_and_mean(op: Any) -> None:
    """The dropped share is the rate, what is kept is scaled so that the mean stays, in every dtype."""
    for dtype in (jnp.float32, jnp.float16, jnp.bfloat16):
        shape = (10000, 2) if op.__name__ == "drop_path" else (200, 4, 50)
        found = np.asarray(op(jnp.ones(shape, dtype), RATE, key=KEY), np.float64)
        maps = found[:, 0] if op.__name__ in ("spatial_dropout", "drop_path") else found
        assert abs((maps == 0).mean() - RATE) < 4.5 * np.sqrt(RATE * (1 - RATE) / maps.size)
        np.testing.assert_array_equal(np.unique(found), [0.0, float(jnp.asarray(1 / (1 - RATE), dtype))])


def the_key_decides(op: Any) -> None:
    x = jnp.ones((4, 4, 50))
    draw = jax.jit(lambda key: op(x, RATE, key=key))
    first, again, other = draw(KEY), op(x, RATE, key=KEY), draw(jax.random.key(9))
    np.testing.assert_allclose(first, again, rtol=1e-5, atol=1e-6)
    assert (np.asarray(first) != np.asarray(other)).any()


def whole_maps(op: Any) -> None:
    """A channel of an example is kept or dropped everywhere."""
    found = np.asarray(op(jnp.ones((8, 3, 3, 6)), RATE, key=KEY))
    assert (found == found[:, :1, :1]).all()


def whole_examples(op: Any) -> None:
    found = np.asarray(op(jnp.ones((8, 3, 6)), RATE, key=KEY))
    assert (found == found[:, :1, :1]).all()


def share_and_moments(op: Any) -> None:
    """Elements saturate as often as the rate says; mean 0 and variance 1 stay."""
    x = jax.random.normal(jax.random.key(1), (400, 2, 100))
    found = np.asarray(op(x, RATE, key=KEY), np.float64)
    s = -1.0507009873554805 * 1.6732632423543772
    a = ((1 - RATE) * (1 + RATE * s**2)) ** -0.5
    dropped = np.abs(found - a * (s - RATE * s)) < 1e-6
    np.testing.assert_allclose(
        found[~dropped], a * (np.asarray(x)[~dropped] - RATE * s), rtol=1e-4, atol=1e-5
    )
    assert abs(dropped.mean() - RATE) < 0.015
    assert abs(found.mean()) < 0.02
    assert abs(found.var() - 1) < 0.03


def noise_is_normal(op: Any) -> None:
    """Mean 1 and the spread of the formula, for a factor; mean 0 and the given spread, for a term."""
    spread = RATE if op.__name__ == "gaussian_noise" else np.sqrt(RATE / (1 - RATE))
    for dtype in (jnp.float32, jnp.bfloat16):
        found = np.asarray(op(jnp.ones((200, 4, 50), dtype), RATE, key=KEY), np.float64)
        assert abs(found.mean() - 1) < 5 * spread / np.sqrt(found.size)
        np.testing.assert_allclose(found.std(), spread, rtol=0.02)


def dropping(name: str, formula: str, *laws: Any, peers: str = "Flax, Keras, torch") -> OpRow:
    """A row of a dropout: the identity by its oracle, the noise by laws."""
    return OpRow(
        name=f"layers.{name}",
        formula=formula,
        oracle=lambda x, rate, key=None: x,
        oracle_name="identity without a key; frequencies with one",
        peers=peers,
        cases=(case(X, RATE),),
        edges=(case(X, 1.0),),
        laws=(zero_rate_is_the_input, the_key_decides, *laws),
        no_torch="another generator drops other elements",
    )


IDS = np.array([[1, 4, 0], [2, 2, 4]])
TABLE = _RANDOM.normal(size=(6, 4))


def out_of_range_is_nan(op: Any) -> None:
    """Beyond the last row and below the first; without gradient, compiled or not."""
    table = jnp.asarray(TABLE, jnp.float32)
    ids = jnp.array([6, -1, 5, -6, 100])
    for call in (op, jax.jit(op)):
        assert np.isnan(call(ids, table)).all(-1).tolist() == [True, True, False, True, True]
    gradient = jax.grad(lambda table: jnp.nansum(op(ids, table)))(table)
    np.testing.assert_array_equal(gradient, np.eye(6)[5][:, None] * np.ones(4))
    assert np.isnan(op(jnp.array([0]), jnp.zeros((0, 3)))).all()


def cosines(a: np.ndarray, b: np.ndarray, *, axis: int = -1, keep_axis: bool = False) -> np.ndarray:
    lengths = np.sqrt((a**2).sum(axis, keepdims=True) * (b**2).sum(axis, keepdims=True))
    found = (a * b).sum(axis, keepdims=True) / np.where(lengths, lengths, 1)
    return found if keep_axis else found.squeeze(axis)


def size_does_not_matter(op: Any) -> None:
    """Vectors whose squares would overflow, or vanish, have the same angle."""
    a, b = jnp.asarray(X, jnp.float32), jnp.asarray(X[..., ::-1] + 1, jnp.float32)
    expected = op(a, b)
    for size in (1e30, 1e-30):
        np.testing.assert_allclose(op(a * size, b / size), expected, rtol=1e-5)
        slope = jax.grad(lambda a, size=size: op(a * size, b).sum())(a)
        np.testing.assert_allclose(slope, jax.grad(lambda a: op(a, b).sum())(a), rtol=1e-4, atol=1e-6)


ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.dense",
        formula="x kernel + bias",
        oracle=lambda x, kernel, bias=0.0: np.einsum("...i,io->...o", x, kernel) + bias,
        oracle_name="einsum in float64",
        peers="Flax, Keras, torch",
        cases=(case(X, KERNEL, BIAS), case(X[0], KERNEL), case(np.zeros((0, 5)), KERNEL, BIAS)),
        bound=REDUCTION,
        edges=(case(X * 0, KERNEL * 0, BIAS * 0),),
        torch="F.linear(x, kernel.mT, bias)",
    ),
    OpRow(
        name="layers.bias",
        formula="x + bias",
        oracle=lambda x, bias: x + bias,
        oracle_name="NumPy in float64",
        peers="Keras",
        cases=(case(X[..., :4], BIAS),),
        torch="x + bias",
    ),
    OpRow(
        name="layers.flatten",
        formula="(batch, ...) to (batch, features)",
        oracle=lambda x: x.reshape(len(x), -1),
        oracle_name="NumPy",
        peers="Keras, torch",
        cases=(case(X), case(X[:, 0, 0])),
        torch="x.flatten(1) if x.ndim > 1 else x[:, None]",
    ),
    dropping("dropout", "0 with probability rate, else x / (1 - rate)", rate_one_is_zero, share_and_mean),
    dropping("spatial_dropout", "dropout of whole channels", rate_one_is_zero, share_and_mean, whole_maps),
    dropping(
        "drop_path",
        "dropout of whole examples",
        rate_one_is_zero,
        share_and_mean,
        whole_examples,
        peers="timm",
    ),
    dropping(
        "alpha_dropout",
        "a (x or s) + b, s = -1.7581 with probability rate",
        rate_one_is_zero,
        share_and_moments,
        peers="Keras, torch",
    ),
    dropping(
        "feature_alpha_dropout",
        "alpha dropout of whole channels",
        rate_one_is_zero,
        whole_maps,
        peers="torch",
    ),
    dropping(
        "gaussian_dropout",
        "x N(1, rate / (1 - rate))",
        rate_one_is_zero,
        noise_is_normal,
        peers="Keras",
    ),
    OpRow(
        name="layers.gaussian_noise",
        formula="x + N(0, stddev^2)",
        oracle=lambda x, stddev, key=None: x,
        oracle_name="identity without a key; moments with one",
        peers="Keras",
        cases=(case(X, RATE),),
        laws=(zero_rate_is_the_input, the_key_decides, noise_is_normal),
        no_torch="torch has none",
    ),
    OpRow(
        name="layers.bilinear",
        formula="sum_ij x[i] kernel[i, j] y[j] + bias",
        oracle=lambda x, y, kernel, bias=0.0: np.einsum("...i,...j,iju->...u", x, y, kernel) + bias,
        oracle_name="einsum in float64",
        peers="torch",
        cases=(
            case(X, X[..., 1:3].copy(), _RANDOM.normal(size=(5, 2, 4)), BIAS),
            case(X[0, 0], X[0, 1], _RANDOM.normal(size=(5, 5, 3))),
        ),
        bound=REDUCTION,
        torch="F.bilinear(x, y, kernel.movedim(-1, 0), bias)",
    ),
    OpRow(
        name="layers.einsum_dense",
        formula="einsum(equation, x, kernel) + bias",
        oracle=lambda x, kernel, bias=0.0, *, equation: np.einsum(equation, x, kernel) + bias,
        oracle_name="einsum in float64",
        peers="Flax, Keras",
        cases=(
            case(X, _RANDOM.normal(size=(5, 2, 4)), BIAS[:4], equation="btd,dnh->btnh"),
            case(X, KERNEL, equation="...d,do->o..."),
        ),
        bound=REDUCTION,
        torch="torch.einsum(equation, x, kernel) + (0 if bias is None else bias)",
    ),
    OpRow(
        name="layers.embedding",
        formula="kernel[indices]; NaN out of range",
        oracle=lambda indices, kernel: kernel[indices],
        oracle_name="NumPy",
        peers="Flax, Keras, torch",
        cases=(case(IDS, TABLE), case(np.array(3), TABLE), case(IDS[:, :0].copy(), TABLE)),
        torch="F.embedding(indices, kernel)",
        laws=(out_of_range_is_nan,),
    ),
    OpRow(
        name="layers.tied_logits",
        formula="x kernel^T + bias",
        oracle=lambda x, kernel, bias=0.0: x @ kernel.T + bias,
        oracle_name="NumPy in float64",
        peers="Flax",
        cases=(case(X[..., :4].copy(), TABLE, TABLE[:, 0].copy()), case(X[..., :4].copy(), TABLE)),
        bound=REDUCTION,
        torch="F.linear(x, kernel, bias)",
    ),
    OpRow(
        name="layers.average",
        formula="sum of the arrays / how many",
        oracle=lambda xs: sum(xs) / len(xs),
        oracle_name="NumPy in float64",
        peers="Keras",
        cases=(case([X, X[..., ::-1].copy() + 1, X[:, :1].copy()]), case([X])),
        bound=REDUCTION,
        torch="sum(xs) / len(xs)",
    ),
    OpRow(
        name="layers.dot",
        formula="sum_i a_i b_i",
        oracle=lambda a, b, axis=-1, keep_axis=False: (a * b).sum(axis, keepdims=keep_axis),
        oracle_name="NumPy in float64",
        peers="Keras, torch",
        cases=(
            case(X, X[..., ::-1].copy() + 1),
            case(X, X[:, :1].copy(), axis=2, keep_axis=True),
            case(X, X + 1, axis=1),
            case(X[:, :0].copy(), X[:, :0].copy(), axis=1),
        ),
        bound=REDUCTION,
        torch="(a * b).sum(axis, keepdim=keep_axis)",
    ),
    OpRow(
        name="layers.cosine_similarity",
        formula="sum_i a_i b_i / (length(a) length(b))",
        oracle=cosines,
        oracle_name="NumPy in float64",
        peers="torch",
        cases=(
            case(X, X[..., ::-1].copy() + 1),
            case(X, X[:, :1].copy(), axis=2, keep_axis=True),
            case(X, X + 1, axis=1),
            case(X * np.array([[[0.0]], [[1.0]]]), X),
        ),
        bound=REDUCTION,
        edges=(case(X * 0, X), case(X * 0, X * 0)),
        smooth=3,
        torch="F.cosine_similarity(a, b, axis)",
        laws=(size_does_not_matter,),
    ),
)
