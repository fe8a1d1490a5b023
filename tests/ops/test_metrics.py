"""Every metric is exact over the whole pass: no split, order, merge, weight or mask changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops.programs import as_users, quick
from ops.row import Case, MetricRow
from ops.table import METRICS

CASES = [
    pytest.param(row, one, id=f"{row.name}-{number}")
    for row in METRICS
    for number, one in enumerate(row.cases)
]
each_case = pytest.mark.parametrize(("row", "one"), CASES)
first_by_day = pytest.mark.parametrize(
    ("row", "one"),
    [
        each if each.id.endswith("-0") else pytest.param(*each.values, id=each.id, marks=pytest.mark.slow)
        for each in CASES
    ],
)
"""The other options of a metric by night: by day their values are looked at."""
RANDOM = np.random.default_rng(47)


class Pass:
    """A metric and its data: what it must give, and what it gives of them in one program."""

    def __init__(self, row: MetricRow, one: Case) -> None:
        self.row, self.options = row, one.options
        self.data = one.cast(np.float32)
        self.metric = row.op(**one.options)
        self.update, self.compute = jax.jit(self.metric.update), jax.jit(self.metric.compute)  # traced once

    def expected(self, weights: Any = None, rows: Any = slice(None)) -> Any:
        y_true, y_pred = self.data
        return self.row.oracle(y_true[rows], y_pred[rows].astype(np.float64), weights, **self.options)

    def state(self, data: Any, *parts: Any, **extra: Any) -> Any:
        """The state after batches of these rows."""
        y_true, y_pred = data
        state = self.metric.init(y_true, y_pred)
        for rows in parts:
            chosen = {name: value[rows] for name, value in extra.items()}
            state = self.update(state, y_true[rows], y_pred[rows], **chosen)
        return state

    def check(self, ways: dict[str, tuple[Callable[[Any], Any], Any]], *, compute: bool = True) -> None:
        """Each way to a state, or to a value, gives the expected value."""

        @quick
        def every(data: Any) -> dict[str, Any]:
            found = {name: way(data) for name, (way, _) in ways.items()}
            return {name: self.compute(state) for name, state in found.items()} if compute else found

        found = every(self.data)
        for name, (_, expected) in ways.items():
            pairs = zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected), strict=True)
            for one, two in pairs:
                np.testing.assert_allclose(one, two, rtol=self.row.rtol, atol=self.row.rtol, err_msg=name)


def scanned(whole: Pass, data: Any) -> Any:
    """The state after a scan over three batches; it is what it was before in shapes and dtypes."""
    first = whole.metric.init(*[jax.ShapeDtypeStruct(each.shape, each.dtype) for each in whole.data])
    batches = [each.reshape(3, -1, *each.shape[1:]) for each in data]
    state, _ = jax.lax.scan(lambda state, xs: (whole.metric.update(state, *xs), None), first, batches)
    before, after = (
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each, is_leaf=lambda leaf: hasattr(leaf, "dtype"))
        for each in (first, state)
    )
    assert before == after
    return state


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_the_value_with_every_option(row):
    passes = [Pass(row, one) for one in row.cases]

    @as_users
    def every(batches: list[Any]) -> list[Any]:
        pairs = zip(passes, batches, strict=True)
        return [whole.metric.compute(whole.state(data, slice(None))) for whole, data in pairs]

    for whole, found in zip(passes, every([whole.data for whole in passes]), strict=True):
        expected = jax.tree.leaves(whole.expected())
        for one, two in zip(jax.tree.leaves(found), expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=row.rtol, atol=row.rtol, err_msg=str(whole.options))


@first_by_day
def test_any_split_order_and_merge(row, one):
    whole = Pass(row, one)
    count = len(whole.data[0])
    order = np.arange(count) if row.ordered else RANDOM.permutation(count)
    thirds, uneven = np.split(order, 3), np.split(order, [count // 3, count - 1])
    expected, merge = whole.expected(), whole.metric.merge

    def merged(data: Any) -> Any:
        one, two, three = (whole.state(data, rows) for rows in thirds)
        return merge(three, merge(one, two))

    ways = {
        "at once": (lambda data: whole.state(data, order), expected),
        "in uneven parts": (lambda data: whole.state(data, *uneven), expected),
        "in a scan": (lambda data: scanned(whole, data), expected),
        "over nothing": (whole.state, row.empty),
    }
    if row.ordered:
        assert merge is None
    else:
        ways |= {
            "merged": (merged, expected),
            "merged with nothing": (
                lambda data: merge(whole.state(data, order), whole.state(data)),
                expected,
            ),
        }
    whole.check(ways)


@first_by_day
def test_weights_are_copies_and_masks_are_deletions(row, one):
    whole = Pass(row, one)
    count = len(whole.data[0])
    every, where = np.arange(count), np.arange(count) % 3 > 0
    kept = where.reshape(-1, *(1,) * (whole.data[1].ndim - 1))

    def spoilt(data: Any) -> Any:
        return data[0], jnp.where(kept, data[1], jnp.nan)

    nothing = np.zeros(count, bool)
    ways = {"of nothing": (lambda data: whole.state(data, every, where=nothing), row.empty)}
    if row.weighted:
        weights = RANDOM.integers(0, 4, count).astype(np.float32)
        fractions = RANDOM.random(count).astype(np.float32)
        copies, thirds = np.repeat(every, weights.astype(int)), np.split(every, 3)
        ways |= {
            "copies": (
                lambda data: whole.state(data, every, weights=weights),
                whole.expected(rows=copies),
            ),
            "fractions": (
                lambda data: whole.state(data, *thirds, weights=fractions),
                whole.expected(fractions),
            ),
            "deletions": (
                lambda data: whole.state(spoilt(data), every, where=where),
                whole.expected(rows=where),
            ),
        }
    whole.check(ways)


@first_by_day
def test_called_and_named(row, one):
    whole = Pass(row, one)
    whole.check({"called": (lambda data: whole.metric(*data), whole.expected())}, compute=False)
    assert whole.metric.name == row.name.split(".")[1]
