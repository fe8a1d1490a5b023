"""Each op's derivatives: to the second order against differences in float64, and finite at the edges."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ops.programs import quick
from ops.row import Case, OpRow
from ops.table import OPS

SMOOTH = [row for row in OPS if row.gradient != "none"]
STEP = 1e-5


def of_differentiable(row: OpRow, one: Case, arrays: list[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The op as a function of the arrays that gradients are taken of, and these."""
    chosen = row.differentiable(one)
    bound = one.bind(row.op)

    def call(*moving: Any) -> list[Any]:
        filled = list(arrays)
        for index, value in zip(chosen, moving, strict=True):
            filled[index] = value
        return row.graded_of(bound(*filled))

    return call, tuple(arrays[index] for index in chosen)


def product(one: Any, two: Any) -> jax.Array:
    """The inner product of two trees."""
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def weighed(leaves: list[Any]) -> jax.Array:
    """One number that each element of ``leaves`` adds another share to."""
    weights = [jnp.cos(1.0 + jnp.arange(leaf.size)).reshape(leaf.shape) for leaf in leaves]
    return product(leaves, weights)


def derivatives(call: Callable[..., Any], forward: bool, every: bool) -> Callable[..., dict[str, Any]]:
    """First and second derivatives of ``call`` along one direction, and the differences they approach.

    One program, where ``check_grads`` compiles ten, and compiled fast: differences are coarser than any
    rounding. Unless it is to give ``every`` second derivative, it gives the product with a Hessian, as
    optimizers take it.
    """

    def scalar(*xs: Any) -> jax.Array:
        return weighed(call(*xs))

    def along(xs: tuple[Any, ...], step: float, ds: tuple[Any, ...]) -> list[Any]:
        return [x + step * d for x, d in zip(xs, ds, strict=True)]

    @quick
    def compute(xs: tuple[Any, ...], ds: tuple[Any, ...]) -> dict[str, Any]:
        all_of_them = tuple(range(len(xs)))

        def by_jvp(f: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *at: jax.jvp(f, at, ds)[1]

        def by_vjp(f: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *at: product(jax.grad(f, all_of_them)(*at), ds)

        def difference(f: Callable[..., Any]) -> Any:
            return (f(*along(xs, STEP, ds)) - f(*along(xs, -STEP, ds))) / (2 * STEP)

        ways = {"jvp": by_jvp, "vjp": by_vjp} if forward else {"vjp": by_vjp}
        first = {"difference": difference(scalar)} | {name: way(scalar)(*xs) for name, way in ways.items()}
        second = {"difference": difference(by_vjp(scalar))}
        pairs = list(itertools.product(ways, ways)) if every else [(next(iter(ways)), "vjp")]
        second |= {f"{name} of {inner}": ways[name](ways[inner](scalar))(*xs) for name, inner in pairs}
        return {"first": first, "second": second}

    return compute


def check_derivatives(row: OpRow, every: bool) -> None:
    random = np.random.default_rng(5)
    with jax.enable_x64(True):
        call, moving = of_differentiable(row, row.cases[0], row.cases[0].cast(np.float64))
        directions = tuple(random.normal(size=each.shape) for each in moving)
        found = jax.device_get(derivatives(call, row.gradient == "both", every)(moving, directions))
    for order, ways in found.items():
        expected = ways.pop("difference")
        for way, value in ways.items():
            np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6, err_msg=f"{order}: {way}")


@pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.name)
def test_derivatives_to_the_second_order(row):
    check_derivatives(row, every=False)


@pytest.mark.slow
@pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.name)
def test_second_derivatives_in_every_order(row):
    check_derivatives(row, every=True)


def by_day(row: OpRow) -> Any:
    """The row, marked slow where no rule of the op's own has differed from what its body gives."""
    return row if row.name.startswith("losses.") else pytest.param(row, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "row", [by_day(row) for row in SMOOTH if row.gradient == "both"], ids=lambda row: row.name
)
def test_second_derivatives_in_a_scan(row):
    """There JAX differentiates the body of a function with derivatives of its own, not these, once more."""
    random = np.random.default_rng(5)
    with jax.enable_x64(True):
        call, moving = of_differentiable(row, row.cases[0], row.cases[0].cast(np.float64))
        directions = tuple(random.normal(size=each.shape) for each in moving)

        def scanned(*xs: Any) -> jax.Array:
            stacked = tuple(jnp.asarray(x)[None] for x in xs)
            return weighed(jax.lax.map(lambda one: call(*one), stacked))

        def slope(*xs: Any) -> jax.Array:
            return product(jax.grad(scanned, tuple(range(len(xs))))(*xs), directions)

        @quick
        def compute(*xs: Any) -> tuple[Any, Any]:
            above, below = (
                slope(*(x + step * d for x, d in zip(xs, directions, strict=True))) for step in (STEP, -STEP)
            )
            return jax.jvp(slope, xs, directions)[1], (above - below) / (2 * STEP)

        found, expected = compute(*moving)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.name)
def test_check_grads(row):
    modes = ("fwd", "rev") if row.gradient == "both" else ("rev",)
    with jax.enable_x64(True):
        call, moving = of_differentiable(row, row.cases[0], row.cases[0].cast(np.float64))
        check_grads(jax.jit(call), moving, order=2, modes=modes, atol=2e-4, rtol=2e-4, eps=STEP)


@pytest.mark.parametrize("row", [row for row in SMOOTH if row.edges], ids=lambda row: row.name)
def test_gradients_are_finite_at_the_edges(row):
    prepared = [of_differentiable(row, edge, edge.cast(np.float32)) for edge in row.edges]

    @jax.jit
    def gradients(points: list[Any]) -> list[Any]:
        found = []
        for (call, _), moving in zip(prepared, points, strict=True):
            result, pull = jax.vjp(call, *moving)
            found.append(pull([jnp.where(jnp.isfinite(leaf), 1, 0).astype(leaf.dtype) for leaf in result]))
        return found

    for edge, found in zip(row.edges, gradients([moving for _, moving in prepared]), strict=True):
        for leaf in found:
            assert np.isfinite(leaf).all(), f"{leaf} at {edge}"
