"""Inputs and targets by the names of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

RNG = np.random.default_rng(0)
ROWS = {
    "a": RNG.normal(size=10),
    "b": np.arange(10),
    "y": RNG.normal(size=10).astype(np.float32),
    "w": np.arange(1.0, 11.0),
    "vector": RNG.normal(size=(10, 2)).tolist(),
    "name": list("abcdefghij"),
}
AB = np.stack([ROWS["a"], ROWS["b"]], 1).astype(np.float32)


class Column:
    """What a column of pandas and polars offers."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def to_numpy(self) -> np.ndarray:
        if isinstance(self.values, list):
            into = np.empty(len(self.values), object)
            into[:] = [np.asarray(row) if isinstance(row, list) else row for row in self.values]
            return into
        return np.asarray(self.values)


class Frame:
    """What pandas and polars offer."""

    columns: ClassVar = list(ROWS)

    def to_numpy(self) -> Any:
        raise AssertionError("of one dtype: never asked for")

    def __len__(self) -> int:
        return 10

    def __getitem__(self, name: str) -> Column:
        return Column(ROWS[name])


class Dataset:
    """What a Hugging Face Dataset offers."""

    column_names: ClassVar = list(ROWS)

    def __init__(self, chosen: Any = None) -> None:
        self.chosen = chosen

    def __len__(self) -> int:
        return 10

    def select_columns(self, names: list[str]) -> Dataset:
        return Dataset(names)

    def with_format(self, kind: str) -> Dataset:
        assert kind == "numpy"
        return self

    def __getitem__(self, which: Any) -> Any:
        assert which == slice(None)
        return {name: np.asarray(ROWS[name]) for name in self.chosen}


class Streamed:
    """What a Hugging Face IterableDataset offers."""

    column_names: ClassVar = list(ROWS)

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def iter(self, batch_size: int, drop_last_batch: bool = False) -> Iterator[dict[str, Any]]:
        for at in range(0, 10, batch_size):
            if at + batch_size <= 10 or not drop_last_batch:
                yield {name: list(column[at : at + batch_size]) for name, column in ROWS.items()}


def dicts() -> list[dict[str, Any]]:
    return list(Streamed().iter(4))


TABLES = [ROWS, Frame(), Dataset()]


@pytest.mark.parametrize("table", TABLES, ids=["dict", "frame", "dataset"])
def test_a_table_is_arrays(table: Any) -> None:
    source = loop.columns(table, inputs=["a", "b"], targets="y", weights="w", stack=True, batch_size=4)
    assert isinstance(source, loop.Arrays)
    found = list(source)
    assert [len(y) for _, y, _ in found] == [4, 4, 2]
    for part, expected in zip(zip(*found, strict=True), (AB, ROWS["y"], ROWS["w"]), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), expected)
    assert found[0][0].dtype == np.float32
    assert len(loop.columns(table, inputs="a", targets="y", batch_size=4, drop_last=True)) == 2
    shuffled = loop.columns(table, inputs="b", batch_size=4, shuffle=True)
    assert sorted(np.concatenate(list(shuffled)).tolist()) == list(range(10))
    assert shuffled.shuffle


@pytest.mark.parametrize("table", TABLES, ids=["dict", "frame", "dataset"])
def test_several_inputs_are_named(table: Any) -> None:
    for inputs, expected in ((["a", "vector"], ["a", "vector"]), ({"x": "a", "v": "vector"}, ["x", "v"])):
        x, y = next(iter(loop.columns(table, inputs=inputs, targets={"t": "y"}, batch_size=4)))
        assert set(x) == set(expected)
        np.testing.assert_allclose(x[expected[1]], np.asarray(ROWS["vector"][:4]), rtol=1e-6)
        np.testing.assert_array_equal(y["t"], ROWS["y"][:4])


@pytest.mark.parametrize(
    "make",
    [dicts, lambda: lambda epoch: iter(dicts()), lambda: iter(dicts())],
    ids=["list", "function", "once"],
)
def test_batches_that_are_dicts(make: Any) -> None:
    source = loop.columns(make(), inputs=["a", "b"], targets="y", stack=True)
    found = list(source(1) if callable(source) else source)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), AB)
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), ROWS["y"])


def test_a_stream_is_told_the_epoch() -> None:
    stream = Streamed()
    trainer = loop.trainer(
        (lambda key: jnp.zeros(2), lambda params, x: x @ params),
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
        optax.sgd(0.01),
    )
    options: Any = {"inputs": ["a", "b"], "targets": "y", "stack": True, "batch_size": 4, "drop_last": True}
    got = trainer.run(loop.columns(stream, **options), epochs=2)
    assert stream.epochs == [1, 2]
    expected = trainer.run(loop.columns(ROWS, **options), epochs=2)
    np.testing.assert_allclose(got.model_state, expected.model_state, rtol=1e-6)


def test_the_length_and_the_place_are_those_of_the_source() -> None:
    source = loop.columns(dicts(), inputs="a")
    assert len(source) == 3

    class Placed:
        at = 0

        def __iter__(self) -> Placed:
            return self

        def __next__(self) -> Any:
            self.at += 1
            return {"a": np.zeros(2)}

        def get_state(self) -> int:
            return self.at

        def set_state(self, at: int) -> None:
            self.at = at

    batches = loop.columns(Placed(), inputs="a")
    next(batches)
    assert batches.get_state() == 1
    batches.set_state(5)
    next(batches)
    assert batches.get_state() == 6


LIST = dicts()


@pytest.mark.parametrize(
    ("source", "options", "error", "text"),
    [
        (ROWS, {"inputs": "aa"}, ValueError, 'unknown column "aa": did you mean "a"'),
        (Frame(), {"inputs": "vectr"}, ValueError, 'unknown column "vectr": did you mean "vector"'),
        (LIST, {"inputs": "vectr"}, ValueError, 'unknown column "vectr": did you mean "vector"'),
        (ROWS, {"inputs": "name"}, TypeError, r"column \"name\": must be numbers, got a list of"),
        (Frame(), {"inputs": "name"}, ValueError, 'column "name" holds str, not numbers: encode it'),
        (LIST, {"inputs": "name"}, TypeError, 'column "name": must be numbers, got a list of'),
        (
            ROWS,
            {"inputs": ["a", "vector"], "stack": True},
            ValueError,
            r"takes one number a row, got .*\(10, 2\)",
        ),
        (ROWS, {"inputs": "a", "weights": "w"}, ValueError, "columns: weights need targets"),
        (ROWS, {"inputs": []}, ValueError, "columns: inputs names no column"),
        (ROWS, {"inputs": 3}, TypeError, "columns: inputs must be a column, a list of them or a dict, got 3"),
        (LIST, {"inputs": "a", "targets": {"t": 1}}, TypeError, "columns: targets must be a column"),
        (
            ROWS,
            {"inputs": "a", "batch_size": None},
            ValueError,
            "columns: a dict is a table: pass batch_size=",
        ),
        (
            Streamed(),
            {"inputs": "a", "batch_size": None},
            ValueError,
            "a Streamed is a table: pass batch_size=",
        ),
        (Streamed(), {"inputs": "a", "shuffle": True}, ValueError, "shuffle= goes with a table in memory"),
        (
            LIST,
            {"inputs": "a", "batch_size": 2},
            ValueError,
            "batch_size= goes with a table in memory, but a list",
        ),
        (LIST, {"inputs": "a", "drop_last": True}, ValueError, "drop_last= goes with a table in memory"),
        ([(1, 2)], {"inputs": "a"}, TypeError, "columns: a batch must be a dict of columns, got tuple"),
        (3, {"inputs": "a"}, TypeError, "columns: needs an iterable of batches, .* got int"),
        (ROWS, {"inputs": "a", "batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ],
)
def test_refusals(source: Any, options: Any, error: type[Exception], text: str) -> None:
    table = source is ROWS or isinstance(source, Frame | Streamed)
    options = {**({"batch_size": 4} if table else {}), **options}
    with pytest.raises(error, match=text):
        list(loop.columns(source, **options))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (["image", "label"], 'inputs="image", targets="label"'),
        (["label", "text", "length"], r'inputs=\["text", "length"\], targets="label"'),
        (["left", "right"], 'inputs="left", targets="right"'),
    ],
)
def test_the_error_for_unknown_keys_shows_the_line(keys: list[str], line: str) -> None:
    trainer = loop.trainer(
        (lambda key: jnp.zeros(()), lambda params, x: x * params),
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
        optax.sgd(0.1),
    )
    with pytest.raises(
        ValueError, match=rf'unknown key of a batch "{keys[0]}".*loop.columns\(data, {line}\)'
    ):
        trainer.run([{key: np.zeros(2) for key in keys}])
