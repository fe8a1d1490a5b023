"""Handlers that decide, against plain Python, over resumes, and by their refusals."""

from __future__ import annotations

import functools
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.handlers._patience import Patience
from axonax.tensor.contracts import ModelState
from axonax.tensor.updates import hyperparams

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
Y = (X @ np.array([1.0, 2.0, 3.0], np.float32)).astype(np.float32)
DATA = [(X, Y)] * 4


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jnp.zeros(3)}


def apply(params: Any, x: Any) -> jax.Array:
    return x @ params["w"]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


@functools.cache
def trainer() -> loop.Loop:
    return loop.trainer((init, apply), squared, optax.inject_hyperparams(optax.sgd)(0.1))


def script(values: list[float]) -> loop.Loop:
    """A loop over nothing whose metric of epoch n is the n-th value."""
    base = loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)
    return base.on("epoch_completed", lambda state: state.with_metrics(score=values[state.epoch - 1]))


def expected_stop(values: list[float], patience: int, mode: str, min_delta: float) -> int:
    best, stale = None, 0
    for epoch, value in enumerate(values, 1):
        sign = 1 if mode == "max" else -1
        if not math.isnan(value) and (best is None or sign * (value - best) > min_delta):
            best, stale = value, 0
        else:
            stale += 1
        if stale >= patience:
            return epoch
    return len(values)


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize(("mode", "min_delta"), [("min", 0.0), ("max", 0.0), ("min", 0.15)])
def test_early_stop_is_the_plain_rule(patience: int, mode: str, min_delta: float) -> None:
    rng = np.random.default_rng(patience)
    for _ in range(10):
        values = rng.integers(0, 10, 12) / 10
        values = [math.nan if each == 0.5 else float(each) for each in values]
        base = script(values).early_stop("score", patience=patience, mode=mode, min_delta=min_delta)
        result = base.run([0], epochs=12)
        assert result.epoch == expected_stop(values, patience, mode, min_delta)


def test_early_stop_puts_the_best_back() -> None:
    base = trainer().on("epoch_completed", lambda state: state.with_metrics(score=float(state.epoch == 2)))
    kept: list[Any] = []
    base = base.on("epoch_completed", lambda state: kept.append(state.copy().model_state))
    base = base.early_stop("score", patience=2, mode="max", restore_best=True)
    result = base.run(DATA, epochs=9)
    assert (result.epoch, result.status) == (4, "halted")
    np.testing.assert_array_equal(result.model_state["w"], kept[1]["w"])
    assert result.memory["early_stop"]["patience"] == Patience(best=1.0, stale=2)


def test_plateau_lowers_the_rate_to_its_least() -> None:
    rates: list[float] = []

    def note(state: loop.State) -> None:
        rates.append(float(hyperparams(state.opt_state)["learning_rate"]))

    base = trainer().on("epoch_completed", lambda state: state.with_metrics(score=1.0))
    base = base.reduce_lr_on_plateau("score", patience=2, factor=0.5, min_lr=0.03, cooldown=1)
    base.on("epoch_completed", note).run(DATA, epochs=10)
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03, 0.03], rtol=1e-6)


def test_monitor_calls_again_and_again() -> None:
    called: list[int] = []
    base = script([3, 2, 2, 2, 1, 1, 1]).monitor(
        "score", lambda state: called.append(state.epoch), patience=2
    )
    base.run([0], epochs=7)
    assert called == [4, 7]
    halted = script([1, 1, 1, 1]).monitor("score", lambda state: loop.control(loop.HALT_LOOP, state))
    assert halted.run([0], epochs=4).epoch == 2


def bad_at(step: int) -> list[Any]:
    return [(X, Y if number != step else Y * np.nan) for number in range(8)]


def test_the_step_of_the_first_loss_that_is_not_finite_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(loop.NonFiniteError, match=r"not finite at iteration 6 \(step 6 of epoch 1\)"):
        trainer().terminate_on_nan(every=4).run(bad_at(5))
    result = trainer().terminate_on_nan("halt", every=7).run(bad_at(5))
    assert (result.status, result.iteration) == ("halted", 7)
    caplog.clear()
    trainer().run(bad_at(2), epochs=2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("the loss was not finite at step 3 of epoch 1 (iteration 3)")


def test_rollback_goes_on_from_the_last_finite_state(caplog: pytest.LogCaptureFixture) -> None:
    result = trainer().terminate_on_nan("rollback", every=2).run(bad_at(5))
    assert result.iteration == 8
    assert np.isfinite(result.model_state["w"]).all()
    assert result.metrics["loss"] > 0
    assert "iteration 6 (step 6 of epoch 1), back to iteration 4" in caplog.text
    # Steps 5 and 6 are taken back: what is left are 1 to 4, 7 and 8.
    clean = trainer().run(DATA[:3] * 2)
    np.testing.assert_array_equal(result.model_state["w"], clean.model_state["w"])
    always = [(X, Y * np.nan)] * 12
    with pytest.raises(loop.NonFiniteError, match="3 times in a row"):
        trainer().terminate_on_nan("rollback", every=2).run(always)


def test_a_state_that_is_not_finite_is_never_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = trainer().checkpoint(tmp_path, event="iteration_completed", every=2)
    base.run(bad_at(5))
    assert "not saved at iteration 6: the state of the model is not finite" in caplog.text
    result = base.run(DATA * 2, resume=True, epochs=2)
    assert np.isfinite(result.model_state["w"]).all()


def test_limits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = trainer().max_steps(6).run(DATA, epochs=5)
    assert (result.status, result.iteration, result.epoch) == ("halted", 6, 2)
    base = trainer().checkpoint(tmp_path)
    first = base.max_steps(6).run(DATA, epochs=3)
    assert [row["epoch"] for row in first.history] == [1, 2]
    again = base.max_steps(6).run(DATA, epochs=3, resume=True)
    assert (again.status, again.iteration) == ("halted", 6)
    more = base.max_steps(11).run(DATA, epochs=3, resume=True)
    assert 'the halt by "max_steps  6" no longer holds' in caplog.text
    assert (more.status, more.iteration) == ("halted", 11)
    assert [row["iteration"] for row in more.history] == [4, 8, 11]
    whole = base.run(DATA, epochs=3, resume=True)
    assert (whole.status, whole.iteration, len(whole.history)) == ("completed", 12, 3)
    plain = trainer().run(DATA, epochs=3)
    np.testing.assert_array_equal(whole.model_state["w"], plain.model_state["w"])
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in plain.history]


def test_a_time_limit_counts_what_was_spent(tmp_path: Path) -> None:
    slow = loop.loop(lambda count, batch: (time.sleep(0.01), count + 1)[1], init=lambda: 0, compile=False)
    result = slow.time_limit(0.05).run([0] * 100)
    assert result.status == "halted"
    assert 3 <= result.iteration <= 20
    assert result.memory["time_limit"] >= 0.05


def test_what_is_unfrozen_is_trained_from_then_on(tmp_path: Path) -> None:
    def state(key: Any, x: Any) -> ModelState:
        return ModelState(params={"w": jnp.zeros(3), "b": jnp.zeros(())}).freeze("b")

    def linear(state: ModelState, x: Any) -> Any:
        both = {**state.frozen, **state.params}
        return x @ both["w"] + both["b"], state.buffers

    base = loop.trainer((state, linear), squared, optax.adam(0.1)).unfreeze_at(2, "b")
    seen: list[float] = []

    def note(state: loop.State) -> None:
        seen.append(float({**state.model_state.frozen, **state.model_state.params}["b"]))

    whole = base.on("epoch_completed", note).run([(X, Y + 1)] * 3, epochs=3)
    assert seen[0] == 0.0
    assert 0.0 < seen[1] < seen[2]
    kept = base.checkpoint(tmp_path, event="iteration_completed")
    kept.max_steps(7).run([(X, Y + 1)] * 3, epochs=3)
    resumed = kept.run([(X, Y + 1)] * 3, epochs=3, resume=True)
    for one, other in zip(jax.tree.leaves(whole.opt_state), jax.tree.leaves(resumed.opt_state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_lr_finder_finds_a_rate_that_descends() -> None:
    base = trainer()
    found = base.lr_finder(DATA, min_lr=1e-4, max_lr=100.0, steps=60)
    assert 1e-2 < found.suggestion < 10.0
    assert len(found.rates) == len(found.losses) < 60
    assert repr(found).startswith(f"RateSweep({len(found.rates)} rates from 1.0e-04 to ")
    assert base.attached == trainer().attached


def test_timer_adds_the_pace() -> None:
    row = trainer().timer().run(DATA).history[0]
    assert row["examples_per_second"] == pytest.approx(8 * row["steps_per_second"])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda t: t.early_stop("loss", patience=0),
            "patience must be an integer of at least 1, got 0",
        ),
        (lambda t: t.early_stop("loss", mode="low"), 'early_stop: mode must be "min" or "max", got \'low\''),
        (lambda t: t.early_stop("loss", min_delta=-1), "early_stop: min_delta must be at least 0, got -1"),
        (lambda t: t.reduce_lr_on_plateau("loss", factor=1.0), r"factor must be in \(0, 1\), got 1.0"),
        (lambda t: t.reduce_lr_on_plateau("loss", min_lr=-1.0), "min_lr must be at least 0, got -1.0"),
        (lambda t: t.reduce_lr_on_plateau("loss", cooldown=-1), "cooldown must be at least 0, got -1"),
        (lambda t: t.terminate_on_nan("skip"), "one of raise, halt, rollback, got 'skip'; .skip_nonfinite"),
        (lambda t: t.terminate_on_nan(every=0), "every: must be at least 1, got 0"),
        (lambda t: t.max_steps(0), "max_steps: must be an integer of at least 1, got 0"),
        (lambda t: t.time_limit(0), "time_limit: must be above 0 seconds, got 0"),
        (lambda t: t.unfreeze_at(0, "b"), "unfreeze_at: epoch must be an integer of at least 1, got 0"),
        (lambda t: t.unfreeze_at(1), "unfreeze_at: needs patterns of paths"),
        (lambda t: t.unfreeze_at(1, "b").run(DATA), "unfreeze_at: needs a trainer of a model whose state is"),
        (lambda t: t.lr_finder(DATA, min_lr=1.0, max_lr=0.1), "lr_finder: needs 0 < min_lr < max_lr"),
        (
            lambda t: t.early_stop("validation_loss").run(DATA),
            'metric to watch in early_stop: "validation_loss"',
        ),
        (lambda t: t.reduce_lr_on_plateau("lost").run(DATA), 'reduce_lr_on_plateau: "lost": did you mean'),
        (lambda t: t.checkpoint("x", best="los").run(DATA), "metric to watch in checkpoint"),
        (lambda t: t.monitor("accuracy", print).run(DATA), 'metric to watch in monitor: "accuracy"'),
    ],
)
def test_refusals(make: Any, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=match):
        make(trainer())


def test_refusals_of_other_kinds() -> None:
    with pytest.raises(TypeError, match="monitor: action must be a function of the state, got int"):
        trainer().monitor("loss", 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the action must return None, a State or a control, got int"):
        script([1, 1]).monitor("score", lambda state: 3).run([0], epochs=2)
    plain = loop.trainer((init, apply), squared, optax.sgd(0.1))
    for make in (lambda: plain.reduce_lr_on_plateau("loss").run(DATA), lambda: plain.lr_finder(DATA)):
        with pytest.raises(ValueError, match="the optimizer must have a learning rate that can be set"):
            make()
    late = trainer().on("epoch_completed", lambda state: None).early_stop("validation_loss")
    with pytest.raises(ValueError, match='in early_stop .*: "validation_loss"'):
        late.run(DATA)


def test_what_is_printed() -> None:
    base = trainer().early_stop("loss", restore_best=True).reduce_lr_on_plateau("loss").max_steps(9).timer()
    lines = str(base.terminate_on_nan().time_limit(60).unfreeze_at(2, "a/**")).splitlines()[4:]
    assert [tuple(line.split(maxsplit=1)) for line in lines] == [
        ("early_stop", "loss (min) not better for 3 epochs, the best state is put back"),
        ("reduce_lr_on_plateau", "loss (min) not better for 3 epochs: x 0.5"),
        ("max_steps", "9"),
        ("timer", "steps/s, examples/s, peak memory"),
        ("terminate_on_nan", "raise, every 50"),
        ("time_limit", "60 s"),
        ("unfreeze_at", "epoch 2: a/**"),
    ]


def test_the_batch_of_the_bad_step_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    trainer().run(bad_at(2))
    assert "(iteration 3): targets of the batch holds nan at [0], 8 such numbers in all" in caplog.text
    with pytest.raises(loop.NonFiniteError) as caught:
        trainer().terminate_on_nan(every=4).run(lambda epoch: bad_at(5))
    assert caught.value.__notes__[-1].startswith("its batch: targets of the batch holds nan")
    caplog.clear()
    trainer().run(iter(bad_at(2)))
    assert caplog.records[0].getMessage().endswith("(iteration 3)")
