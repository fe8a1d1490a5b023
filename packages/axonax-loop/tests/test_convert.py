"""Batches of tensors and lists become batches of arrays; what cannot is named."""

from __future__ import annotations

import timeit
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.data._convert import converted, converter

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype(np.float32)
Y = X @ np.array([1.0, 2.0, 3.0], np.float32)


class Tensor:
    """What a torch tensor offers: no NumPy while it needs a gradient, none at all in bfloat16."""

    def __init__(self, values: Any, *, needs_grad: bool = False) -> None:
        self.values, self.needs_grad = values, needs_grad

    def detach(self) -> Tensor:
        return Tensor(self.values)

    def cpu(self) -> Tensor:
        return self

    def contiguous(self) -> Tensor:
        return Tensor(jnp.array(self.values))

    def numpy(self) -> np.ndarray:
        if self.needs_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.values.dtype == jnp.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.values)

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()


class Series:
    """What a column of a table offers."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.arange(3)


class Picture:
    """An object that is no array."""

    def __repr__(self) -> str:
        return "<picture>"


def trainer() -> loop.Loop:
    return loop.trainer(
        (lambda key: jnp.zeros(3), lambda params, x: x @ params),
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
        optax.sgd(0.1),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Tensor(X), X),
        (Tensor(X, needs_grad=True), X),
        (Tensor(X[::2].T), X[::2].T),
        (Tensor(jnp.asarray(X, jnp.bfloat16)), np.asarray(jnp.asarray(X, jnp.bfloat16))),
        (Series(), np.arange(3)),
        ([1, 2, 3], np.array([1, 2, 3], np.int32)),
        ([[0.5, 1.0], [2.0, 3.0]], np.array([[0.5, 1.0], [2.0, 3.0]], np.float32)),
        ([True, False], np.array([True, False])),
        (X, X),
    ],
    ids=["tensor", "grad", "strided", "bfloat16", "series", "integers", "nested", "bools", "array"],
)
def test_a_leaf_becomes_an_array(given: Any, expected: np.ndarray) -> None:
    got = converted(({"a": given},))[0]["a"]
    assert isinstance(got, np.ndarray)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_containers_of_arrays_stay() -> None:
    batch = {"a": [X, Tensor(Y)], "b": (1, 2.0), "c": [[X]], "d": []}
    got = converted(batch)
    assert jax.tree.structure(got) == jax.tree.structure({"a": [0, 0], "b": (0, 0), "c": [[0]], "d": []})
    assert got["a"][0] is X
    assert got["b"] == (1, 2.0)


@pytest.mark.parametrize(
    ("batch", "error", "text"),
    [
        (
            ([[1, 2], [3]], [0, 1]),
            ValueError,
            "inputs is a ragged list, with rows of 1 and 2 values: pad them",
        ),
        (([[[1, 2]], [[3]]], [0]), ValueError, "inputs is a ragged list, with rows of 1 and 2 values"),
        (([[1], [1, 2], [1, 2, 3]], [0]), ValueError, "rows of 1, 2 or 3 values"),
        (([1, [2, 3]], [0]), ValueError, "rows of 2 and single values"),
        (
            (X, ["cat", "dog"]),
            TypeError,
            r"targets must be numbers, got a list of \['cat', 'dog'\]: encode it",
        ),
        (
            {"inputs": Picture(), "targets": Y},
            TypeError,
            "inputs must be an array of numbers, got Picture <pict",
        ),
        ([[Picture()], Y], TypeError, "inputs/0 must be an array of numbers, got Picture"),
        ((X, "text"), TypeError, "targets must be an array of numbers, got str 'text'"),
        ((X, None, object()), TypeError, "weights must be an array of numbers, got object"),
    ],
)
def test_what_is_no_array_is_named(batch: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^batch 0: .*{text}"):
        trainer().run([batch])


def test_a_later_batch_is_named_with_its_number() -> None:
    good = ([[1.0, 2.0, 3.0]], [1.0])
    with pytest.raises(ValueError, match="^batch 2 of epoch 1: inputs is a ragged list"):
        trainer().run([good, good, ([[1.0], [1.0, 2.0]], [1.0])])


def test_a_tensor_that_gives_no_array_is_named() -> None:
    class Sparse(Tensor):
        def detach(self) -> Sparse:
            return self

        def numpy(self) -> np.ndarray:
            raise RuntimeError("sparse tensors have no numpy()")

    with pytest.raises(TypeError, match=r"^batch 0: inputs: a Sparse gives no array: sparse tensors have no"):
        trainer().run([(Sparse(X), Y)])


@pytest.mark.parametrize(
    "container", [tuple, list, lambda parts: dict(zip(("inputs", "targets"), parts, strict=True))]
)
@pytest.mark.parametrize("leaf", [Tensor, lambda array: array.tolist()])
def test_training_is_that_of_arrays(container: Any, leaf: Any) -> None:
    def batches(leaf: Any) -> list[Any]:
        return [container([leaf(X[at : at + 3]), leaf(Y[at : at + 3])]) for at in (0, 3, 6)]

    expected = trainer().run(batches(lambda array: array), epochs=2)
    got = trainer().run(batches(leaf), epochs=2)
    np.testing.assert_array_equal(got.model_state, expected.model_state)
    assert got.metrics == expected.metrics


def test_an_iterator_over_two_epochs_and_a_function_of_the_epoch() -> None:
    def batches(number: int = 0) -> Iterator[Any]:
        for _ in range(4):
            yield Tensor(X), Tensor(Y)

    by_function = trainer().run(batches, epochs=2, steps_per_epoch=2)
    by_iterator = trainer().run(batches(), epochs=2, steps_per_epoch=2)
    np.testing.assert_array_equal(by_function.model_state, by_iterator.model_state)


def test_arrays_take_tensors_and_lists() -> None:
    source = loop.arrays(Tensor(X, needs_grad=True), Y.tolist(), batch_size=4)
    for (x, y), at in zip(source, (0, 4), strict=True):
        np.testing.assert_array_equal(x, X[at : at + 4])
        np.testing.assert_array_equal(y, Y[at : at + 4])
    with pytest.raises(ValueError, match="^arrays: y is a ragged list"):
        loop.arrays(X, [[1], [1, 2]], batch_size=4)


def test_a_batch_of_a_step_that_is_not_compiled_is_left_alone() -> None:
    seen: list[Any] = []
    base = loop.loop(lambda count, batch: seen.append(batch) or count, init=lambda: 0, compile=False)  # type: ignore[func-returns-value]
    base.run([["a", "b"], [Picture()]])
    assert seen[0] == ["a", "b"]
    assert isinstance(seen[1][0], Picture)


def test_batches_of_arrays_are_not_looked_at_again() -> None:
    assert converter((X, {"a": jnp.asarray(Y), "b": 1.0}), parts=True) is None
    assert converter([X, Y], parts=True) is None
    make = converter([Tensor(X), Tensor(Y)], parts=True)
    assert make is not None
    assert (
        min(timeit.repeat(lambda: make([Tensor(X), Tensor(Y)]), number=100, repeat=5)) < 0.1
    )  # 1 ms a batch
