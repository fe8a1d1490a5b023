"""Every metric is exact over the whole pass: no split, order, merge, weight or mask changes it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops.row import Case, MetricRow
from ops.table import METRICS

CASES = [
    pytest.param(row, one, id=f"{row.name}-{number}")
    for row in METRICS
    for number, one in enumerate(row.cases)
]
each_case = pytest.mark.parametrize(("row", "one"), CASES)
RANDOM = np.random.default_rng(47)


class Pass:
    """A metric and its data, with an update that is compiled once for each size of batch."""

    def __init__(self, row: MetricRow, one: Case) -> None:
        self.row, self.options = row, one.options
        self.y_true, self.y_pred = one.cast(np.float32)
        self.metric = row.op(**one.options)
        self.update = jax.jit(self.metric.update)

    def expected(self, weights: Any = None, rows: Any = slice(None)) -> Any:
        return self.row.oracle(
            self.y_true[rows], self.y_pred[rows].astype(np.float64), weights, **self.options
        )

    def state(self, *parts: Any, **extra: Any) -> Any:
        """The state after batches of these rows."""
        state = self.metric.init(self.y_true, self.y_pred)
        for rows in parts:
            chosen = {name: value[rows] for name, value in extra.items()}
            state = self.update(state, self.y_true[rows], self.y_pred[rows], **chosen)
        return state

    def near(self, state: Any, expected: Any) -> None:
        found = jax.tree.leaves(self.metric.compute(state))
        for one, two in zip(found, jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, rtol=self.row.rtol, atol=self.row.rtol)


@each_case
def test_any_split_order_and_merge(row, one):
    whole = Pass(row, one)
    count = len(whole.y_true)
    order = np.arange(count) if row.ordered else RANDOM.permutation(count)
    thirds, uneven = np.split(order, 3), np.split(order, [count // 3, count - 1])
    expected = whole.expected()
    whole.near(whole.state(order), expected)
    whole.near(whole.state(*thirds), expected)
    whole.near(whole.state(*uneven), expected)
    if row.ordered:
        assert whole.metric.merge is None
    else:
        merge = jax.jit(whole.metric.merge)
        whole.near(
            merge(whole.state(thirds[2]), merge(whole.state(thirds[0]), whole.state(thirds[1]))), expected
        )
        whole.near(merge(whole.state(*thirds), whole.state()), expected)


@each_case
def test_in_a_scan_and_on_abstract_values(row, one):
    whole = Pass(row, one)
    shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in (whole.y_true, whole.y_pred)]
    state = whole.metric.init(*shapes)
    batches = [each.reshape(3, -1, *each.shape[1:]) for each in (whole.y_true, whole.y_pred)]
    state, _ = jax.jit(
        lambda state, xs: jax.lax.scan(lambda s, x: (whole.metric.update(s, *x), None), state, xs)
    )(state, batches)
    whole.near(state, whole.expected())
    before = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), whole.metric.init(*shapes))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == before


@each_case
def test_weights_are_copies_and_masks_are_deletions(row, one):
    if not row.weighted:
        pytest.skip("the metric takes no weights")
    whole = Pass(row, one)
    count = len(whole.y_true)
    weights = RANDOM.integers(0, 4, count)
    copies = np.repeat(np.arange(count), weights)
    whole.near(whole.state(np.arange(count), weights=weights.astype(np.float32)), whole.expected(rows=copies))
    fractions = RANDOM.random(count).astype(np.float32)
    whole.near(whole.state(*np.split(np.arange(count), 3), weights=fractions), whole.expected(fractions))
    where = np.arange(count) % 3 > 0
    spoilt = Pass(row, one)
    spoilt.y_pred = np.where(where.reshape(-1, *(1,) * (whole.y_pred.ndim - 1)), whole.y_pred, np.nan)
    whole.near(spoilt.state(np.arange(count), where=where), whole.expected(rows=where))


@each_case
def test_over_nothing(row, one):
    whole = Pass(row, one)
    nothing = np.zeros(len(whole.y_true), bool)
    whole.near(whole.state(), row.empty)
    whole.near(whole.state(np.arange(len(nothing)), where=nothing), row.empty)


@each_case
def test_called_and_named(row, one):
    whole = Pass(row, one)
    found = whole.metric(jnp.asarray(whole.y_true), jnp.asarray(whole.y_pred))
    np.testing.assert_allclose(found, whole.expected(), rtol=row.rtol)
    assert whole.metric.name == row.name.split(".")[1]
