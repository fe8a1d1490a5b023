"""Run by ``test_switches.py`` in a process of its own: small programs of each package under a switch of JAX.

``python programs.py jax_debug_nans=true training metrics`` sets the switch, then runs these programs, or all.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax.numpy as jnp
import numpy as np
from ops import (
    rows_activations,
    rows_activations_more,
    rows_losses,
    rows_losses_classes,
    rows_losses_margins,
    rows_losses_real,
    rows_losses_sequences,
)
from ops.programs import quick
from ops.row import Case, OpRow

from axonax import functional as F
from axonax import graph as nn
from axonax import loop, optim, tensor

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(20, 6, 6, 1)).astype(np.float32)
LABELS = np.arange(20) % 3
STEPS = RANDOM.normal(size=(2, 3, 4)).astype(np.float32)
SEEN: list[Any] = []


def network() -> Any:
    """A convolutional net with all that changes between training and inference."""
    return (
        nn.input("image", (None, 6, 6, 1))
        | nn.conv(4, (3, 3), activation="relu")
        | nn.batch_norm()
        | nn.max_pool((2, 2))
        | nn.flatten()
        | nn.repeat(lambda x: x | nn.dense(16, activation="tanh") | nn.batch_norm(), 2, remat=True)
        | nn.dropout(0.5)
        | nn.dense(3, activation="softmax")
    )


def building() -> None:
    """A model is printed, built, run, frozen, saved and loaded."""
    model = network()
    assert "conv_0" in str(model)
    init, apply = nn.build(model)
    state = init(jax.random.key(0))
    assert "conv_0/kernel" in repr(state)
    frozen = state.freeze("conv_0/**")
    _, buffers = jax.jit(apply, static_argnames="train")(frozen, IMAGES, train=True, key=jax.random.key(1))
    state = state.replace(buffers=buffers)
    with tempfile.TemporaryDirectory() as folder:
        tensor.files.save(f"{folder}/weights.safetensors", state)
        again = tensor.files.load(f"{folder}/weights.safetensors", state)
    one, two = (nn.predict(model, each, IMAGES) for each in (state, again))
    np.testing.assert_array_equal(one, two)


def sequences() -> Any:
    """A recurrent layer in parts, attention that keeps the past, a hook, and a container of outputs."""
    steps, (hidden, _) = nn.input("steps", (None, 3, 4)) | nn.lstm(4, return_state=True)
    attended = nn.hook(
        steps | nn.multi_head_attention(2, causal=True, cache=6), SEEN.append, on=("forward", "backward")
    )
    return nn.container({"scores": attended | nn.dense(3), "hidden": hidden})


def declaring() -> None:
    """A model with a cache and a hook is quantized, run again with what it keeps, and differentiated."""
    model = sequences()
    model, state = nn.quantize(model, quick(nn.build(model).init)(jax.random.key(0), STEPS))
    assert "quantized_dense" in str(model)

    @quick
    def run(state: Any, steps: Any) -> Any:
        def loss(params: Any) -> Any:
            prediction, buffers = nn.build(model).apply(state.replace(params=params), steps)
            return sum(jnp.sum(leaf**2) for leaf in prediction.values()), (prediction, buffers)

        return jax.value_and_grad(loss, has_aux=True)(state.params)

    SEEN.clear()
    (_, (first, buffers)), gradient = run(state, STEPS)
    (_, (second, _)), _ = run(state.replace(buffers=buffers), STEPS)
    jax.effects_barrier()
    assert len(SEEN) == 4
    assert np.isfinite(jax.tree.leaves(jax.tree.map(np.sum, gradient))).all()
    np.testing.assert_array_equal(first["hidden"], second["hidden"])
    assert not np.array_equal(first["scores"], second["scores"])  # the second attends to the first


def training() -> None:
    """A model trains under its steps' transfer guard too, is validated, and goes on from its state."""
    data = loop.arrays(IMAGES, LABELS, batch_size=8, shuffle=True)
    seen: list[float] = []
    trainer = (
        loop.trainer(network(), "categorical_cross_entropy", optim.adamw(0.01))
        .metric("accuracy")
        .metric(F.metrics.f1_score(average="macro"), name="f1")
        .validate(data)
        .on("iteration_completed", lambda state: seen.append(state.metrics["loss"]), every=2)
    )
    assert "accuracy" in str(trainer)
    result = trainer.run(data, epochs=2, key=jax.random.key(0))
    assert np.isfinite(seen).all()
    again = trainer.run(data, epochs=1, state=result.step_state)
    loop.evaluator(network()).metric("accuracy").run(data, again.model_state)


def guarded() -> None:
    """The steps of an epoch after the first send nothing to a device, or from it, that nobody asked for."""

    seen: list[float] = []

    def guard(level: str) -> Callable[[Any], None]:
        return lambda state: jax.config.update("jax_transfer_guard", level)

    trainer = (
        loop.trainer(network(), "categorical_cross_entropy", optim.adamw(optim.cosine_decay(0.01, 10)))
        .metric("accuracy")
        .on("epoch_started", guard("disallow"), after=1)
        .on("iteration_completed", lambda state: seen.append(state.metrics["loss"]), every=2)
        .on("epoch_completed", guard("allow"))
    )
    trainer.run(loop.arrays(IMAGES, LABELS, batch_size=8, shuffle=True), epochs=3)
    assert len(seen) == 4


def optimizers() -> None:
    """Every named optimizer starts as a user starts it, and takes a step in a compiled function."""
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
    # The bracket of Optax's line search is infinite before it starts.
    left_out = {"lbfgs"} if jax.config.jax_debug_infs else set()
    names = [name for name in tensor.plugins.available("optimizer") if name not in left_out]
    named = {name: tensor.plugins.resolve("optimizer", name)() for name in names}

    def objective(params: Any) -> jax.Array:
        return jnp.sum((params["kernel"] - 2) ** 2) + jnp.sum(params["bias"] ** 2)

    @quick
    def step(states: dict[str, Any]) -> dict[str, Any]:
        value, gradient = jax.value_and_grad(objective)(params)
        extra = {"value": value, "grad": gradient, "value_fn": objective}
        following = {}
        for name, optimizer in named.items():
            updates, state = optimizer.update(gradient, states[name], params, **extra)
            following[name] = optim.apply_updates(params, updates), state
        return following

    states = {name: optimizer.init(params) for name, optimizer in named.items()}
    for name, (stepped, _) in step(states).items():
        assert np.isfinite(stepped["kernel"]).all(), name


def minimizing() -> None:
    """An objective is minimized by each kind of method."""
    for method in ("adam", "lbfgs", "bfgs", "nonlinear_cg"):
        result = optim.minimize(lambda x: jnp.sum((x - 1) ** 4 + x**2), jnp.zeros(2), method, max_steps=5)
        assert float(result.value) < 2


def metrics() -> None:
    """Every named metric takes a batch."""
    made = {name: tensor.plugins.resolve("metric", name)() for name in tensor.plugins.available("metric")}
    y_true, y_pred = np.arange(12) % 2, RANDOM.random(12).astype(np.float32)
    states = {name: metric.init(y_true, y_pred) for name, metric in made.items()}

    @quick
    def update(states: dict[str, Any], y_true: Any, y_pred: Any) -> dict[str, Any]:
        updated = {name: metric.update(states[name], y_true, y_pred) for name, metric in made.items()}
        return {name: metric.compute(updated[name]) for name, metric in made.items()}

    update(states, y_true, y_pred)


def activations() -> None:
    """Every activation and its gradient, at the edges where it has some."""
    differentiate(*rows_activations.ROWS, *rows_activations_more.ROWS)


def losses() -> None:
    """Every loss and its gradient, at the edges where it has some."""
    tables = (rows_losses, rows_losses_real, rows_losses_margins, rows_losses_classes, rows_losses_sequences)
    differentiate(*(row for table in tables for row in table.ROWS))


def chosen_cases(row: OpRow) -> tuple[Case, ...]:
    """The edges of an op, else a case of another kind; where infinities are refused none may be meant."""
    return row.cases[:1] if jax.config.jax_debug_infs else row.edges or row.cases[:1]


def differentiate(*rows: OpRow) -> None:
    """Values and gradients of many ops in one program."""
    cases = {f"{row.name} {i}": (row, one) for row in rows for i, one in enumerate(chosen_cases(row))}

    def one(row: OpRow, case: Case, arrays: list[Any]) -> Any:
        chosen = row.differentiable(case) if row.gradient != "none" else ()
        call = case.bind(row.op)
        if not chosen:
            return call(*arrays)

        def moving(*xs: Any) -> list[Any]:
            filled = list(arrays)
            for index, x in zip(chosen, xs, strict=True):
                filled[index] = x
            return row.graded_of(call(*filled))

        result, pull = jax.vjp(moving, *(arrays[index] for index in chosen))
        return result, pull([jnp.where(jnp.isfinite(leaf), 1, 0).astype(leaf.dtype) for leaf in result])

    @quick
    def every(arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: one(row, case, arrays[name]) for name, (row, case) in cases.items()}

    every({name: case.cast(np.float32) for name, (_, case) in cases.items()})


PROGRAMS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (building, declaring, training, guarded, optimizers, minimizing, metrics, activations, losses)
}


def main(*words: str) -> int:
    """How many programs fail; their traces go to the error stream."""
    for word in words:
        if "=" in word:
            name, value = word.split("=")
            jax.config.update(name, {"true": True, "false": False}.get(value, value))
    gc.freeze()  # JAX looks through all objects for leaked tracers: none is among the modules'
    chosen = [word for word in words if "=" not in word] or list(PROGRAMS)
    failed = 0
    for name in chosen:
        start = time.process_time()
        try:
            PROGRAMS[name]()
        except Exception:
            failed += 1
            print(f"{name} fails:\n{traceback.format_exc()}", file=sys.stderr)
        print(f"{name} {time.process_time() - start:.1f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
