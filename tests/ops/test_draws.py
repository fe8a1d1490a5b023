"""Each initializer: its distribution, its dtypes, and the same numbers from the same key."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops.programs import quick
from ops.table import DRAWS

each_row = pytest.mark.parametrize("row", DRAWS, ids=lambda row: row.name)
KEY = jax.random.key(17)


def drawn_by(row: Any, one: Any, key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """A draw, compiled."""
    return quick(row.op(**one.options), static_argnums=(1, 2))(key, shape, dtype)


@each_row
def test_distribution(row):
    """And the dtypes, without a draw; at night the draws of each dtype, and of each key, are looked at."""
    shape, draw = row.cases[0].args[0], row.op(**row.cases[0].options)
    for dtype in (jnp.float16, jnp.bfloat16):
        abstract = jax.eval_shape(functools.partial(draw, shape=shape, dtype=dtype), KEY)
        assert (abstract.shape, abstract.dtype) == (shape, dtype)
    for one in row.cases:
        shape, check = one.args
        drawn = drawn_by(row, one, KEY, shape, jnp.float32)
        assert (drawn.shape, drawn.dtype) == (shape, jnp.float32)
        check(np.asarray(drawn, np.float64))


@pytest.mark.slow
@each_row
def test_half_precision_has_the_same_moments(row):
    one = row.cases[0]
    wide = np.asarray(drawn_by(row, one, KEY, one.args[0], jnp.float32), np.float64)
    for dtype in (jnp.float16, jnp.bfloat16):
        drawn = drawn_by(row, one, KEY, one.args[0], dtype)
        assert drawn.dtype == dtype
        found = np.asarray(drawn, np.float64)
        np.testing.assert_allclose(found.std(), wide.std(), rtol=0.03)
        np.testing.assert_allclose(found.mean(), wide.mean(), atol=0.03 * np.abs(wide).max())


@pytest.mark.slow
@each_row
def test_the_key_decides(row):
    one = row.cases[0]
    shape = tuple(min(size, 6) for size in one.args[0])
    draw = row.op(**one.options)
    alone = jax.jit(draw, static_argnums=(1, 2))
    first, again = alone(KEY, shape, jnp.float32), alone(KEY, shape, jnp.float32)
    np.testing.assert_array_equal(first, again)
    keys = jax.random.split(KEY, 2)
    together = jax.jit(jax.vmap(lambda key: draw(key, shape, jnp.float32)))(keys)
    for key, found in zip(keys, together, strict=True):
        np.testing.assert_allclose(found, alone(key, shape, jnp.float32), rtol=1e-5, atol=1e-6)
    assert (np.asarray(together[0] == together[1]).all()) == row.constant
    abstract = jax.eval_shape(lambda key: draw(key, shape, jnp.bfloat16), KEY)
    assert (abstract.shape, abstract.dtype) == (shape, jnp.bfloat16)


@pytest.mark.slow
@each_row
def test_float64(row):
    one = row.cases[0]
    with jax.enable_x64(True):
        drawn = row.op(**one.options)(
            jax.random.key(3), tuple(min(size, 6) for size in one.args[0]), "float64"
        )
    assert drawn.dtype == np.float64
