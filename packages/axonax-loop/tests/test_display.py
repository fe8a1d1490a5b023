"""What is written and drawn in terminals, notebooks and log files."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from axonax import loop
from axonax.loop.handlers import _notebook
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


def test_a_bar_an_epoch_on_a_terminal_and_a_table_at_the_end() -> None:
    text = drawn(force_terminal=True, _environ={"TERM": "xterm"})
    line = r"Epoch {}/2: loss 1.0000, validation_loss 1.0000 \(5 steps, .*steps/s"
    assert re.search(line.format(1) + r"\)", text)
    assert re.search(line.format(2) + r"\)", text)
    assert "0/5" in text
    bar, table = text.split("\x1b[?25h")
    assert "\x1b[?25l" in bar
    assert re.sub(r"[0-9.]+ s$", "TIME", table, flags=re.M) == (
        "completed: 2 epochs, 10 iterations, TIME\n  loss             1.0000\n  validation_loss  1.0000\n"
    )


@pytest.mark.parametrize("options", [{"force_terminal": True, "_environ": {"TERM": "dumb"}}, {}])
def test_a_line_an_epoch_where_there_is_no_terminal(options: dict[str, Any]) -> None:
    lines = drawn(**options).splitlines()
    assert [line[:48] for line in lines[:2]] == [
        f"Epoch {epoch}/2: loss 1.0000, validation_loss 1.0000 (" for epoch in (1, 2)
    ]
    assert [line[:13] for line in lines[2:]] == ["completed: 2 ", "  loss       ", "  validation_"]


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    trainer().progress().run(DATA)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Epoch 1/1: loss 1.0000 (5 steps, ")


def test_the_line_of_a_wide_epoch_is_not_wrapped() -> None:
    file = io.StringIO()
    names = [f"a_rather_long_name_{number}" for number in range(6)]
    base = trainer()
    for name in names:
        base = base.metric(squared, name)
    base.progress(Console(file=file, width=80)).run(DATA)
    assert all(name in file.getvalue().splitlines()[0] for name in names)


def test_the_table_at_the_end_names_the_best_and_the_files(tmp_path: Path) -> None:
    file = io.StringIO()
    base = trainer(0.1).checkpoint(tmp_path / "saved", best="loss").csv(tmp_path / "m.csv")
    base.progress(Console(file=file, width=150)).run(DATA, epochs=2)
    table = file.getvalue().splitlines()[2:]
    assert re.match(r"  loss        0\.\d{4}   best 0\.\d{4}$", table[1])
    assert table[2:] == [f"  checkpoint  {tmp_path / 'saved'}", f"  csv         {tmp_path / 'm.csv'}"]


class Handle:
    """What IPython's display gives."""

    def __init__(self, shown: list[Any]) -> None:
        self.update = shown.append


def notebook(monkeypatch: pytest.MonkeyPatch, kernel: bool = True) -> list[Any]:
    shown: list[Any] = []

    def display(value: Any, display_id: bool) -> Handle:
        shown.append(value)
        return Handle(shown)

    shell = SimpleNamespace(kernel=None) if kernel else SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return shown


def test_a_notebook_shows_a_bar_in_one_place(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    shown = notebook(monkeypatch)
    monkeypatch.setattr(_notebook, "INTERVAL", 1e-9)
    trainer().metric(squared, "<error>").progress().run(DATA, epochs=2, fuse=False)
    assert capsys.readouterr() == ("", "")
    assert any(
        '<progress value="3" max="5"></progress> Epoch 1/2  3/5' in each._repr_html_() for each in shown
    )
    last = shown[-1]._repr_html_()
    assert "<progress" not in last
    assert "&lt;error&gt;" in last
    assert "<error>" not in last
    assert [line[:24] for line in repr(shown[-1]).splitlines()] == [
        "Epoch 1/2: loss 1.0000, ",
        "Epoch 2/2: loss 1.0000, ",
        "completed: 2 epochs, 10 ",
        "  loss       1.0000",
        "  <error>    1.0000",
    ]


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert not notebook(monkeypatch, kernel=False)
    trainer().progress().run(DATA)
    assert capsys.readouterr().err.startswith("Epoch 1/1")


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
