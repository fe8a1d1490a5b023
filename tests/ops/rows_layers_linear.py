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
        found = np.asarray(op(jnp.ones((200, 4, 50), dtype), RATE, key=KEY), np.float64)
        maps = found[:, 0] if op.__name__.startswith("spatial") else found
        assert abs((maps == 0).mean() - RATE) < 4.5 * np.sqrt(RATE * (1 - RATE) / maps.size)
        np.testing.assert_array_equal(np.unique(found), [0.0, float(jnp.asarray(1 / (1 - RATE), dtype))])


def the_key_decides(op: Any) -> None:
    x = jnp.ones((4, 4, 50))
    draw = jax.jit(lambda key: op(x, RATE, key=key))
    first, again, other = draw(KEY), op(x, RATE, key=KEY), draw(jax.random.key(9))
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).any()


def whole_maps(op: Any) -> None:
    """A channel of an example is kept or dropped everywhere."""
    found = np.asarray(op(jnp.ones((8, 3, 3, 6)), RATE, key=KEY))
    assert (found == found[:, :1, :1]).all()


def dropping(name: str, formula: str, *laws: Any) -> OpRow:
    """A row of a dropout: the identity by its oracle, the noise by laws."""
    return OpRow(
        name=f"layers.{name}",
        formula=formula,
        oracle=lambda x, rate, key=None: x,
        oracle_name="identity without a key; frequencies with one",
        peers="Flax, Keras, torch",
        cases=(case(X, RATE),),
        edges=(case(X, 1.0),),
        laws=(zero_rate_is_the_input, rate_one_is_zero, share_and_mean, the_key_decides, *laws),
        no_torch="another generator drops other elements",
    )


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
    dropping("dropout", "0 with probability rate, else x / (1 - rate)"),
    dropping("spatial_dropout", "dropout of whole channels", whole_maps),
)
