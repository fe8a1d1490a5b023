"""Reading ahead changes when batches are read, and nothing else."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

X = np.arange(22, dtype=np.float32).reshape(11, 2)
ARRAYS = loop.arrays(X, X.sum(1), batch_size=4, shuffle=True)


def threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def ended() -> bool:
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return not threads()


def trainer() -> loop.Loop:
    return loop.trainer(
        (lambda key: jnp.zeros(2), lambda params, x: x @ params),
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
        optax.sgd(0.001),
    )


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize("to_device", [True, False])
def test_a_source_that_knows_epochs(size: int, to_device: bool) -> None:
    ahead = loop.prefetch(ARRAYS, size=size, to_device=to_device)
    assert len(ahead) == 3
    key = jax.random.key(3)
    assert ahead.fingerprint(2, key) == ARRAYS.fingerprint(2, key)
    for got, expected in zip(
        ahead.batches(2, key=key, step=1), ARRAYS.batches(2, key=key, step=1), strict=True
    ):
        assert isinstance(got[0], jax.Array if to_device else np.ndarray)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert ended()


@pytest.mark.parametrize(
    "source",
    [ARRAYS, list(ARRAYS), lambda number: iter(list(ARRAYS))],
    ids=["source", "list", "function"],
)
def test_a_run_over_it_is_that_over_the_source(source: Any) -> None:
    expected, got = trainer().run(source, epochs=3), trainer().run(loop.prefetch(source), epochs=3)
    np.testing.assert_array_equal(got.model_state, expected.model_state)
    assert got.metrics == expected.metrics
    assert ended()


def test_a_one_shot_iterator_stays_one() -> None:
    with pytest.raises(ValueError, match="can be read only once"):
        trainer().run(loop.prefetch(iter(list(ARRAYS))), epochs=2)


def test_it_reads_ahead_and_no_further() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    ahead = loop.prefetch(numbers(), size=2, to_device=False)
    assert not read
    assert next(ahead) == 0
    time.sleep(0.1)
    assert len(read) == 4  # one handed out, two in line, one in the hand of the thread
    assert list(ahead) == list(range(1, 10))
    assert next(ahead, None) is None


def test_an_error_comes_at_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the file is gone")

    ahead = loop.prefetch(lambda epoch: broken(), size=5, to_device=False)(1)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the file is gone"):
        next(ahead)
    assert next(ahead, None) is None
    assert ended()


def test_the_thread_ends_when_the_iterator_is_dropped_or_closed() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 0

    ahead = loop.prefetch(endless(), to_device=False)
    next(ahead)
    assert threads() == 1
    del ahead
    assert ended()
    ahead = loop.prefetch(endless(), to_device=False)
    next(ahead)
    ahead.close()
    assert ended()
    assert next(ahead, None) is None


@pytest.mark.parametrize("event", ["halt", "error"])
def test_the_thread_ends_with_the_run(event: str) -> None:
    def end(state: loop.State) -> Any:
        if event == "halt":
            return loop.control(loop.HALT_LOOP, state)
        raise RuntimeError("stop")

    run = trainer().on("iteration_completed", end, once=1)
    held = None
    try:
        run.run(loop.prefetch([(X, X.sum(1))] * 100))
    except RuntimeError as error:
        held = error
    assert (held is not None) == (event == "error")
    assert ended()


class Placed:
    """An iterator that tells its place."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Placed:
        return self

    def __next__(self) -> int:
        if self.at == 6:
            raise StopIteration
        self.at += 1
        return self.at

    def get_state(self) -> dict[str, int]:
        return {"at": self.at}

    def set_state(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def test_the_place_is_that_of_what_was_handed_out() -> None:
    ahead = loop.prefetch(Placed(), size=4, to_device=False)
    assert ahead.get_state() == {"at": 0}
    assert [next(ahead), next(ahead)] == [1, 2]
    time.sleep(0.05)
    place = ahead.get_state()
    assert place == {"at": 2}
    assert list(ahead) == [3, 4, 5, 6]
    ahead.set_state(place)
    assert list(ahead) == [3, 4, 5, 6]


def test_tensors_and_lists_are_sent_as_arrays() -> None:
    (x, y), *_ = loop.prefetch([([[1.0, 2.0]], [3])])
    assert isinstance(x, jax.Array)
    assert (x.shape, y.dtype) == ((1, 2), jnp.int32)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([], {"size": 0}), ValueError, "prefetch: size must be at least 1, got 0"),
        (([], {"size": 1.5}), TypeError, "prefetch: size must be an integer, got 1.5"),
        ((3, {}), TypeError, "prefetch: needs an iterable of batches, .* got int"),
    ],
)
def test_refusals(arguments: Any, error: type[Exception], text: str) -> None:
    source, options = arguments
    with pytest.raises(error, match=text):
        loop.prefetch(source, **options)
