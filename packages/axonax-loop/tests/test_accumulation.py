"""Optimizers that hold batches back: they are told weights and the end of an epoch; and averages."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

pytestmark = pytest.mark.smoke

X = np.arange(7, dtype=np.float32)
BATCHES = [(X[i : i + 2], X[i : i + 2]) for i in (0, 2, 4, 6)]


class Told(NamedTuple):
    """The weights that were told, as digits, and the number of digits at each flush."""

    weights: jax.Array
    flushes: jax.Array
    steps: jax.Array

    @property
    def extra_arguments(self) -> tuple[str, ...]:
        return ("weight", "flush")


def note_taker() -> optax.GradientTransformationExtraArgs:
    def init(params: Any) -> Told:
        return Told(*(jnp.zeros((), jnp.int32) for _ in range(3)))

    def update(updates: Any, state: Told, params: Any = None, *, weight: Any, flush: Any, **_: Any) -> Any:
        steps = state.steps + 1
        weights = state.weights * 10 + jnp.asarray(weight, jnp.int32)
        return updates, Told(weights, jnp.where(flush, state.flushes * 10 + steps, state.flushes), steps)

    return optax.GradientTransformationExtraArgs(init, update)


def trainer(optimizer: Any) -> loop.Loop:
    model = (lambda key: {"w": jnp.zeros(())}, lambda params, x: x * params["w"])
    return loop.trainer(model, lambda y_true, y_pred: (y_true - y_pred) ** 2, optimizer)


def told(result: Any) -> Told:
    return next(
        each
        for each in jax.tree.leaves(result.opt_state, is_leaf=lambda node: isinstance(node, Told))
        if isinstance(each, Told)
    )


@pytest.mark.parametrize(
    "data",
    [BATCHES, loop.arrays(X, X, batch_size=2), lambda epoch: iter(BATCHES)],
    ids=["list", "arrays", "function"],
)
@pytest.mark.parametrize("compile", [True, False])
def test_the_last_batch_of_each_epoch_is_told(data: Any, compile: bool) -> None:
    model = (lambda key: {"w": jnp.zeros(())}, lambda params, x: x * params["w"])
    optimizer = optax.chain(optax.clip(1.0), note_taker())
    fitting = loop.trainer(model, lambda t, p: (t - p) ** 2, optimizer, compile=compile)
    seen = told(fitting.run(data, epochs=2))
    assert (int(seen.weights), int(seen.flushes)) == (22212221, 48)


def test_data_that_is_read_once_loses_nothing_to_a_halt() -> None:
    def halt(state: loop.State) -> Any:
        return loop.control(loop.HALT_EPOCH, state)

    halted = trainer(note_taker()).on("iteration_completed", halt, once=2)
    result = halted.run(iter(BATCHES * 2), epochs=3, steps_per_epoch=3)
    assert [row["iteration"] for row in result.history] == [2, 5, 8]
    # The epoch that was halted did not end by itself: what is held back joins the next one.
    assert (int(told(result).weights), int(told(result).flushes)) == (22212221, 58)


def test_no_more_is_read_than_an_epoch_takes() -> None:
    source = iter(BATCHES * 2)
    result = trainer(note_taker()).run(source, epochs=2, steps_per_epoch=2)
    assert int(told(result).flushes) == 24
    assert len(list(source)) == 4


def test_one_compilation_for_last_batches_and_others() -> None:
    traces: list[int] = []

    def apply(params: Any, x: Any) -> Any:
        traces.append(1)
        return x * params["w"]

    model = (lambda key: {"w": jnp.zeros(())}, apply)
    fitting = loop.trainer(model, lambda t, p: (t - p) ** 2, note_taker())
    fitting.run(BATCHES[:3], epochs=1)
    first = len(traces)
    fitting.run(BATCHES[:3], epochs=3)
    assert len(traces) - first <= 2


def test_without_a_wish_nothing_is_read_ahead() -> None:
    read: list[int] = []

    def batches(epoch: int) -> Any:
        for number, batch in enumerate(BATCHES):
            read.append(number)
            yield batch

    at: list[int] = []
    for optimizer in (optax.chain(optax.adam(0.1)), note_taker()):
        read.clear()
        base = trainer(optimizer).on("iteration_completed", lambda state: at.append(len(read)))
        base.run(batches)
    assert at == [1, 2, 3, 4, 2, 3, 4, 4]


def test_the_public_step_takes_the_last_batch() -> None:
    model = (lambda key: {"w": jnp.zeros(())}, lambda params, x: x * params["w"])
    start, step = loop.train_step(model, lambda t, p: (t - p) ** 2, note_taker())
    state = start(jax.random.key(0), BATCHES[0])
    for batch, last in zip(BATCHES, (False, True, False, True), strict=True):
        state, _ = jax.jit(step)(state, batch, last)
    assert int(state.opt_state.flushes) == 24


def test_going_on_in_the_middle_of_an_epoch_is_never_having_stopped() -> None:
    optimizer = optax.chain(note_taker(), optax.adam(0.1))
    whole = trainer(optimizer).run(BATCHES)
    stopped = trainer(optimizer).on("iteration_completed", _halt, once=3).run(BATCHES)
    assert (stopped.status, int(told(stopped).flushes)) == ("halted", 0)
    rest = trainer(optimizer).run(itertools.islice(BATCHES, 3, None), stopped.step_state)
    jax.tree.map(np.testing.assert_array_equal, _plain(rest.step_state), _plain(whole.step_state))


def _halt(state: loop.State) -> Any:
    return loop.control(loop.HALT_LOOP, state)


def _plain(state: loop.TrainState) -> loop.TrainState:
    return state.replace(key=jax.random.key_data(state.key))


class Shifted(NamedTuple):
    """The state of an optimizer that wants other parameters evaluated than those that it trains."""

    passed: jax.Array

    def evaluation_params(self, params: Any) -> Any:
        return jax.tree.map(jnp.ones_like, params)


def test_validation_and_evaluators_take_the_parameters_to_evaluate() -> None:
    keeper = optax.GradientTransformation(
        lambda params: Shifted(jnp.zeros(())), lambda updates, state, params=None: (updates, state)
    )
    fitting = trainer(optax.chain(optax.sgd(0.01), keeper)).validate(BATCHES)
    result = fitting.run(BATCHES, epochs=2)
    assert [row["validation_loss"] for row in result.history] == [0.0, 0.0]
    assert result.metrics["loss"] > 0
    model = (lambda key: None, lambda params, x: x * params["w"])
    evaluator = loop.evaluator(model, lambda t, p: (t - p) ** 2)
    assert evaluator.run(BATCHES, result.step_state).metrics["loss"] == 0
    assert evaluator.run(BATCHES, result.model_state).metrics["loss"] > 0
