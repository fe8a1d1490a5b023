"""What all losses share: reductions, weights, masks; and finite on their whole domain."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.programs import quick
from ops.table import LOSSES

each_row = pytest.mark.parametrize("row", LOSSES, ids=lambda row: row.name)
DOMAINS = [
    pytest.param(row, one, strategies, id=f"{row.name}-{number}")
    for row in LOSSES
    for number, (one, strategies) in enumerate(row.domain)
]


@each_row
def test_a_masked_example_does_not_exist(row):
    """Not even as NaN; and so does one of weight 0 that is infinite."""
    one = row.cases[0]
    arrays = one.cast(np.float32)
    op = one.bind(lambda *args, **options: lambda **more: row.op(*args, **options, **more))
    own = [index not in row.shared for index in range(len(arrays))]
    kept = [each[1:] if mine else each for each, mine in zip(arrays, own, strict=True)]
    spoilt = [each.copy() for each in arrays]
    for each, mine in zip(spoilt, own, strict=True):
        if mine and each.dtype == np.float32:
            each[0] = np.nan
    where = np.arange(len(arrays[0])) > 0

    def masked(*given: Any) -> Any:
        return op(*given)(reduction="mean", where=where)

    wrt = row.differentiable(one)
    (value, gradient), alone = quick(
        lambda spoilt, kept: (jax.value_and_grad(masked, wrt)(*spoilt), op(*kept)(reduction="mean"))
    )(spoilt, kept)
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    for index, leaf in zip(wrt, gradient, strict=True):
        assert np.isfinite(leaf).all()
        assert not own[index] or (leaf[0] == 0).all()


@each_row
def test_nothing_left_is_zero(row):
    one = row.cases[0]
    arrays = one.cast(np.float32)
    nothing = np.zeros(len(arrays[0]), bool)

    def loss(how: dict[str, Any], *given: Any) -> Any:
        args, options = one.fill(given)
        return row.op(*args, **options, **how, reduction="mean")

    wrt = row.differentiable(one)
    ways = [{"where": nothing}, {"weights": nothing.astype(np.float32)}]

    @quick
    def every(ways: list[dict[str, Any]], *given: Any) -> list[Any]:
        return [jax.value_and_grad(functools.partial(loss, how), wrt)(*given) for how in ways]

    for value, gradient in every(ways, *arrays):
        assert value == 0
        assert all((leaf == 0).all() for leaf in gradient)


@each_row
def test_unknown_reduction(row):
    one = row.cases[0]
    with pytest.raises(ValueError, match='unknown reduction "means": did you mean "mean"'):
        jax.eval_shape(one.bind(functools.partial(row.op, reduction="means")), *one.cast(np.float32))


def check_finite(
    row: Any, one: Any, strategies: Any, examples: int, derandomize: bool, dtype: Any = np.float32
) -> None:
    """Value and gradient are finite whatever the strategies draw: where they fit, in half precision."""
    call = one.bind(row.op)
    floats = row.differentiable(one)

    @jax.jit
    def both(*arrays: Any) -> Any:
        def moved(*moving: Any) -> Any:
            filled = dict(enumerate(arrays)) | dict(zip(floats, moving, strict=True))
            return call(*filled.values())

        values, pull = jax.vjp(moved, *(arrays[index] for index in floats))
        return values, pull(jnp.ones_like(values))

    def rounded(arrays: Any, kind: Any) -> list[np.ndarray]:
        return [each.astype(kind) if each.dtype.kind == "f" else each for each in arrays]

    draws = [make(each.shape) for make, each in zip(strategies, one.arrays, strict=True)]
    largest = float(jnp.finfo(dtype).max)

    @settings(
        max_examples=examples, deadline=None, derandomize=derandomize, suppress_health_check=list(HealthCheck)
    )
    @given(st.tuples(*draws))
    def check(arrays: Any) -> None:
        narrow = [np.clip(each, -largest, largest) if each.dtype.kind == "f" else each for each in arrays]
        narrow = rounded(narrow, dtype)
        wide = [np.asarray(each, np.float32) if each.dtype == dtype else each for each in narrow]
        for leaf, exact in zip((both(*narrow)), both(*wide), strict=True):
            for one_leaf, its in zip(jax.tree.leaves(leaf), jax.tree.leaves(exact), strict=True):
                fits = np.abs(np.asarray(its)) < largest / 2
                assert np.isfinite(np.asarray(one_leaf, np.float32))[fits].all()
                assert dtype != np.float32 or np.isfinite(its).all()

    check()


@pytest.mark.parametrize(("row", "one", "strategies"), DOMAINS)
def test_finite_on_the_whole_domain(row, one, strategies):
    check_finite(row, one, strategies, 40, True)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "one", "strategies"), DOMAINS)
def test_finite_on_the_whole_domain_at_length(row, one, strategies):
    check_finite(row, one, strategies, 1000, False)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize(("row", "one", "strategies"), DOMAINS)
def test_finite_in_half_precision_at_length(row, one, strategies, dtype):
    check_finite(row, one, strategies, 1000, False, dtype)


@pytest.mark.parametrize(("row", "one", "strategies"), [each for each in DOMAINS if each.id.endswith("-0")])
def test_finite_in_half_precision(row, one, strategies):
    check_finite(row, one, strategies, 20, True, np.float16)
