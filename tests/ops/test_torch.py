"""Values and gradients against torch, from the committed fixtures."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from ops import stored
from ops.table import OPS

COMPARED = [row for row in OPS if row.torch]
TOLERANCE = {"float64": {"rtol": 1e-9, "atol": 1e-11}, "float32": {"rtol": 2e-5, "atol": 2e-6}}


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row.name)
def test_against_torch(row):
    found = stored.of(row.name)
    assert found, "no fixture: run nox -s oracle"
    for (number, dtype), expected in found.items():
        one = row.cases[number]
        arrays = one.cast(dtype)
        stale = "the case has changed since: run nox -s oracle"
        for index, each in enumerate(arrays):
            np.testing.assert_allclose(each, expected[f"in{index}"], rtol=1e-6, err_msg=stale)
        chosen = [index for index in row.differentiable(one) if f"grad{index}" in expected]
        with jax.enable_x64(dtype == "float64"):
            results, gradients = compute(one.bind(row.op), arrays, chosen)
        compared = {f"out{index}": each for index, each in enumerate(results)}
        compared |= {f"grad{index}": each for index, each in zip(chosen, gradients, strict=True)}
        for what in expected.keys() & compared.keys():
            message = f"{what} of case {number}, {one}, in {dtype}"
            np.testing.assert_allclose(compared[what], expected[what], err_msg=message, **TOLERANCE[dtype])


def compute(call: Any, arrays: list[Any], chosen: list[int]) -> tuple[list[Any], Any]:
    """All results, and the gradients of the first, in one program."""

    @jax.jit
    def both(*arrays: Any) -> tuple[list[Any], Any]:
        def moved(*values: Any) -> list[Any]:
            filled = list(arrays)
            for index, value in zip(chosen, values, strict=True):
                filled[index] = value
            return jax.tree.leaves(call(*filled))

        moving = [arrays[index] for index in chosen]
        if not chosen:
            return moved(), ()
        results = moved(*moving)
        _, pull = jax.vjp(lambda *values: moved(*values)[0], *moving)
        return results, pull(stored.cotangent(results[0].shape, results[0].dtype))

    return both(*arrays)


def test_no_fixture_is_left_over():
    held = {key.split("|")[0] for row in COMPARED for key in stored.read(row.area)}
    assert held == {row.name for row in COMPARED}
