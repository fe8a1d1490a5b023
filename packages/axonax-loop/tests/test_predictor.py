"""Predictions of a whole pass: all rows, in order, on the host."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor.contracts import ModelState

N = 11
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
Y = np.arange(N, dtype=np.float32)
W = jnp.array([1.0, 2.0, 3.0])
TRACES: list[tuple[int, ...]] = []


def apply(params: Any, x: Any) -> Any:
    TRACES.append(x.shape)
    return x @ params


def init(key: Any) -> jax.Array:
    return jnp.zeros(3)


PREDICTOR = loop.predictor((init, apply))
EXPECTED = np.asarray(X @ W)


def batches(*parts: Any, make: Any = tuple, size: int = 4) -> list[Any]:
    return [make([part[at : at + size] for part in parts]) for at in range(0, N, size)]


FORMS = {
    "arrays": loop.arrays(X, batch_size=4),
    "arrays with targets": loop.arrays(X, Y, batch_size=4),
    "arrays with weights": loop.arrays(X, Y, Y + 1, batch_size=4),
    "bare": [batch for (batch,) in batches(X)],
    "of one": batches(X),
    "list of one": batches(X, make=list),
    "pairs": batches(X, Y),
    "lists": batches(X, Y, make=list),
    "dicts": batches(X, Y, make=lambda parts: {"inputs": parts[0], "targets": parts[1]}),
    "inputs alone": batches(X, make=lambda parts: {"inputs": parts[0]}),
    "no targets": [(batch, None) for (batch,) in batches(X)],
    "one batch": [X],
    "ahead": loop.prefetch(loop.arrays(X, batch_size=4)),
    "function": lambda epoch: iter(batches(X)),
    "once": (batch for batch in batches(X)),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_all_rows_in_order(form: str) -> None:
    got = PREDICTOR.run(FORMS[form], W).output
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, EXPECTED, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_any_batch_size_at_one_shape(size: int) -> None:
    TRACES.clear()
    predictor = loop.predictor((init, apply))
    for source in (loop.arrays(X, batch_size=size), [batch for (batch,) in batches(X, size=size)]):
        np.testing.assert_allclose(predictor.run(source, W).output, EXPECTED, rtol=1e-6)
    assert set(TRACES) == {(size, 3)}


def test_outputs_in_any_nesting_keep_their_types() -> None:
    def apply(params: Any, inputs: Any) -> Any:
        x = inputs["x"]
        half = x.astype(jnp.bfloat16)
        return {"sum": [x.sum(1), (x > 0,)], "half": half, "index": jnp.arange(len(x)), "none": None}

    predictor = loop.predictor((lambda key: (), apply))
    got = predictor.run([{"x": batch} for (batch,) in batches(X)], ()).output
    assert jax.tree.structure(got) == jax.tree.structure(
        {"sum": [0, (0,)], "half": 0, "index": 0, "none": None}
    )
    np.testing.assert_allclose(got["sum"][0], X.sum(1), rtol=1e-6)
    np.testing.assert_array_equal(got["sum"][1][0], X > 0)
    assert got["half"].dtype == jnp.bfloat16
    assert got["half"].shape == (N, 3)
    assert got["index"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]


def test_several_positional_inputs() -> None:
    predictor = loop.predictor((lambda key: (), lambda state, a, b: a.sum(1) + b))
    source = loop.arrays({"inputs": (X, Y)}, batch_size=4)
    np.testing.assert_allclose(predictor.run(source, ()).output, X.sum(1) + Y, rtol=1e-6)


def test_a_model_is_called_as_in_evaluation() -> None:
    def apply(state: Any, x: Any, train: bool = True, key: Any = None) -> Any:
        assert not train
        assert key is None
        return x @ state.params + state.buffers["shift"], {"shift": state.buffers["shift"] + 1}

    state = ModelState(params=W, buffers={"shift": jnp.array(10.0)})
    result = loop.predictor((lambda key: state, apply)).run(loop.arrays(X, batch_size=4), state)
    np.testing.assert_allclose(result.output, EXPECTED + 10, rtol=1e-6)
    assert result.model_state.buffers["shift"] == 10


def test_the_state_of_a_trainer() -> None:
    squared = lambda y_true, y_pred: (y_true - y_pred) ** 2  # noqa: E731
    trained = loop.trainer((init, apply), squared, optax.sgd(0.01)).run(loop.arrays(X, Y, batch_size=4))
    by_trainer = PREDICTOR.run(loop.arrays(X, batch_size=4), trained.step_state).output
    np.testing.assert_allclose(by_trainer, X @ np.asarray(trained.model_state), rtol=1e-5)
    evaluated = loop.evaluator((init, apply)).run(loop.arrays(X, Y, batch_size=4), trained.model_state)
    by_evaluator = PREDICTOR.run(loop.arrays(X, batch_size=4), evaluated.step_state).output
    np.testing.assert_array_equal(by_evaluator, by_trainer)


def test_steps_that_are_not_compiled() -> None:
    predictor = loop.predictor((init, lambda params, x: np.asarray(x) @ np.asarray(params)), compile=False)
    got = predictor.run([batch for (batch,) in batches(X)], W).output
    np.testing.assert_allclose(got, EXPECTED, rtol=1e-6)


def test_a_run_that_is_halted_gives_what_it_has() -> None:
    halting = PREDICTOR.on("iteration_completed", lambda state: loop.control(loop.HALT_LOOP, state), once=2)
    np.testing.assert_allclose(halting.run(loop.arrays(X, batch_size=4), W).output, EXPECTED[:8], rtol=1e-6)
    seen = [state.memory["predictions"] for state in PREDICTOR.iterate(loop.arrays(X, batch_size=4), W)]
    assert [repr(each) for each in seen] == [f"Collected({count} rows)" for count in (4, 8, 11)]
    for each, count in zip(seen, (4, 8, 11), strict=True):
        np.testing.assert_allclose(each.tree, EXPECTED[:count], rtol=1e-6)


def test_it_shows_what_it_is() -> None:
    assert repr(PREDICTOR).splitlines()[0] == "predictor"
    assert "predictions of all rows" in repr(PREDICTOR)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (lambda: PREDICTOR.run([X]), r"predictor: run\(data, model_state\) needs the state of the model"),
        (lambda: PREDICTOR.run([(X, Y, Y, Y)], W), "batch 0: a batch must be inputs, .* got 4 parts"),
        (
            lambda: loop.predictor((init, lambda p, x: {"mean": x.mean()})).run([X], W),
            r"batch 0: predictor: mean must have the 11 rows of the batch .*, got shape \(\)",
        ),
        (
            lambda: loop.predictor((init, lambda p, x: x.mean(0)), compile=False).run([X], W),
            r"predictor: the output must have the 11 rows of the batch on its leading axis, got shape \(3,\)",
        ),
        (lambda: PREDICTOR.run([], W), "the source is empty"),
        (lambda: PREDICTOR.run([X], W, remainder="mask"), "of kind predictor"),
        (lambda: PREDICTOR.validate([X]), "validate: needs a trainer, this is a predictor"),
    ],
)
def test_refusals(run: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        run()
