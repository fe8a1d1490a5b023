"""The sentences of the vectors about loops as tests."""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor import plugins
from vectors.values_loop import counter, scored

X, Y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)


def linear() -> tuple[Any, Any]:
    return lambda key, x: {"w": jnp.ones((2, 1))}, lambda params, x: x @ params["w"]


def silent() -> tuple[Any, Any]:
    return lambda key, x: {"w": jnp.zeros(1)}, lambda params, x: 0 * x


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer() -> loop.Loop:
    return loop.trainer(linear(), squared, optax.sgd(0.0))


def factory_defaults() -> None:
    assert counter().run([0] * 3, 4).step_state == 7


def trainer_named_losses() -> None:
    names = "binary_cross_entropy categorical_cross_entropy categorical_hinge hinge kl_divergence log_cosh "
    names += "mean_absolute_error mean_squared_error poisson soft_margin"
    for name in names.split():
        assert callable(plugins.resolve("loss", name))


def trainer_named_optimizers() -> None:
    for name in [
        "adabelief",
        "adagrad",
        "adam",
        "adamw",
        "lamb",
        "noisy_sgd",
        "radam",
        "rmsprop",
        "sgd",
        "yogi",
    ]:
        assert loop.trainer(linear(), squared, name).kind == "trainer"


def trainer_custom_model() -> None:
    assert trainer().run([(X, Y)]).iteration == 1


def _two(losses: Any) -> float:
    model = (lambda key, x: {"w": jnp.ones(1)}, lambda params, x: (x[:, :1], x[:, 1:]))
    base = loop.trainer(model, losses, optax.sgd(0.0))
    return float(base.run([(X, (2 * Y, 2 * Y))]).metrics["loss"])


def trainer_multi_loss() -> None:
    assert _two([("mean_squared_error", 0.5), ("mean_absolute_error", 0.5)]) == 1.0


def trainer_multi_loss_order() -> None:
    assert _two([("mean_squared_error", 1.0), (lambda y, p: 3 * jnp.abs(y - p), 2.0)]) == 7.0


def trainer_output() -> None:
    """A run returns a result, which has the state of the model among much else."""
    result = trainer().run([(X, Y)])
    assert result.output is None
    assert set(result.model_state) == {"w"}


def evaluator_step() -> None:
    outputs = loop.eval_step(linear())({"w": jnp.ones((2, 1))}, (X, Y))
    np.testing.assert_array_equal(outputs["y_true"], Y)
    np.testing.assert_array_equal(outputs["y_pred"], 2 * Y)


def train_updates_state() -> None:
    """``momentum`` is the share of the old value that is kept."""
    model = nn.input("x", (None, 2)) | nn.batch_norm(momentum=0.1) | nn.dense(1)
    state = loop.trainer(model, "mean_squared_error", optim.sgd(0.0)).run([(X, Y)]).model_state
    leaves = sorted({float(leaf) for each in jax.tree.leaves(state.buffers) for leaf in np.ravel(each)})
    np.testing.assert_allclose(leaves, [0.1, 0.9], rtol=1e-6)


def running_loss() -> None:
    """The loss of an epoch is the mean over its rows: a smaller last batch counts for what it has."""
    rows = np.float32([[1], [1], [4]])
    base = loop.trainer(
        (lambda key, x: {"w": jnp.zeros(1)}, lambda params, x: 0 * x), squared, optax.sgd(0.0)
    )
    result = base.run([(rows[:2], rows[:2]), (rows[2:], rows[2:])])
    assert result.metrics["loss"] == 6.0


def _losses() -> list[float]:
    seen: list[float] = []
    base = loop.trainer(
        (lambda key, x: {"w": jnp.zeros(1)}, lambda params, x: 0 * x), squared, optax.sgd(0.0)
    )
    base = base.on("iteration_completed", lambda state: seen.append(state.metrics["loss"]))
    base.run([(X, np.full((4, 2), value, np.float32)) for value in (1, 3)])
    return seen


def loss_metric_lag() -> None:
    """The loss of an iteration covers its own batch."""
    assert _losses() == [1.0, 5.0]


def loss_metric_lag_log() -> None:
    """A line at the first iteration shows the loss of its batch."""
    lines: list[str] = []
    trainer().log(every=1, to=lines.append).run([(X, Y)])
    assert lines == ["Epoch: 1, Batch: 1, loss: 1.0000000"]


def metric_default_name() -> None:
    base = trainer().metric("mean_absolute_error")
    assert list(base.run([(X, Y)]).metrics) == ["loss", "mean_absolute_error"]


def metric_custom_needs_name() -> None:
    """A function has the name of its own; a lambda has none and needs one."""
    assert trainer().metric(squared).metrics[0].name == "squared"
    with pytest.raises(ValueError, match="needs name="):
        trainer().metric(lambda y_true, y_pred: y_pred)


def metric_fields() -> None:
    def step(state: Any, batch: Any) -> Any:
        return {"a": batch, "b": 2 * batch}

    base = loop.loop(step, init=lambda batch: {"a": batch, "b": batch})
    base = base.metric(lambda x: x, "b", fields=["b"])
    base = base.metric(lambda x: x, "sum", transform=lambda outputs: [outputs["a"] + outputs["b"]])
    assert dict(base.run([np.float32([1.0])]).metrics) == {"b": 2.0, "sum": 3.0}


def final_metrics() -> None:
    """Metrics are those of the last epoch; each epoch has a row in the history, none that did not run."""
    result = trainer().run([(X, Y)], epochs=2)
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert result.metrics["loss"] == result.history[-1]["loss"]


def epochs_zero() -> None:
    """No epochs at all are an error."""
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        counter().run([0], epochs=0)


def empty_data() -> None:
    with pytest.raises(ValueError, match="the source is empty"):
        counter().run([])


def iterations_limit() -> None:
    assert counter().run(itertools.repeat(0), epochs=2, steps_per_epoch=3).iteration == 6


def custom_step_data() -> None:
    base = loop.loop(lambda state, batch: state, init=lambda: {"count": 0}, compile=False)
    add = lambda state: state.replace(step_state={"count": state.step_state["count"] + 1})  # noqa: E731
    assert base.on("epoch_completed", add, before=5).run([0], epochs=5).step_state == {"count": 4}


def events() -> None:
    """Those of Axon and five more, for the ends of a run."""
    assert loop.EVENTS[:4] == ("started", "epoch_started", "iteration_started", "iteration_completed")
    assert loop.EVENTS[4:6] == ("epoch_completed", "epoch_halted")
    assert len(loop.EVENTS) == 11


def event_counts_reset() -> None:
    """An epoch's end still shows how many steps the epoch had; the next starts at 0."""
    seen: list[int] = []
    base = counter().on("epoch_completed", lambda state: seen.append(state.epoch_iteration))
    base.on("epoch_started", lambda state: seen.append(state.epoch_iteration)).run([0] * 3, epochs=2)
    assert seen == [0, 3, 0, 3]


def handler_order() -> None:
    seen: list[int] = []
    base = counter()
    for number in range(3):
        base = base.on("started", lambda state, number=number: seen.append(number))
    base.run([0])
    assert seen == [0, 1, 2]


def handler_status() -> None:
    """A handler returns nothing, a state or a control."""
    with pytest.raises(TypeError, match="must return None, a State or control"):
        counter().on("started", lambda state: "continue").run([0])


def filter_function() -> None:
    seen: list[int] = []

    def late(state: loop.State, event: str) -> bool:
        return state.iteration > 2

    counter().on("iteration_completed", lambda s: seen.append(s.iteration), filter=late).run([0] * 4)
    assert seen == [3, 4]


def filter_invalid() -> None:
    with pytest.raises(TypeError):
        counter().on("started", print, sometimes=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="filter: must be a function"):
        counter().on("started", print, filter="sometimes")  # type: ignore[arg-type]


def halt_epoch_quirk() -> None:
    """A halted epoch is followed by the next, whatever the handlers of its end return."""
    base = counter().on("iteration_completed", lambda state: loop.control(loop.HALT_EPOCH, state))
    result = base.run([0] * 5, epochs=3)
    assert (result.epoch, result.iteration) == (3, 3)


def status() -> None:
    assert counter().run([0]).status == "completed"
    halting = counter().on("started", lambda state: loop.control(loop.HALT_LOOP, state))
    assert halting.run([0]).status == "halted"


def serialize() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = trainer().checkpoint(folder)
        first = base.run([(X, Y)])
        again = base.run([(X, Y)], resume=True)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first.model_state, again.model_state))


def _steps(base: loop.Loop, **options: Any) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        base.checkpoint(Path(folder) / "run", keep=9, **options).run([0] * 4, epochs=2)
        return sorted(path.name for path in (Path(folder) / "run").glob("step_*"))


def checkpoint_epoch() -> None:
    """Checkpoints are folders named by the iteration; the path has no default."""
    assert _steps(counter()) == ["step_00000004", "step_00000008"]


def checkpoint_filter() -> None:
    """The n-th event is the first that ``every=n`` fires on; the end of the run is saved too."""
    found = _steps(counter(), event="iteration_completed", every=("epoch", 3))
    assert found == ["step_00000003", "step_00000007", "step_00000008"]


def checkpoint_path() -> None:
    assert len(_steps(counter())) == 2


def checkpoint_criteria() -> None:
    """The best is saved when it is the best, and kept beside the newest."""
    with tempfile.TemporaryDirectory() as folder:
        scored([15, 10, 5, 5, 5, 5]).checkpoint(folder, keep=1, best="score").run([0], epochs=6)
        assert sorted(path.name for path in Path(folder).glob("step_*")) == ["step_00000003", "step_00000006"]


def from_state() -> None:
    """``epochs`` is how many there are in all, those before included."""
    with tempfile.TemporaryDirectory() as folder:
        base = counter().checkpoint(folder)
        base.run([0], epochs=3)
        assert base.run([0], epochs=5, resume=True).epoch == 5


def validate_prefix() -> None:
    result = trainer().metric(squared).validate([(X, Y)]).run([(X, Y)])
    assert {"validation_loss", "validation_squared"} < set(result.metrics)


def validate_scope() -> None:
    """All metrics of the loop are computed, whether they were added before or after."""
    result = trainer().validate([(X, Y)]).metric(squared).run([(X, Y)])
    assert "validation_squared" in result.metrics


def validate_default_event() -> None:
    seen: list[bool] = []
    base = trainer().validate([(X, Y)])
    base = base.on("iteration_completed", lambda s: seen.append("validation_loss" in s.metrics))
    base.on("epoch_completed", lambda s: seen.append("validation_loss" in s.metrics)).run([(X, Y)])
    assert seen == [False, True]


def monitor_first() -> None:
    result = scored([7.0]).monitor("score", print).run([0])
    assert tuple(result.memory["monitor"]) == (7.0, 0)


def monitor_strict() -> None:
    for mode in ("min", "max"):
        watching = scored([2, 2]).monitor("score", lambda s: None, mode=mode, patience=9)
        assert watching.run([0], epochs=2).memory["monitor"] == (2.0, 1)


def monitor_patience() -> None:
    """``patience=p`` acts on the p-th epoch in a row without a better value."""
    acted: list[int] = []
    scored([1, 2, 2, 2]).monitor("score", lambda s: acted.append(s.epoch), patience=2).run([0], epochs=4)
    assert acted == [3]


def monitor_metadata() -> None:
    """What they remember is in ``memory``, by the name of the attachment."""
    result = scored([1, 2]).early_stop("score").run([0], epochs=2)
    assert result.memory["early_stop"]["patience"] == (1.0, 1)


def early_stop_max() -> None:
    """Epochs count from 1, and patience is how many without a better value end the run."""
    assert scored([5, 4, 3, 2, 1]).early_stop("score", mode="max", patience=2).run([0], epochs=5).epoch == 3


def reduce_lr_default_factor() -> None:
    """The default is a half."""
    assert "x 0.5" in str(loop.trainer(linear(), squared, optim.sgd(0.1)).reduce_lr_on_plateau("loss"))


def reduce_lr_needs_trainer() -> None:
    with pytest.raises(ValueError, match="must have a learning rate that can be set"):
        scored([1]).reduce_lr_on_plateau("score").run([0])


def log_format() -> None:
    """Names come in the order of the metrics, the loss first."""
    lines: list[str] = []
    trainer().metric(squared, "a").log(every=1, to=lines.append).run([(X, Y)])
    assert lines == ["Epoch: 1, Batch: 1, loss: 1.0000000, a: 1.0000000"]


def log_special() -> None:
    """NaN and infinities are written as Python writes them."""
    lines: list[str] = []
    values = iter([math.nan, math.inf])
    base = counter().on("epoch_completed", lambda s: s.with_metrics(score=next(values)))
    base.on("epoch_completed", lambda s: lines.append(f"{s.metrics['score']:.1f}")).run([0], epochs=2)
    assert lines == ["nan", "inf"]


def train_xor() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 2, (3200, 2)).astype(np.float32)
    y = (x[:, :1] != x[:, 1:]).astype(np.float32)
    model = nn.input("x", (None, 2)) | nn.dense(8, activation="tanh") | nn.dense(1, activation="sigmoid")
    base = loop.trainer(model, "binary_cross_entropy", optim.sgd(0.1)).metric("accuracy")
    result = base.run(loop.arrays(x, y, batch_size=32, shuffle=True), epochs=20, key=jax.random.key(1))
    assert result.metrics["accuracy"] >= 0.9


def state_defaults() -> None:
    """A state begins with no epoch, no iteration, no metrics and the counts of the first event."""
    seen: list[loop.State] = []
    counter().on("started", seen.append).run([0])
    (state,) = seen
    assert (state.epoch, state.epochs, state.iteration, len(state.history)) == (0, 1, 0, 0)
    assert dict(state.event_counts) == {"started": 1}


PASSING = (
    *(factory_defaults, trainer_named_losses, trainer_named_optimizers, trainer_custom_model),
    *(trainer_multi_loss, trainer_multi_loss_order, evaluator_step, metric_default_name, metric_fields),
    *(empty_data, iterations_limit, custom_step_data, handler_order, filter_function, filter_invalid, status),
    *(serialize, checkpoint_path, validate_prefix, validate_default_event, monitor_first, monitor_strict),
    *(reduce_lr_needs_trainer, train_xor),
)

POLICY = (
    *(trainer_output, train_updates_state, running_loss, loss_metric_lag, loss_metric_lag_log),
    *(metric_custom_needs_name, final_metrics, epochs_zero, events, event_counts_reset, handler_status),
    *(halt_epoch_quirk, checkpoint_epoch, checkpoint_filter, checkpoint_criteria, from_state, validate_scope),
    *(monitor_patience, monitor_metadata, early_stop_max, reduce_lr_default_factor, log_format, log_special),
    state_defaults,
)
"""Sentences that we differ from on purpose, each with what holds instead."""

BY_CASES = {
    "event_epoch_started": "the counts of events",
    "event_iteration_completed": "the counts of events",
    "event_order": "the order of events",
    "filter_always": "the filters",
    "filter_every_total": "the filters",
    "filter_every_3": "the filters",
    "filter_once": "the filters",
    "filter_hybrid": "the filters",
    "reduce_lr_max": "the learning rates that are left",
    "log_interval_900": "the last batches logged",
    "log_interval_950": "the last batches logged",
}
"""Sentences that other cases hold in full."""
