"""Files, loggers, curves and values of steps: each row once, also over a kill and a resume."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop import _step_values
from axonax.loop.handlers import _tensorboard
from axonax.loop.show import _curves
from axonax.tensor.contracts import Metric

STEPS = 5
DATA = [(np.full((4, 2), number + 1, np.float32), np.ones(4, np.float32) * number) for number in range(STEPS)]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


MODEL = (lambda key: {"w": jnp.zeros(2)}, lambda params, x: x @ params["w"])
TRAINER = loop.trainer(MODEL, squared, optax.sgd(0.01))


class Killed(BaseException):
    """What ends a run in the middle of a handler, as a kill does: nothing is saved."""


def killed_at(iteration: int) -> Any:
    def handler(state: loop.State) -> None:
        if state.iteration == iteration:
            raise Killed

    return handler


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


READ = {"csv": table, "jsonl": objects}


def both(folder: Path, every: Any = None, base: loop.Loop = TRAINER) -> loop.Loop:
    return base.csv(folder / "m.csv", every=every).jsonl(folder / "m.jsonl", every=every)


def rows_of(folder: Path) -> list[list[dict[str, Any]]]:
    """Both files, without what differs from run to run."""
    return [[without_times(row) for row in READ[kind](folder / f"m.{kind}")] for kind in READ]


def test_a_row_an_epoch(tmp_path: Path) -> None:
    result = both(tmp_path / "new", base=TRAINER.validate(DATA[:1])).run(DATA, epochs=3)
    for kind, read in READ.items():
        rows = [{name: float(value) for name, value in row.items()} for row in read(result.files[kind])]
        assert rows == [dict(row) for row in result.history]
    assert result.files == {kind: tmp_path / "new" / f"m.{kind}" for kind in READ}


def test_a_row_every_so_many_steps(tmp_path: Path) -> None:
    result = both(tmp_path, every=2, base=TRAINER.history(every=2)).run(DATA, epochs=2)
    for rows in rows_of(tmp_path):
        assert [int(row["iteration"]) for row in rows] == [2, 4, 6, 8, 10]
        assert [int(row["epoch"]) for row in rows] == [1, 1, 2, 2, 2]
        losses = np.array([row["loss"] for row in rows], np.float32)
        assert losses.tolist() == result.history.steps["loss"].tolist()


@pytest.mark.parametrize(("every", "kill"), [(None, 5), (None, 13), (2, 3), (2, 15)])
def test_each_row_once_over_a_kill_and_a_resume(every: Any, kill: int, tmp_path: Path) -> None:
    whole, cut = both(tmp_path / "whole", every), both(tmp_path / "cut", every)
    whole.run(DATA, epochs=3)
    saved = cut.checkpoint(tmp_path / "saved", event="iteration_completed", every=4, asynchronous=False)
    with pytest.raises(Killed):
        saved.on("iteration_completed", killed_at(kill)).run(DATA, epochs=3)
    saved.run(DATA, epochs=3, resume=True)
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")


def without_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_a_run_that_goes_on_cuts_the_file_even_if_it_writes_nothing(tmp_path: Path) -> None:
    base = TRAINER.csv(tmp_path / "m.csv", every=1).checkpoint(tmp_path / "saved", asynchronous=False)
    with pytest.raises(Killed):
        base.on("iteration_completed", killed_at(8)).run(DATA, epochs=2)
    assert len(table(tmp_path / "m.csv")) >= STEPS
    base.run(DATA, epochs=1, resume=True)
    assert [int(row["iteration"]) for row in table(tmp_path / "m.csv")] == [1, 2, 3, 4, 5]


def test_columns_that_come_later_go_to_the_right(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"

    def base(name: str) -> loop.Loop:
        every_second = TRAINER.validate(DATA[:1], every=2).csv(path if name == "cut" else tmp_path / name)
        return every_second.checkpoint(tmp_path / f"{name}_saved", event="epoch_started", asynchronous=False)

    base("whole").run(DATA, epochs=4)
    # The checkpoint is older than the column.
    with pytest.raises(Killed):
        base("cut").on("epoch_completed", killed_at(10)).run(DATA, epochs=4)
    base("cut").run(DATA, epochs=4, resume=True)
    assert path.read_text().splitlines()[0] == "epoch,iteration,seconds,loss,validation_loss"
    assert [row["validation_loss"] == "" for row in table(path)] == [True, False, True, False]
    assert [without_times(row) for row in table(path)] == [
        without_times(row) for row in table(tmp_path / "whole")
    ]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cut_saved", "m.csv", "whole", "whole_saved"]


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    def odd(state: loop.State) -> loop.State:
        return state.with_metrics(matrix=np.eye(2), bad=float("nan"), parts={"a": np.inf, "b": 1})

    base = TRAINER.on("epoch_completed", odd)
    base.csv(tmp_path / "m.csv").jsonl(tmp_path / "m.jsonl").run(DATA)
    row, line = table(tmp_path / "m.csv")[0], objects(tmp_path / "m.jsonl")[0]
    assert (row["matrix"], row["bad"]) == ("[[1.0, 0.0], [0.0, 1.0]]", "nan")
    assert (line["matrix"], line["bad"], line["parts"]) == ([[1, 0], [0, 1]], None, {"a": None, "b": 1})


def test_a_file_of_another_run_is_refused_before_it_starts(tmp_path: Path) -> None:
    for kind in READ:
        (tmp_path / kind).write_text("a row\n")
        message = f"{kind}: .*{kind} is there already: go on with the run that wrote it"
        for path in (tmp_path / kind, tmp_path):
            with pytest.raises(ValueError, match=message if path != tmp_path else "is there already"):
                getattr(TRAINER, kind)(path).run(DATA)
        assert (tmp_path / kind).read_text() == "a row\n"


def test_a_file_that_lost_rows_is_refused_and_one_that_is_gone_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.csv"
    base = TRAINER.csv(path).checkpoint(tmp_path / "saved")
    base.run(DATA, epochs=3)
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:2]))
    message = "csv: .*m.csv has 1 rows, the run that goes on had written 3: put the file back"
    with pytest.raises(ValueError, match=message):
        base.run(DATA, epochs=4, resume=True)
    path.unlink()
    with caplog.at_level(logging.WARNING, "axonax.loop"):
        base.run(DATA, epochs=5, resume=True)
    assert "m.csv is gone or empty, it begins anew" in caplog.text
    assert [row["epoch"] for row in table(path)][-1] == "5"


class Full:
    """A file on a disk that takes half a row, then nothing, then all again."""

    def __init__(self, file: Any, counter: list[int]) -> None:
        self.file, self.counter, self.close = file, counter, file.close

    def write(self, data: bytes) -> int:
        self.counter[0] += 1
        if self.counter[0] == 2:
            return int(self.file.write(data[:5]))
        if self.counter[0] == 3:
            raise OSError(28, "No space left on device")
        return int(self.file.write(data))


def test_a_full_disk_is_a_warning_and_the_rows_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both(tmp_path / "whole", 1).run(DATA)
    counters: dict[Path, list[int]] = {}
    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = opened(path, mode, *rest, **options)
        return Full(file, counters.setdefault(path, [0])) if mode == "ab" else file

    monkeypatch.setattr(Path, "open", full)
    result = both(tmp_path / "full", 1).run(DATA)
    assert caplog.text.count("csv: a row waits for the next one, it could not be written") == 2
    assert rows_of(tmp_path / "full") == rows_of(tmp_path / "whole")
    assert result.memory["csv"] == result.memory["jsonl"] == {"rows": STEPS}


def test_a_picture_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    result = TRAINER.plot(tmp_path / "file" / "a.png").run(DATA)
    assert result.status == "completed"
    assert "plot: " in caplog.text
    assert "a.png could not be written: " in caplog.text


def test_one_path_is_written_by_one() -> None:
    with pytest.raises(ValueError, match="jsonl: a.csv is where csv writes: use another path"):
        TRAINER.csv("a.csv").jsonl(Path("a.csv"))


class Kept:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = 0

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        self.closed += 1


def test_a_logger_gets_steps_and_epochs_and_no_value_twice() -> None:
    kept = Kept()
    TRAINER.validate(DATA[:1]).logger(kept, every=2).run(DATA, epochs=2)
    names = [(step, sorted(values)) for step, values in kept.rows]
    both, steps, added = ["loss", "validation_loss"], ["loss"], ["validation_loss"]
    assert names == [(2, steps), (4, steps), (5, both), (6, steps), (8, steps), (10, steps), (10, added)]
    assert kept.closed == 0


def test_a_logger_that_is_made_for_the_run_is_closed() -> None:
    made: list[Kept] = []

    def make() -> Kept:
        made.append(Kept())
        return made[-1]

    base = TRAINER.logger(make, every=None)
    assert base.run(DATA, epochs=2).status == base.run(DATA, epochs=2).status == "completed"
    assert [[step for step, _ in kept.rows] for kept in made] == [[5, 10], [5, 10]]
    with pytest.raises(Killed):
        base.on("iteration_completed", killed_at(2)).run(DATA)
    assert [kept.closed for kept in made] == [1, 1, 1]


def test_what_is_no_logger_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"logger: needs log\(values, \*, step\) and close\(\), or a .*got dict"
    ):
        TRAINER.logger({})  # type: ignore[arg-type]


def test_tensorboard_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    result = TRAINER.tensorboard(tmp_path, every=2).run(DATA)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("events.out.tfevents")
    assert b"loss" in file.read_bytes()
    assert result.files == {"tensorboard": tmp_path}


def missing(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(__import__("sys").modules, module, None)


def test_extras_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "tensorboardX", "matplotlib.figure")
    with pytest.raises(ImportError, match=r"tensorboardX: pip install axonax-loop\[tensorboard\]"):
        TRAINER.tensorboard(tmp_path).run(DATA)
    with pytest.raises(ImportError, match=r"plot needs matplotlib: pip install axonax-loop\[plot\]"):
        TRAINER.plot(tmp_path / "a.png").run(DATA)


def test_a_picture_is_drawn_each_epoch(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path, sizes = tmp_path / "new" / "curves.png", []
    base = TRAINER.validate(DATA[:1]).plot(path)
    result = base.on("epoch_started", lambda state: sizes.append(path.exists())).run(DATA, epochs=2)
    assert sizes == [False, True]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(path.parent.iterdir()) == [path]
    axes = result.plot(tmp_path / "again.png").figure.axes
    assert [axis.get_title() for axis in axes] == ["loss"]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes[0].get_lines()}
    assert drawn == {
        "train": result.history["loss"].tolist(),
        "validation": result.history["validation_loss"].tolist(),
    }


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match='unknown metric to watch in plot: "los": did you mean "loss"?'):
        TRAINER.plot(tmp_path / "a.png", metrics=["los"]).run(DATA)
    with pytest.raises(ValueError, match=r"plot: the path must end in .png, .svg, .pdf, got a.txt"):
        TRAINER.plot("a.txt")
    with pytest.raises(ValueError, match="plot: the history is empty, no epoch was finished"):
        loop.History().plot()
    with pytest.raises(ValueError, match='plot: the history has no "hits", only loss'):
        loop.History([{"epoch": 1, "loss": 0.5}]).plot(metrics=["hits"])


def test_panels_are_metrics_and_lines_are_sets() -> None:
    row = {"epoch": 1, "loss": 1.0, "top_5": 0.5, "other_loss": 2.0, "other_top_5": 0.25, "matrix": np.eye(2)}
    panels = _curves.grouped([row, {"epoch": 2, "loss": 0.5}])
    assert {name: list(lines) for name, lines in panels.items()} == {
        "loss": ["train", "other"],
        "top_5": ["train", "other"],
    }
    np.testing.assert_array_equal(panels["top_5"]["other"], [[0.25, np.nan]])
    vectors = _curves.grouped([{"epoch": 1, "loss": np.array([0.5, 1.0])}])
    assert [column.tolist() for column in vectors["loss"]["train"]] == [[0.5], [1.0]]


def test_values_of_steps_are_those_after_each_step() -> None:
    seen: list[float] = []
    TRAINER.on("iteration_completed", lambda state: seen.append(state.metrics["loss"])).run(DATA, epochs=2)
    steps = TRAINER.history().run(DATA, epochs=2).history.steps
    assert list(steps) == ["iteration", "loss"]
    assert steps["iteration"].tolist() == list(range(1, 11))
    assert steps["loss"].dtype == np.float32
    assert steps["loss"].tolist() == seen


def test_values_of_steps_go_on_after_a_kill(tmp_path: Path) -> None:
    whole = TRAINER.history().run(DATA, epochs=3).history.steps
    saved = TRAINER.history().checkpoint(
        tmp_path / "saved", event="iteration_completed", every=4, asynchronous=False
    )
    with pytest.raises(Killed):
        saved.on("iteration_completed", killed_at(7)).run(DATA, epochs=3)
    found = saved.run(DATA, epochs=3, resume=True).history.steps
    for name, column in whole.items():
        np.testing.assert_array_equal(found[name], column)


def test_columns_grow_and_keep_their_structure() -> None:
    columns = _step_values.empty()
    for number in range(1000):
        columns = _step_values.append(columns, number, {"a": number, **({"b": 1.0} if number > 500 else {})})
        assert jax.tree.structure(columns) == jax.tree.structure(_step_values.empty())
    found = _step_values.read(columns)
    assert found["iteration"].tolist() == found["a"].tolist() == list(range(1000))
    assert np.isnan(found["b"]).sum() == 501
    assert columns["values"].nbytes <= 2 * 4 * 2 * 1000


def test_an_older_memory_keeps_its_rows() -> None:
    first = _step_values.append(_step_values.empty(), 1, {"a": 1.0})
    _step_values.append(first, 2, {"a": 2.0})
    assert _step_values.read(first)["a"].tolist() == [1.0]


def test_values_of_steps_are_asked_for_once() -> None:
    with pytest.raises(ValueError, match="history: the loop keeps values of steps already"):
        TRAINER.history().history()
    with pytest.raises(ValueError, match="history.steps: the loop keeps no values of steps, add .history"):
        TRAINER.run(DATA).history.steps  # noqa: B018


def test_the_loss_of_single_steps_is_a_metric_that_keeps_the_last() -> None:
    last = Metric(
        init=lambda loss: jnp.zeros(()),
        update=lambda state, loss, **_: loss,
        merge=None,
        compute=lambda state: state,
        name="step_loss",
    )
    still = loop.trainer(MODEL, squared, optax.sgd(0.0)).metric(last, fields=["loss"]).history()
    steps = still.run(DATA).history.steps
    assert steps["step_loss"].tolist() == [0, 1, 4, 9, 16]
    assert steps["loss"].tolist() == [0, 0.5, np.float32(5 / 3), 3.5, 6]


def predicts(output: Any) -> loop.Loop:
    """A loop whose output is made of the state of the model."""
    return dataclasses.replace(
        loop.evaluator(MODEL), output=lambda state: output(np.asarray(state.model_state["w"]))
    )


def test_predictions_are_written_after_epochs(tmp_path: Path) -> None:
    seen: list[np.ndarray] = []
    base = TRAINER.on("epoch_completed", lambda state: seen.append(np.asarray(state.model_state["w"])))
    base = base.write_predictions(
        tmp_path / "new" / "all_{epoch}.npz", predicts(lambda w: {"w": w}), DATA[:1]
    )
    result = base.write_predictions(tmp_path / "last.csv", predicts(lambda w: w), DATA[:1], every=2).run(
        DATA, epochs=3
    )
    for epoch in (1, 2, 3):
        with np.load(tmp_path / "new" / f"all_{epoch}.npz") as file:
            np.testing.assert_array_equal(file["w"], seen[epoch - 1])
    rows = table(tmp_path / "last.csv")
    assert [float(row["prediction"]) for row in rows] == seen[1].tolist()
    assert list(result.files) == ["predictions", "predictions_1"]


def test_predictions_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="write_predictions: needs a loop with an output, .* got trainer"):
        TRAINER.write_predictions("a.npz", TRAINER, DATA)
    with pytest.raises(ValueError, match=r"write_predictions: the path must end in .npz or .csv, got a.txt"):
        TRAINER.write_predictions("a.txt", predicts(lambda w: w), DATA)
    with pytest.raises(ValueError, match="write_predictions: a list_iterator can be read only once"):
        TRAINER.write_predictions("a.npz", predicts(lambda w: w), iter(DATA))
    deep = predicts(lambda w: np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match=r"prediction has shape \(2, 3, 4\): write a .npz"):
        TRAINER.write_predictions(tmp_path / "a.csv", deep, DATA).run(DATA)


def test_a_trace_of_a_few_steps(tmp_path: Path) -> None:
    said: list[str] = []
    base = TRAINER.profile(tmp_path, start=3, steps=2, to=said.append)
    base.run(DATA, epochs=2)
    assert said == [f"profile: steps 4 to 5 are in {tmp_path}: tensorboard --logdir {tmp_path}"]
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_a_trace_ends_with_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    TRAINER.profile(tmp_path, start=3, to=said.append).run(DATA)
    TRAINER.profile(tmp_path, start=10, to=said.append).run(DATA)
    assert said == [
        f"profile: steps 4 to 5 are in {tmp_path}: tensorboard --logdir {tmp_path}",
        "profile: no trace, the run ended after 5 of 10 steps",
    ]
    with pytest.raises(Killed):
        TRAINER.profile(tmp_path, start=1).on("iteration_completed", killed_at(3)).run(DATA)
    jax.profiler.start_trace(str(tmp_path))  # only one trace may be open
    jax.profiler.stop_trace()


@pytest.mark.parametrize("option", ["start", "steps"])
def test_a_trace_of_no_steps_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"profile: {option} must be an integer of at least 1, got 0"):
        TRAINER.profile("trace", **{option: 0})  # type: ignore[arg-type]


def test_a_row_file_is_named_in_print(tmp_path: Path) -> None:
    base = TRAINER.csv("m.csv").jsonl("s.jsonl", every=loop.Seconds(5)).logger(Kept(), every=("epoch", 3))
    base = base.tensorboard("runs").plot("c.png", every=5).history().profile("trace").logger(Kept, every=None)
    assert str(base).splitlines()[4:] == [
        "  csv          m.csv, every epoch",
        "  jsonl        s.jsonl, every 5 s",
        '  logger       Kept, every ("epoch", 3)',
        "  tensorboard  runs, every 50",
        "  plot         c.png, every 5",
        "  history      every 1",
        "  profile      trace, steps 11 to 15",
        "  logger       Kept, every epoch",
    ]


def test_tensorboard_opens_nothing_before_the_first_value(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    _tensorboard.TensorBoard(tmp_path / "none").close()
    assert not (tmp_path / "none").exists()
