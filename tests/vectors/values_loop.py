"""The vectors' plain values about loops: counts, filters, lines, monitors, files; ours where we differ."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from axonax import loop
from axonax.tensor.updates import hyperparams

Kwargs = dict[str, Any]


def counter() -> loop.Loop:
    return loop.loop(lambda count, batch: count + 1, init=lambda: 0, compile=False)


def scored(values: Any) -> loop.Loop:
    """A loop whose metric ``score`` has a value for each epoch."""
    return counter().on("epoch_completed", lambda s: s.with_metrics(score=float(values[s.epoch - 1])))


def seen_events(base: loop.Loop, epochs: int, iterations: int) -> list[str]:
    seen: list[str] = []

    def record(base: loop.Loop, event: str) -> loop.Loop:
        return base.on(event, lambda state: seen.append(event))

    for event in loop.EVENTS:
        base = record(base, event)
    base.run([0] * iterations, epochs=epochs)
    return seen


def event_count(case: Kwargs) -> tuple[Any, Any]:
    options, base = case["kwargs"], counter()
    if "handler" in options:
        base = base.on("iteration_completed", lambda state: loop.control(loop.HALT_EPOCH, state))
    seen = seen_events(base, options["epochs"], options["iterations"])
    return seen.count(options["event"]), case["expected_value"]


def event_order(case: Kwargs) -> tuple[Any, Any]:
    """With the event that ends a run, which Axon declares and never fires."""
    seen = seen_events(counter(), case["kwargs"]["epochs"], case["kwargs"]["iterations"])
    return seen, [*case["expected_value"], "completed"]


def event_counts_seen(case: Kwargs) -> tuple[Any, Any]:
    """Totals over the run; those of the epoch are ``epoch_iteration``, which an epoch's end still shows."""
    found, expected = {}, {}
    for row in case["expected_value"]:
        event = row["at"]
        counts = {
            name: each["total"] if isinstance(each, dict) else each for name, each in row["counts"].items()
        }
        expected.setdefault(event, counts)

        def note(state: loop.State, event: str = event) -> None:
            found.setdefault(event, {name: state.event_counts[name] for name in expected[event]})

        counts_of = counter().on(event, note)
        counts_of.run([0] * case["kwargs"]["iterations"], epochs=case["kwargs"]["epochs"])
    return found, expected


def option(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def filtered(case: Kwargs) -> tuple[Any, Any]:
    kwargs = case["kwargs"]
    given = {"always": {}, "first": {"first": True}}.get(str(kwargs["filter"])) or kwargs["filter"]
    options = {name: option(value) for name, value in given.items()} if isinstance(given, dict) else {}
    fired: list[int] = []
    event = kwargs["event"]
    base = counter().on(event, lambda state: fired.append(state.event_counts[event]), **options)
    base.run([0] * kwargs["iterations"], epochs=kwargs["epochs"])
    if "every" not in options:
        return fired, case["expected_value"]["fires_at_total_counts"]
    # Every n-th event, the n-th being the first: Axon counts from one event later, so n = 50 logs at 1.
    length, every = kwargs["iterations"], options["every"]
    within = isinstance(every, tuple)
    number = every[1] if within else every
    counts = range(1, length * kwargs["epochs"] + 1)
    chosen = [n for n in counts if ((n - 1) % length + 1 if within else n) % number == 0]
    return fired, [n for n in chosen if options.get("after", 0) < n < options.get("before", 10**9)]


def last_logged_batch(case: Kwargs) -> tuple[Any, Any]:
    """The last step of an epoch is logged too: the line before it, Axon's last, is an interval earlier."""
    lines: list[int] = []
    kwargs = case["kwargs"]
    base = counter().log(
        lambda state: str(state.epoch_iteration), every=kwargs["log"], to=lambda x: lines.append(int(x))
    )
    base.run([0] * kwargs["iterations"])
    return lines[-2:], [case["expected_value"], case["expected_value"] + kwargs["log"]]


def monitor(case: Kwargs) -> tuple[Any, Any]:
    """``patience`` is how many epochs without a better value act; Axon acts one later."""
    kwargs, acted = case["kwargs"], []
    base = scored(kwargs["values"]).monitor(
        "score",
        lambda state: acted.append(state.epoch - 1),
        mode=kwargs["mode"],
        patience=kwargs["patience"] + 1,
    )
    base.run([0], epochs=len(kwargs["values"]))
    return acted, case["expected_value"]["acts_at_events"]


def early_stop_epoch(case: Kwargs) -> tuple[Any, Any]:
    """Ours is the number of the last epoch, counted from 1, for one more of patience."""
    kwargs = case["kwargs"]
    values = [5 * epoch for epoch in range(kwargs["epochs"])]
    base = scored(values).early_stop("score", mode=kwargs["mode"], patience=kwargs["patience"] + 1)
    return base.run([0], epochs=kwargs["epochs"]).epoch, case["expected_value"] + 1


def reduce_lr_final(case: Kwargs) -> tuple[Any, Any]:
    kwargs = case["kwargs"]
    sign = 1 if "grows" in kwargs["metric"] else -1
    model = (lambda key, x: {"w": jnp.zeros(1)}, lambda params, x: x @ params["w"])
    optimizer = optax.inject_hyperparams(optax.sgd)(kwargs["initial_lr"])
    base = loop.trainer(model, lambda y, p: 0 * p, optimizer)
    base = base.on("epoch_completed", lambda state: state.with_metrics(score=sign * float(state.epoch)))
    base = base.reduce_lr_on_plateau(
        "score", factor=kwargs["factor"], patience=kwargs["patience"] + 1, mode=kwargs["mode"]
    )
    batch = (np.ones((2, 1), np.float32), np.ones(2, np.float32))
    result = base.run([batch], epochs=kwargs["epochs"])
    found = float(hyperparams(result.opt_state)["learning_rate"])
    return found, case["expected_value"]["learning_rate"]


def checkpoint_files(case: Kwargs) -> tuple[Any, Any]:
    """Ours are named by the iteration, at the events where Axon's are; the best is saved when it is best."""
    kwargs = case["kwargs"]
    values = kwargs.get("criteria_values")
    event = kwargs.get("event", "epoch_completed")
    every = option(kwargs["filter"]["every"]) if isinstance(kwargs.get("filter"), dict) else None
    base = scored(values) if values else counter()
    batches, epochs = kwargs["batches"], kwargs["epochs"]
    with tempfile.TemporaryDirectory() as folder:
        best = {"keep": 1, "best": "score", "mode": kwargs["mode"]} if values else {"keep": 100}
        base.checkpoint(folder, event=event, every=every, **best).run([0] * batches, epochs=epochs)
        found = sorted(
            int(path.name.removeprefix("step_").split(".")[0]) for path in Path(folder).glob("step_*")
        )
    if values:
        return found, [1 + int(np.argmin(values)), epochs]
    if every is None:
        return found, [batches * epoch for epoch in range(1, epochs + 1)]
    each = [n for n in range(1, batches + 1) if n % every[1] == 0]
    steps = {batches * epoch + n for epoch in range(epochs) for n in each}
    return found, sorted({*steps, batches * epochs})


def final_state(case: Kwargs) -> tuple[Any, Any]:
    """No epochs at all are an error."""
    try:
        counter().run([0], epochs=case["kwargs"]["epochs"])
    except ValueError as error:
        return str(error), "run: epochs must be at least 1, got 0"
    return "no error", "an error"


VALUES: dict[str, Callable[[Kwargs], tuple[Any, Any]]] = {
    "loop.event_count": event_count,
    "loop.event_order": event_order,
    "loop.event_counts_seen": event_counts_seen,
    "loop.filter": filtered,
    "loop.last_logged_batch": last_logged_batch,
    "loop.monitor": monitor,
    "loop.early_stop_epoch": early_stop_epoch,
    "loop.reduce_lr_final": reduce_lr_final,
    "loop.checkpoint_files": checkpoint_files,
    "loop.final_state": final_state,
}
DIFFERENT = (
    "loop.event_order",
    "loop.event_counts_seen",
    "loop.last_logged_batch",
    "loop.monitor",
    "loop.early_stop_epoch",
    "loop.checkpoint_files",
    "loop.final_state",
)
"""Values that we differ in on purpose, for the reason in the docstring of the function."""


def disputed(case: Kwargs) -> bool:
    """Whether our value of a case is another by policy."""
    every = case["op"] == "loop.filter" and "every" in str(case["kwargs"]["filter"])
    return every or case["op"] in DIFFERENT
