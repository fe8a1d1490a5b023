"""SIGTERM, Ctrl-C and errors: no finished step is lost, and what is finished can be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

SCRIPT = Path(__file__).parent / "scripts" / "resumable.py"
X, Y = np.ones((8, 3), np.float32), np.ones((8,), np.float32)
DATA = [(X, Y)] * 6


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jnp.zeros(3)}


def apply(params: Any, x: Any) -> jax.Array:
    return x @ params["w"]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer() -> loop.Loop:
    return loop.trainer((init, apply), squared, optax.adam(0.1))


def terminated(folder: Path, after: str, seconds: float, where: str) -> tuple[int, str]:
    """The exit code of a run that is told to end when it has printed a word, and what it went on to print."""
    command = [sys.executable, str(SCRIPT), str(folder), str(seconds), where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(after):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    return process.returncode, rest


def last_line(folder: Path, where: str) -> str:
    """What a run from a folder's checkpoints, or from the start, comes to."""
    command = [sys.executable, str(SCRIPT), str(folder), "0", where]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("after", "seconds", "where"),
    [
        ("started", 0.02, "batch"),
        ("validating", 0.05, "validating"),
        pytest.param("saving", 0.05, "saving", marks=pytest.mark.slow),
    ],
)
def test_sigterm_saves_once_and_exits_with_143(
    after: str, seconds: float, where: str, tmp_path: Path
) -> None:
    code, rest = terminated(tmp_path / "run", after, seconds, where)
    # The first signal may come before JAX is imported and the run has begun: then Python ends by it.
    assert code in ((143, -signal.SIGTERM) if after == "started" else (143,)), rest
    assert "ended" not in rest
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "run"), "0", where],
        capture_output=True,
        text=True,
        check=True,
    )
    whole = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "whole"), "0", where],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]


def test_sigterm_within_a_process_saves_the_last_step(tmp_path: Path) -> None:
    def end(state: loop.State) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    base = trainer().checkpoint(tmp_path, event="epoch_completed")
    with pytest.raises(SystemExit) as caught:
        base.on("iteration_completed", end, once=3).run(DATA, epochs=2)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [path.name for path in tmp_path.glob("step_*")] == ["step_00000003"]
    resumed, whole = base.run(DATA, epochs=2, resume=True), trainer().run(DATA, epochs=2)
    np.testing.assert_array_equal(resumed.model_state["w"], whole.model_state["w"])
    assert resumed.metrics == whole.metrics


def test_sigterm_within_validation_fires_the_event_again(tmp_path: Path) -> None:
    def batches(epoch: int) -> Any:
        for number in range(3):
            if number == 1 and not ended:
                ended.append(1)
                os.kill(os.getpid(), signal.SIGTERM)
            yield X, Y

    ended: list[int] = []
    seen: list[int] = []
    base = trainer().on("epoch_completed", lambda state: seen.append(state.epoch)).validate(batches)
    base = base.checkpoint(tmp_path)
    with pytest.raises(SystemExit):
        base.run(DATA, epochs=2)
    result = base.run(DATA, epochs=2, resume=True)
    assert seen == [1, 1, 2]
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert "validation_loss" in result.history[0]


def test_without_a_checkpoint_sigterm_is_left_alone() -> None:
    handlers: list[Any] = []
    base = trainer().on("started", lambda state: handlers.append(signal.getsignal(signal.SIGTERM)))
    base.run(DATA)
    assert handlers == [signal.SIG_DFL]


def test_ctrl_c_within_validation_gives_the_state_before_it() -> None:
    def batches(epoch: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        yield X, Y
        yield X, Y

    result = trainer().validate(batches).run(DATA, epochs=3)
    assert (result.status, result.iteration) == ("interrupted", 6)
    assert np.isfinite(result.model_state["w"]).all()


def read_error() -> None:
    raise OSError("the disk of the data is gone")


@pytest.mark.parametrize("where", ["data", "handler", "tracing"])
def test_an_error_carries_the_result_and_its_own_traceback(where: str) -> None:
    def batches(epoch: int) -> Any:
        yield from DATA[:4]
        read_error()

    def handler(state: loop.State) -> None:
        read_error()

    def bad(y_true: Any, y_pred: Any) -> Any:
        return read_error()

    base = trainer()
    if where == "handler":
        base = base.on("iteration_completed", handler, once=4)
    if where == "tracing":
        base = loop.trainer((init, apply), bad, optax.adam(0.1))
        with pytest.raises(OSError, match="the disk of the data is gone"):
            base.run(DATA)
        return
    with pytest.raises(OSError, match="the disk of the data is gone") as caught:
        base.run(batches if where == "data" else DATA)
    result = caught.value.result  # type: ignore[attr-defined]
    expected = trainer().run(DATA[:4])
    assert (result.status, result.iteration) == ("exception", 4)
    np.testing.assert_array_equal(result.model_state["w"], expected.model_state["w"])
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "read_error"
    assert frames[-2].name == ("batches" if where == "data" else "handler")


def test_a_state_that_a_step_lost_names_the_last_checkpoint(tmp_path: Path) -> None:
    def fail(value: Any) -> Any:
        if float(value) > 5:
            raise ValueError("no more")
        return value

    def step(total: Any, batch: Any) -> Any:
        return jax.pure_callback(fail, jax.ShapeDtypeStruct((), jnp.float32), total + 1.0)

    base = loop.loop(step, init=lambda: jnp.zeros(())).checkpoint(
        tmp_path, event="iteration_completed", every=2
    )
    with pytest.raises(Exception, match="no more"):
        base.run([X] * 8)
    assert float(base.run([X] * 5, resume=True).step_state) == 5.0
