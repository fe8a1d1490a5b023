"""Each op is the same compiled or not, mapped, scanned, rematerialized and on abstract values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops.row import OpRow
from ops.table import OPS

TOLERANCE = {"rtol": 3e-6, "atol": 3e-6}


def same(found: Any, expected: Any) -> None:
    """Equal structure, dtypes, shapes and, up to the order of sums, values."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_allclose(np.asarray(one), np.asarray(two), **TOLERANCE)


def described(leaf: Any) -> tuple[Any, ...]:
    return leaf.shape, leaf.dtype


def total(row: OpRow, call: Any) -> Any:
    """The sum of the differentiable results, as a function of all arrays."""

    def summed(*arrays: Any) -> Any:
        return sum(jnp.sum(leaf) for leaf in row.graded_of(call(*arrays)))

    return summed


def every_way(row: OpRow) -> Any:
    """The results of the first case by transform, as a function of its arrays."""
    one = row.cases[0]
    call = one.bind(row.op)

    def ways(*arrays: Any) -> dict[str, Any]:
        stacked = [jnp.stack([each, each]) for each in arrays]
        found = {
            "jit": call(*arrays),
            "vmap": jax.tree.map(lambda leaf: leaf[1], jax.vmap(call)(*stacked)),
            "scan": jax.tree.map(
                lambda leaf: leaf[1], jax.lax.scan(lambda carry, xs: (carry, call(*xs)), 0, stacked)[1]
            ),
        }
        if row.gradient != "none":
            wrt = row.differentiable(one)
            found["gradient"] = jax.grad(total(row, call), wrt)(*arrays)
            found["remat"] = jax.grad(total(row, jax.checkpoint(call)), wrt)(*arrays)
        return found

    return ways


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_every_transform_goes_through(row):
    """And gives what the op gives, in shapes and dtypes."""
    arrays = row.cases[0].cast(np.float32)
    alone = jax.eval_shape(row.cases[0].bind(row.op), *arrays)
    found = jax.eval_shape(every_way(row), *arrays)
    for way in ("jit", "vmap", "scan"):
        assert jax.tree.map(described, found[way]) == jax.tree.map(described, alone)
    if row.gradient != "none":
        assert jax.tree.map(described, found["remat"]) == jax.tree.map(described, found["gradient"])


@pytest.mark.slow
@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_the_same_under_every_transform(row):
    arrays = row.cases[0].cast(np.float32)
    ways = jax.jit(every_way(row))
    found = ways(*arrays)
    for way in ("vmap", "scan"):
        same(found[way], found["jit"])
    if row.gradient != "none":
        same(found["remat"], found["gradient"])
    ways(*arrays)
    assert ways._cache_size() == 1, "a second call compiled again"


@pytest.mark.slow
@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_the_same_step_by_step(row):
    one = row.cases[0]
    arrays = [jnp.asarray(each) for each in one.cast(np.float32)]
    call = one.bind(row.op)
    same(call(*arrays), jax.jit(call)(*arrays))
