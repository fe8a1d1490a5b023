"""Values and gradients against torch, from the committed fixtures."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from ops import stored
from ops.row import OpRow
from ops.table import OPS

COMPARED = [row for row in OPS if row.torch]
pytestmark = pytest.mark.slow  # a second oracle: by day each op stands against float64 NumPy
TOLERANCE = {"float64": {"rtol": 1e-9, "atol": 1e-11}, "float32": {"rtol": 2e-5, "atol": 2e-6}}


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row.name)
def test_against_torch(row):
    held = stored.of(row.name)
    assert held, "no fixture: run nox -s oracle"
    for dtype in {dtype for _, dtype in held}:
        expected = {number: arrays for (number, kind), arrays in held.items() if kind == dtype}
        with jax.enable_x64(dtype == "float64"):
            found = computed(row, dtype, expected)
        for number, ours in found.items():
            for what in expected[number].keys() & ours.keys():
                message = f"{what} of case {number}, {row.cases[number]}, in {dtype}"
                np.testing.assert_allclose(
                    ours[what], expected[number][what], err_msg=message, **TOLERANCE[dtype]
                )


def computed(row: OpRow, dtype: str, expected: dict[int, dict[str, np.ndarray]]) -> dict[int, dict[str, Any]]:
    """By number of the case: all results, and the gradients of the first of them; one program gives them."""
    given = {number: row.cases[number].cast(dtype) for number in expected}
    for number, arrays in given.items():
        stale = "the case has changed since: run nox -s oracle"
        for index, each in enumerate(arrays):
            np.testing.assert_allclose(each, expected[number][f"in{index}"], rtol=1e-6, err_msg=stale)

    @jax.jit
    def every(given: dict[int, list[Any]]) -> dict[int, dict[str, Any]]:
        return {
            number: both(
                row.cases[number].bind(row.op),
                arrays,
                [i for i in row.differentiable(row.cases[number]) if f"grad{i}" in expected[number]],
            )
            for number, arrays in given.items()
        }

    return every(given)


def both(call: Any, arrays: list[Any], chosen: list[int]) -> dict[str, Any]:
    """All results, and the gradients of the first in the chosen arrays."""

    def moved(*values: Any) -> tuple[Any, list[Any]]:
        filled = list(arrays)
        for index, value in zip(chosen, values, strict=True):
            filled[index] = value
        leaves = jax.tree.leaves(call(*filled))
        return leaves[0], leaves

    if not chosen:
        return {f"out{index}": each for index, each in enumerate(moved()[1])}
    first, pull, results = jax.vjp(moved, *[arrays[index] for index in chosen], has_aux=True)
    gradients = pull(stored.cotangent(first.shape, first.dtype))
    found = {f"out{index}": each for index, each in enumerate(results)}
    return found | {f"grad{index}": each for index, each in zip(chosen, gradients, strict=True)}


def test_no_fixture_is_left_over():
    held = {key.split("|")[0] for row in COMPARED for key in stored.read(row.area)}
    assert held == {row.name for row in COMPARED}
