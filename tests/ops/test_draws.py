"""Each initializer: its distribution, its dtypes, and the same numbers from the same key."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops.table import DRAWS

each_row = pytest.mark.parametrize("row", DRAWS, ids=lambda row: row.name)
KEY = jax.random.key(17)


@each_row
def test_distribution(row):
    for one in row.cases:
        shape, check = one.args
        drawn = row.op(**one.options)(KEY, shape, jnp.float32)
        assert (drawn.shape, drawn.dtype) == (shape, jnp.float32)
        check(np.asarray(drawn, np.float64))


@each_row
def test_half_precision_has_the_same_moments(row):
    one = row.cases[0]
    wide = np.asarray(row.op(**one.options)(KEY, one.args[0], jnp.float32), np.float64)
    for dtype in (jnp.float16, jnp.bfloat16):
        drawn = row.op(**one.options)(KEY, one.args[0], dtype)
        assert drawn.dtype == dtype
        found = np.asarray(drawn, np.float64)
        np.testing.assert_allclose(found.std(), wide.std(), rtol=0.03)
        np.testing.assert_allclose(found.mean(), wide.mean(), atol=0.03 * np.abs(wide).max())


@each_row
def test_the_key_decides(row):
    one = row.cases[0]
    shape = tuple(min(size, 6) for size in one.args[0])
    draw = row.op(**one.options)
    first, again = draw(KEY, shape, jnp.float32), draw(KEY, shape, jnp.float32)
    np.testing.assert_array_equal(first, again)
    keys = jax.random.split(KEY, 2)
    together = jax.jit(jax.vmap(lambda key: draw(key, shape, jnp.float32)))(keys)
    for key, found in zip(keys, together, strict=True):
        np.testing.assert_allclose(found, draw(key, shape, jnp.float32), rtol=1e-5, atol=1e-6)
    assert (np.asarray(together[0] == together[1]).all()) == row.constant
    abstract = jax.eval_shape(lambda key: draw(key, shape, jnp.bfloat16), KEY)
    assert (abstract.shape, abstract.dtype) == (shape, jnp.bfloat16)


@each_row
def test_float64(row):
    one = row.cases[0]
    with jax.enable_x64(True):
        drawn = row.op(**one.options)(
            jax.random.key(3), tuple(min(size, 6) for size in one.args[0]), "float64"
        )
    assert drawn.dtype == np.float64
