"""Data sources: order, position, exhaustion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from axonax import loop

X = np.arange(11)


def collected(**options: Any) -> tuple[loop.Loop, list[list[int]]]:
    seen: list[list[int]] = []

    def step(count: int, batch: Any) -> int:
        seen.append(np.asarray(batch).tolist())
        return count + 1

    return loop.loop(step, init=lambda: 0, compile=False, **options), seen


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 3]), (True, [4, 4])])
def test_arrays_in_order(drop_last: bool, sizes: list[int]) -> None:
    source = loop.arrays({"a": X, "b": X * 2}, X + 1, X + 2, batch_size=4, drop_last=drop_last)
    found = list(source)
    assert [len(x["a"]) for x, _, _ in found] == sizes
    assert len(source) == len(sizes)
    for number, (x, y, weights) in enumerate(found):
        expected = X[4 * number : 4 * number + 4]
        for got, offset in ((x["a"], 0), (x["b"] // 2, 0), (y, 1), (weights, 2)):
            np.testing.assert_array_equal(got, expected + offset)


def epoch(source: loop.Arrays, number: int, seed: int = 0) -> list[int]:
    return np.concatenate(list(source.batches(number, key=jax.random.key(seed)))).tolist()


def test_each_epoch_has_an_order_of_its_own_that_comes_from_the_key() -> None:
    source = loop.arrays(X, batch_size=4, shuffle=True)
    first, second = epoch(source, 1), epoch(source, 2)
    assert sorted(first) == sorted(second) == X.tolist()
    assert first != second
    assert epoch(source, 1) == first
    assert epoch(source, 1, seed=1) != first


def test_rows_stay_together() -> None:
    for x, y in loop.arrays(X, X * 3, batch_size=4, shuffle=True):
        np.testing.assert_array_equal(x * 3, y)


def test_position_can_be_read_and_set() -> None:
    source = loop.arrays(X, batch_size=4, shuffle=True)
    iterator = source.batches(2)
    next(iterator)
    position = iterator.get_state()
    assert position == {"epoch": 2, "step": 1}
    rest = [batch.tolist() for batch in iterator]
    other = source.batches(1)
    other.set_state(position)
    assert [batch.tolist() for batch in other] == rest
    assert [batch.tolist() for batch in source.batches(2, step=1)] == rest
    assert iterator.get_state() == {"epoch": 2, "step": 3}


def test_a_run_shuffles_by_its_own_fold_of_the_key() -> None:
    base, seen = collected()
    source = loop.arrays(X, batch_size=4, shuffle=True)
    base.run(source, epochs=2, key=jax.random.key(5))
    key = jax.random.fold_in(jax.random.key(5), 2)
    assert seen == [batch.tolist() for number in (1, 2) for batch in source.batches(number, key=key)]


def test_a_function_of_the_epoch() -> None:
    base, seen = collected()
    base.run(lambda number: iter([np.array([number])] * number), epochs=2)
    assert seen == [[1], [2], [2]]


class Again:
    """An object that can be iterated as often as wanted."""

    def __iter__(self) -> Iterator[Any]:
        return iter([np.zeros(1), np.ones(1)])


@pytest.mark.parametrize("data", [[np.zeros(1), np.ones(1)], Again()])
def test_re_iterables(data: Any) -> None:
    base, seen = collected()
    base.run(data, epochs=2)
    assert seen == [[0], [1]] * 2


def test_an_endless_iterator_with_steps_per_epoch() -> None:
    base, seen = collected()

    def endless() -> Iterator[Any]:
        number = 0
        while True:
            yield np.array([number])
            number += 1

    result = base.run(endless(), epochs=2, steps_per_epoch=3)
    assert seen == [[0], [1], [2], [3], [4], [5]]
    assert [row["iteration"] for row in result.history] == [3, 6]


def test_data_that_runs_out() -> None:
    base, _ = collected()
    seen: list[tuple[int, str]] = []
    base = base.on("data_exhausted", lambda state: seen.append((state.iteration, state.status)))
    result = base.run(iter([np.zeros(1)] * 4), epochs=3, steps_per_epoch=2)
    assert seen == [(4, "data_exhausted")]
    assert (result.status, result.epoch, int(result.step_state)) == ("data_exhausted", 2, 4)


def test_a_generator_for_one_epoch() -> None:
    base, seen = collected()
    base.run(np.array([number]) for number in range(3))
    assert seen == [[0], [1], [2]]
