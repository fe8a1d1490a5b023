"""What an editor knows of a program that uses all five packages: for type checkers (`nox -s lint`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import jax
import numpy as np

from axonax import functional as ops
from axonax import graph as nn

# A line each: pyright looks for all names of one import in one folder, and the packages are in five.
from axonax import loop as loop
from axonax import optim as optim
from axonax import tensor as tensor


def program(x: np.ndarray, y: np.ndarray) -> float:
    """From data to a number."""
    model = nn.input("x", (None, 3)) | nn.dense(8, activation="relu") | nn.dense(2)
    trainer = (
        loop.trainer(model, ops.losses.mean_squared_error, optim.adamw(1e-3))
        .metric("mean_absolute_error")
        .validate(loop.arrays(x, y, batch_size=32))
        .progress()
    )
    assert_type(trainer, loop.Loop)
    result = trainer.run(loop.arrays(x, y, batch_size=32, shuffle=True), epochs=3, key=jax.random.key(0))
    assert_type(result, loop.Result)
    assert_type(result.metrics, Mapping[str, float])
    assert_type(result.metrics["loss"], float)
    state: tensor.ModelState = result.model_state
    tensor.files.save("weights.safetensors", state)
    scores = loop.evaluator(model).metric("mean_absolute_error").run(loop.arrays(x, y, batch_size=32), state)
    assert_type(scores.metrics, Mapping[str, float])
    return scores.metrics["mean_absolute_error"]


def chains(trainer: loop.Loop, folder: Path) -> None:
    """Each word gives a loop again."""
    assert_type(trainer.checkpoint(folder, best="validation_loss").early_stop("validation_loss"), loop.Loop)
    assert_type(trainer.csv(folder / "m.csv").jsonl("m.jsonl", every=loop.Seconds(30)), loop.Loop)
    assert_type(trainer.tensorboard(folder).plot("curves.png").history(every=10), loop.Loop)
    assert_type(trainer.profile(folder).log(lambda state: f"{state.metrics['loss']}", to=print), loop.Loop)
    assert_type(trainer.logger(Kept()).logger(Kept, every=None), loop.Loop)
    assert_type(trainer.on("epoch_completed", halt), loop.Loop)


def results(result: loop.Result) -> None:
    """What a run gives."""
    assert_type(result.history, loop.History)
    assert_type(result.history.steps, dict[str, np.ndarray])
    assert_type(result.history.column("loss"), np.ndarray)
    assert_type(result.files, Mapping[str, Path])
    assert_type(result.checkpoints, Path | None)
    assert_type(result.status, str)
    assert_type(result.plot().save("curves.png"), Path)


def states(trainer: loop.Loop, data: Any) -> None:
    """The loop as an iterator."""
    for state in trainer.iterate(data):
        assert_type(state, loop.State)
        assert_type(state.epoch_iteration, int)
        assert_type(state.copy(), loop.State)
        assert_type(state.with_metrics(gap=0.5), loop.State)


def halt(state: loop.State) -> Any:
    return loop.control(loop.HALT_LOOP, state) if state.metrics["loss"] < 0.1 else None


class Kept:
    """A logger is what has its two functions."""

    def log(self, values: Mapping[str, float], *, step: int) -> None: ...

    def close(self) -> None: ...


def as_contract() -> tensor.Logger:
    return Kept()


def mistakes(trainer: loop.Loop) -> None:
    """An editor reports them."""
    trainer.csv(3)  # type: ignore[arg-type]  # pyright: ignore
    trainer.plots("a.png")  # type: ignore[attr-defined]  # pyright: ignore
    trainer.logger({})  # type: ignore[arg-type]  # pyright: ignore
    trainer.history(often=3)  # type: ignore[call-arg]  # pyright: ignore
