"""A run that stopped anywhere goes on as if it had not: to the bit, and says what differs."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

SCRIPT = Path(__file__).parent / "scripts" / "resumable.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("resumable", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


resumable = _load()
STEPS = resumable.EPOCHS * len(resumable.DATA)


@functools.cache
def trainer() -> loop.Loop:
    return resumable.trainer()


@functools.cache
def whole() -> str:
    """The digest of the run that never stopped."""
    return resumable.digest(trainer().run(resumable.DATA, epochs=resumable.EPOCHS))


@pytest.mark.parametrize("source", ["arrays", "list", "function", "generator"])
def test_from_every_step(source: str, tmp_path: Path) -> None:
    key = loop_key()
    lists = {epoch: list(resumable.DATA.batches(epoch, key=key)) for epoch in range(1, resumable.EPOCHS + 1)}

    def data() -> Any:
        if source == "arrays":
            return resumable.DATA
        if source == "generator":
            return (batch for epoch in lists for batch in lists[epoch])
        return lists[1] if source == "list" else lists.get

    options: Any = {"epochs": resumable.EPOCHS}
    if source == "generator":
        options["steps_per_epoch"] = len(resumable.DATA)
    expected = whole() if source != "list" else resumable.digest(trainer().run(data(), **options))
    every = trainer().checkpoint(tmp_path / "all", keep=100, event="iteration_completed")
    first = every.run(data(), **options)
    assert resumable.digest(first) == expected
    folder = tmp_path / "from"
    again = trainer().checkpoint(folder, event="iteration_completed", every=4)
    for step in range(1, STEPS + 1) if source == "arrays" else (1, 7, 10, 21):
        shutil.rmtree(folder, ignore_errors=True)
        (single,) = (tmp_path / "all").glob(f"step_{step:08}*")
        shutil.copytree(single, folder / single.name)
        assert resumable.digest(again.run(data(), resume=True, **options)) == expected, step


def loop_key() -> Any:
    return jax.random.fold_in(jax.random.key(0), 2)


@pytest.mark.parametrize(
    "event", ["started", "epoch_started", "iteration_started", "epoch_completed", "completed"]
)
def test_from_a_save_at_any_event(event: str, tmp_path: Path) -> None:
    def save(state: loop.State) -> Any:
        return loop.control(loop.SAVE, state)

    class Stop(Exception):
        pass

    def stop(state: loop.State) -> None:
        raise Stop

    base = trainer().on(event, save)
    stopped = base.on("iteration_completed", stop, once=9) if event != "completed" else base
    saving = {"keep": 2, "event": "interrupted"}
    first = stopped.checkpoint(tmp_path, **saving)
    if event == "completed":
        first.run(resumable.DATA, epochs=resumable.EPOCHS)
    else:
        with pytest.raises(Stop) as caught:
            first.run(resumable.DATA, epochs=resumable.EPOCHS)
        assert caught.value.result.iteration == 9  # type: ignore[attr-defined]
    result = base.checkpoint(tmp_path, **saving).run(resumable.DATA, epochs=resumable.EPOCHS, resume=True)
    assert resumable.digest(result) == whole()


def killed(folder: Path, times: int, seed: int) -> tuple[str, int]:
    """The last line of a run killed so many times at random moments, and how many of them hit it."""
    rng, hits = np.random.default_rng(seed), 0
    command = [sys.executable, str(SCRIPT), str(folder), "0.01"]
    for attempt in range(times + 1):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            if attempt < times:
                time.sleep(rng.uniform(0.1, 0.6))
                process.kill()
            rest = process.stdout.read()
        hits += process.returncode != 0
        kept = (
            [child for child in folder.iterdir() if child.name.startswith("step_")] if folder.exists() else []
        )
        assert len(kept) <= 2 + 1 + 1  # a run may be killed between a save and the pruning after it
    kept = [child.name for child in folder.iterdir() if child.name != ".lock"]
    assert len(kept) <= 2 + 1
    assert all(name.startswith("step_") for name in kept)
    return rest, hits


def test_killed_five_times(tmp_path: Path) -> None:
    rest, hits = killed(tmp_path / "run", 5, seed=1)
    assert rest == f"ended {STEPS} {whole()}\n"
    assert hits >= 2


@pytest.mark.slow
def test_killed_a_hundred_times(tmp_path: Path) -> None:
    total = 0
    for seed in range(20):
        rest, hits = killed(tmp_path / f"run_{seed}", 5, seed=seed)
        assert rest == f"ended {STEPS} {whole()}\n"
        total += hits
    assert total >= 50


def test_epochs_are_those_of_the_call(tmp_path: Path) -> None:
    base = trainer().checkpoint(tmp_path)
    base.run(resumable.DATA, epochs=1)
    assert base.run(resumable.DATA, epochs=1, resume=True).iteration == 7
    result = base.run(resumable.DATA, epochs=3, resume=tmp_path)
    assert resumable.digest(result) == whole()
    assert base.run(resumable.DATA, epochs=2, resume=True).iteration == STEPS


def test_an_interrupted_epoch_counts_once(tmp_path: Path) -> None:
    def interrupt(state: loop.State) -> None:
        raise KeyboardInterrupt

    base = trainer().checkpoint(tmp_path)
    first = base.on("iteration_completed", interrupt, once=9).run(resumable.DATA, epochs=3)
    assert (first.status, first.iteration, first.epoch) == ("interrupted", 9, 2)
    assert resumable.digest(base.run(resumable.DATA, epochs=3, resume=True)) == whole()


def test_what_early_stop_saved_is_of_this_epoch(tmp_path: Path) -> None:
    def worse(state: loop.State) -> loop.State:
        return state.with_metrics(score=float(state.epoch))

    def stop_after(epoch: int) -> loop.Loop:
        def stop(state: loop.State) -> None:
            raise RuntimeError

        base = loop.loop(lambda count, batch: count + 1.0, init=lambda: 0.0)
        base = base.on("epoch_completed", worse).checkpoint(tmp_path).early_stop("score", patience=5)
        return base.on("epoch_started", stop, once=epoch) if epoch else base

    with pytest.raises(RuntimeError):
        stop_after(5).run([np.ones(1)], epochs=20)
    assert stop_after(0).run([np.ones(1)], epochs=20, resume=True).epoch == 6


def test_best_and_last_are_different_and_both_kept(tmp_path: Path) -> None:
    scores = [3.0, 1.0, 2.0, 4.0]
    base = loop.loop(lambda count, batch: count + 1.0, init=lambda: 0.0)
    base = base.on("epoch_completed", lambda state: state.with_metrics(score=scores[state.epoch - 1]))
    result = base.checkpoint(tmp_path, keep=1, best="score").run([np.ones(1)], epochs=4)
    assert sorted(path.name for path in tmp_path.glob("step*")) == ["step_00000002", "step_00000004"]
    assert result.checkpoints == tmp_path
    best = base.run([np.ones(1)], epochs=2, resume=tmp_path / "step_00000002")
    assert float(best.step_state) == 2.0


def test_metrics_of_the_epoch_in_progress_go_on_and_others_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = trainer().checkpoint(tmp_path)
    base.max_steps(3).run(resumable.DATA)
    caplog.clear()
    more = base.metric(resumable.squared, "late").monitor("loss", lambda state: None)
    result = more.run(resumable.DATA, resume=True)
    expected = trainer().run(resumable.DATA).metrics
    assert {name: result.metrics[name] for name in expected} == dict(expected)
    said = " ".join(record.getMessage() for record in caplog.records)
    for text in (
        'metric "late" is not in',
        '"monitor_1" is not in',
        'nothing attached is called "max_steps"',
    ):
        assert text in said


def other(width: int = 3, optimizer: Any = None) -> loop.Loop:
    def init(key: Any, x: Any) -> Any:
        return {"w": jnp.zeros(width), "b": jnp.zeros(())} if width != 3 else {"w": jnp.zeros(3)}

    def apply(params: Any, x: Any) -> Any:
        return x @ params["w"][:3]

    return loop.trainer((init, apply), resumable.squared, optimizer or optax.sgd(0.1))


@pytest.mark.parametrize(
    ("make", "data", "options", "match"),
    [
        (lambda: other(4), None, {}, r"state/model_state/b: not in the checkpoint, float32\[\] required"),
        (lambda: other(4), None, {}, r"model_state/w: float32\[3\] in the checkpoint, float32\[4\] required"),
        (lambda: other(3, optax.adam(0.1)), None, {}, r"state/opt_state/.*mu/w: not in the checkpoint"),
        (other, "other rows", {}, "the data comes in another order than when it was saved"),
        (other, None, {"key": 1}, r"started with key \[0, 0\], got \[0, 1\]"),
        (other, None, {"resume": False}, "holds checkpoints: pass resume=True to go on from them"),
    ],
)
def test_a_checkpoint_of_something_else(
    make: Any, data: Any, options: dict[str, Any], match: str, tmp_path: Path
) -> None:
    other().checkpoint(tmp_path).max_steps(3).run(resumable.DATA)
    source = resumable.DATA
    if data is not None:
        source = loop.arrays(resumable.X[:39], resumable.Y[:39], batch_size=6, shuffle=True)
    if "key" in options:
        options = {"key": jax.random.key(options["key"])}
    with pytest.raises(ValueError, match=match):
        make().checkpoint(tmp_path).run(source, **{"resume": True, **options})


def test_refusals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = trainer()
    with pytest.raises(ValueError, match=r"resume=True needs a loop with .checkpoint\(path\)"):
        base.run(resumable.DATA, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file must be a folder, it is a file"):
        base.run(resumable.DATA, resume=tmp_path / "file")
    with pytest.raises(ValueError, match="checkpoint: keep must be an integer of at least 1, got 0"):
        base.checkpoint(tmp_path, keep=0)
    with pytest.raises(ValueError, match='checkpoint: mode must be "min" or "max"'):
        base.checkpoint(tmp_path, mode="best")
    with pytest.raises(ValueError, match="checkpoint: there is one already, to"):
        base.checkpoint(tmp_path).checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"asks for a checkpoint: add .checkpoint\(path\) to the loop"):
        base.on("started", lambda state: loop.control(loop.SAVE, state)).run(resumable.DATA)
    caplog.set_level(logging.INFO, "axonax.loop")
    base.run(resumable.DATA, resume=tmp_path / "nothing")
    assert "nothing holds no checkpoint, the run starts from the beginning" in caplog.text


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    def second(state: loop.State) -> None:
        trainer().checkpoint(tmp_path / "run").run(resumable.DATA, resume=True)

    first = trainer().on("epoch_completed", second).checkpoint(tmp_path / "run")
    with pytest.raises(ValueError, match=f"in use by another run \\(process {os.getpid()} on"):
        first.run(resumable.DATA)
