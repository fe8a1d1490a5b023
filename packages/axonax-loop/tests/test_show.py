"""What values look like in a session: results, states, histories, loops."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor import ModelState

DATA = [(np.ones((4, 2), np.float32), np.ones(4, np.float32))] * 5


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


MODEL = (lambda key: {"dense_0": {"kernel": jnp.zeros(2)}}, lambda params, x: x @ params["dense_0"]["kernel"])
TRAINER = loop.trainer(MODEL, squared, optax.sgd(0.0, momentum=0.9))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> loop.Result:
    return TRAINER.csv(tmp_path_factory.mktemp("run") / "m.csv").run(DATA, epochs=2)


def test_a_result_is_a_short_table(result: loop.Result) -> None:
    title, *rows = repr(result).splitlines()
    assert re.fullmatch(r"completed: 2 epochs, 10 iterations, [\d.]+ s", title)
    assert rows == ["  loss       1.0000", f"  csv        {result.files['csv']}"]
    assert result._repr_html_().count("<tr>") == 2


def test_a_result_without_metrics(tmp_path: Path) -> None:
    plain = loop.loop(lambda total, batch: total + 1, init=lambda: 0.0).run(DATA)
    assert re.fullmatch(r"completed: 1 epoch, 5 iterations, [\d.]+ s", repr(plain))


def test_the_result_of_an_error_is_a_table_too() -> None:
    def broken(state: loop.State) -> None:
        raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError) as caught:
        TRAINER.on("iteration_completed", broken, once=3).run(DATA)
    assert repr(caught.value.result) == "exception: 1 epoch, 3 iterations"  # type: ignore[attr-defined]


def test_states_are_trees_by_path(result: loop.Result) -> None:
    assert repr(result.step_state).splitlines() == [
        "TrainState",
        "  model_state",
        "    dense_0/kernel float32[2]",
        "  opt_state",
        "    0/trace/dense_0/kernel float32[2]",
        "  iteration int32[]",
        "  key key<fry>[]",
    ]
    states: list[str] = []
    TRAINER.on("completed", lambda state: states.append(repr(state))).run(DATA)
    assert states[0].splitlines()[:3] == [
        "State: completed, epoch 1/1, iteration 5",
        "  model_state",
        "    dense_0/kernel float32[2]",
    ]


def test_a_plain_step_state_and_a_model_state() -> None:
    plain = loop.loop(lambda total, batch: {"total": total["total"] + 1}, init=lambda: {"total": 0.0})
    states: list[str] = []
    plain.on("completed", lambda state: states.append(repr(state))).run(DATA)
    assert states[0].splitlines()[1:] == ["  step_state", "    total float32[]"]
    state = loop.EvalState(model_state=ModelState(params={"a": jnp.ones(3)}, buffers={"b": jnp.ones(1)}))
    assert repr(state).splitlines() == [
        "EvalState",
        "  model_state",
        "    params",
        "      a float32[3]",
        "    buffers",
        "      b float32[1]",
    ]


def test_long_states_are_cut() -> None:
    many = {f"dense_{number:03}": jnp.ones(1) for number in range(100)}
    state = loop.TrainState(model_state=many, opt_state=(), iteration=jnp.int32(0), key=jax.random.key(0))
    lines = repr(state).splitlines()
    assert lines[41:43] == ["    dense_039 float32[1]", "    ... and 60 more"]
    assert len(lines) == 45


def test_a_history_is_a_table() -> None:
    history = loop.History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 2.5e-7, "matrix": np.eye(3)}])
    assert repr(history).splitlines() == [
        "epoch       loss         matrix",
        "    1     0.5000",
        "    2  2.500e-07  float64[3, 3]",
    ]
    assert repr(loop.History()) == "History(empty)"


def test_a_loop_in_a_notebook_is_a_table() -> None:
    class Named:
        """An attachment that says nothing of itself."""

        name, path = "named<1>", 3

        def memory(self) -> None: ...

        def open(self, job: Any, run: Any) -> Any: ...

        def __repr__(self) -> str:
            return "Named<at large>"

    base = TRAINER.metric(squared, "error").attach(Named())
    assert repr(base).splitlines()[-2:] == ["  metric     error", "  named<1>   Named<at large>"]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", base._repr_html_())
    assert cells[-4:] == ["metric", "error", "named&lt;1&gt;", "Named&lt;at large&gt;"]
