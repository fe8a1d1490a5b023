"""What is written and drawn, and nothing where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from axonax import loop
from axonax.loop.handlers._log import format_metrics

DATA = [(np.ones((4, 2), np.float32), np.ones(4, np.float32))] * 5


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer(rate: float = 0.0) -> loop.Loop:
    model = (lambda key: {"w": jnp.zeros(2)}, lambda params, x: x @ params["w"])
    return loop.trainer(model, squared, optax.sgd(rate))


def test_log_lines_and_the_last_step_of_an_epoch() -> None:
    lines: list[str] = []
    trainer().metric(squared, "error").log(every=("epoch", 2), to=lines.append).run(DATA, epochs=2)
    tail = "loss: 1.0000000, error: 1.0000000"
    assert lines == [f"Epoch: {epoch}, Batch: {batch}, {tail}" for epoch in (1, 2) for batch in (2, 4, 5)]


def test_the_last_step_is_not_logged_twice() -> None:
    lines: list[str] = []
    trainer().log(lambda state: str(state.iteration), every=5, to=lines.append).run(DATA, epochs=2)
    assert lines == ["5", "10"]


def test_log_prints_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    trainer().log().run(DATA)
    assert capsys.readouterr().out == "Epoch: 1, Batch: 5, loss: 1.0000000\n"


def test_metric_values_as_text() -> None:
    values = {"nan": float("nan"), "inf": float("-inf"), "count": 3, "array": np.array([0.5, 1.0])}
    assert format_metrics(values, 2) == {"nan": "nan", "inf": "-inf", "count": "3", "array": "[0.5, 1. ]"}


def drawn(**options: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, width=150, **options)
    trainer().validate(DATA[:1]).progress(console).run(DATA, epochs=2)
    return file.getvalue()


def test_a_bar_an_epoch_on_a_terminal() -> None:
    text = drawn(force_terminal=True, _environ={"TERM": "xterm"})
    for part in ("Epoch 1/2: 5 steps", "Epoch 2/2: 5 steps", "0/5", "loss 1.0000, validation_loss 1.0000"):
        assert part in text
    assert text.endswith("\x1b[?25h")


def test_a_line_an_epoch_on_a_dumb_terminal() -> None:
    lines = drawn(force_terminal=True, _environ={"TERM": "dumb"}).splitlines()
    assert [line.strip()[:40] for line in lines] == [
        f"Epoch: {epoch}, Batch: 5, loss: 1.0000000, val" for epoch in (1, 2)
    ]


def test_silence_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(force_terminal=False) == ""
    trainer().progress().run(DATA)
    assert capsys.readouterr() == ("", "")


def test_the_bar_closes_when_a_run_fails_in_the_middle() -> None:
    file = io.StringIO()

    def broken(state: loop.State) -> None:
        raise RuntimeError("out of paper")

    base = trainer().progress(Console(file=file, force_terminal=True, _environ={"TERM": "xterm"}))
    with pytest.raises(RuntimeError, match="out of paper"):
        base.on("iteration_completed", broken, once=3).run(DATA)
    assert file.getvalue().endswith("\x1b[?25h")


def test_print_shows_what_is_attached() -> None:
    def schedule(state: loop.State) -> None:
        """Nothing."""

    base = trainer().metric(squared, "error").validate(DATA).log(every=3).progress()
    base = base.on("iteration_completed", schedule, every=("epoch", 50), after=100)
    base = base.on("epoch_completed", schedule, every=loop.Seconds(30))
    assert str(base).splitlines() == [
        "trainer",
        "  model      (<lambda>, <lambda>)",
        "  loss       squared",
        "  optimizer  chain(identity, scale)",
        "  metric     error",
        "  validate   epoch_completed: validation_*",
        "  log        every 3",
        "  progress",
        '  on         iteration_completed: schedule, every ("epoch", 50), after 100',
        "  on         epoch_completed: schedule, every 30 s",
    ]
