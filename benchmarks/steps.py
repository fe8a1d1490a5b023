"""Training steps a second: Axonax against the same step by hand in JAX, and against peers that are installed.

    python benchmarks/steps.py --data mnist.npz --out benchmarks/results/steps.md

One MNIST step of 784-128-relu-10 with Adam 1e-3, loss and accuracy tracked over the epoch. All contenders run
in this one process, an epoch each in turn, so that a slow minute of the machine slows all of them; the best
epoch after the first counts. Axonax goes on with its run for an epoch at a time, and the loop's own figure
for the epoch is taken: the checks at the start of a run (some 10 ms) would come once in a run of many epochs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Outcome(NamedTuple):
    """One epoch; ``seconds`` where the contender measures them itself."""

    loss: float
    accuracy: float
    seconds: float | None = None


Epoch = Callable[[], Outcome]
UNITS, CLASSES, RATE = 128, 10, 1e-3


def batches(x: np.ndarray, y: np.ndarray, size: int, order: np.random.Generator):
    """Shuffled batches of equal size, as the contenders without a data source of their own use them."""
    index = order.permutation(len(x))
    for start in range(0, len(x) - size + 1, size):
        rows = index[start : start + size]
        yield x.take(rows, axis=0), y.take(rows)


def by_hand(x: np.ndarray, y: np.ndarray, size: int) -> Epoch:
    """One jitted, donated step a batch."""
    optimizer = optax.adam(RATE)
    keys = jax.random.split(jax.random.key(0))
    glorot = jax.nn.initializers.glorot_uniform()
    params = {
        "w0": glorot(keys[0], (x.shape[1], UNITS)),
        "b0": jnp.zeros(UNITS),
        "w1": glorot(keys[1], (UNITS, CLASSES)),
        "b1": jnp.zeros(CLASSES),
    }

    def loss_fn(params, inputs, labels):
        hidden = jax.nn.relu(inputs @ params["w0"] + params["b0"])
        logits = hidden @ params["w1"] + params["b1"]
        loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1).mean()
        return loss, (logits.argmax(-1) == labels).sum()

    def step(carry, inputs, labels):
        params, opt_state, total, correct = carry
        (loss, right), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params, inputs, labels)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, total + loss, correct + right

    compiled = jax.jit(step, donate_argnums=0)
    state = {"carry": (params, optimizer.init(params))}
    order = np.random.default_rng(0)

    def epoch() -> Outcome:
        carry = (*state["carry"], jnp.zeros(()), jnp.zeros((), jnp.int32))
        steps = 0
        for inputs, labels in batches(x, y, size, order):
            carry = compiled(carry, inputs, labels)
            steps += 1
        state["carry"] = carry[:2]
        return Outcome(float(carry[2]) / steps, float(carry[3]) / (steps * size))

    return epoch


def axonax(x: np.ndarray, y: np.ndarray, size: int) -> Epoch:
    """The full stack: graph, named loss and metric, live optimizer, loop."""
    from axonax import graph as nn
    from axonax import loop, optim

    model = (
        nn.input("image", (None, x.shape[1]))
        | nn.dense(UNITS, activation="relu")
        | nn.dense(CLASSES, activation="softmax")
    )
    trainer = loop.trainer(model, "categorical_cross_entropy", optim.adam(RATE)).metric("accuracy")
    whole = len(x) // size * size
    data = loop.arrays(x[:whole], y[:whole], batch_size=size, shuffle=True)
    last: dict[str, Any] = {"step_state": None}

    def epoch() -> Outcome:
        result = trainer.run(data, last["step_state"])
        last["step_state"], row = result.step_state, result.history[0]
        return Outcome(row["loss"], row["accuracy"], row["seconds"])

    return epoch


def keras(x: np.ndarray, y: np.ndarray, size: int) -> Epoch:
    """Keras on JAX, `fit`."""
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((x.shape[1],)),
            keras.layers.Dense(UNITS, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    whole = len(x) // size * size

    def epoch() -> Outcome:
        history = model.fit(x[:whole], y[:whole], batch_size=size, epochs=1, verbose=0).history
        return Outcome(history["loss"][0], history["accuracy"][0])

    return epoch


def flax(x: np.ndarray, y: np.ndarray, size: int) -> Epoch:
    """A Flax NNX loop: `nnx.jit`, `MultiMetric`."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.hidden = nnx.Linear(x.shape[1], UNITS, rngs=rngs)
            self.out = nnx.Linear(UNITS, CLASSES, rngs=rngs)

        def __call__(self, inputs):
            return self.out(nnx.relu(self.hidden(inputs)))

    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)
    metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))
    order = np.random.default_rng(0)

    @nnx.jit
    def step(model, optimizer, metrics, inputs, labels):
        def loss_fn(model):
            logits = model(inputs)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

        (loss, logits), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(model)
        metrics.update(loss=loss, logits=logits, labels=labels)
        optimizer.update(model, gradients)

    def epoch() -> Outcome:
        metrics.reset()
        for inputs, labels in batches(x, y, size, order):
            step(model, optimizer, metrics, inputs, labels)
        values = metrics.compute()
        return Outcome(float(values["loss"]), float(values["accuracy"]))

    return epoch


def equinox(x: np.ndarray, y: np.ndarray, size: int) -> Epoch:
    """An Equinox loop: `filter_jit`, donated."""
    import equinox as eqx

    model = eqx.nn.MLP(x.shape[1], CLASSES, UNITS, 1, key=jax.random.key(0))
    optimizer = optax.adam(RATE)
    state = {"model": model, "opt_state": optimizer.init(eqx.filter(model, eqx.is_inexact_array))}
    order = np.random.default_rng(0)

    def loss_fn(model, inputs, labels):
        logits = jax.vmap(model)(inputs)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, (logits.argmax(-1) == labels).sum()

    @eqx.filter_jit(donate="all")
    def step(model, opt_state, total, correct, inputs, labels):
        (loss, right), gradients = eqx.filter_value_and_grad(loss_fn, has_aux=True)(model, inputs, labels)
        updates, opt_state = optimizer.update(gradients, opt_state, model)
        return eqx.apply_updates(model, updates), opt_state, total + loss, correct + right

    def epoch() -> Outcome:
        total, correct, steps = jnp.zeros(()), jnp.zeros((), jnp.int32), 0
        for inputs, labels in batches(x, y, size, order):
            state["model"], state["opt_state"], total, correct = step(
                state["model"], state["opt_state"], total, correct, jnp.asarray(inputs), jnp.asarray(labels)
            )
            steps += 1
        return Outcome(float(total) / steps, float(correct) / (steps * size))

    return epoch


CONTENDERS = {"JAX by hand": by_hand, "Axonax": axonax}
PEERS = {"Keras on JAX": ("keras", keras), "Flax NNX": ("flax", flax), "Equinox": ("equinox", equinox)}


def measure(x: np.ndarray, y: np.ndarray, size: int, rounds: int, names: dict[str, Callable]) -> list[str]:
    """One table: steps a second of the best epoch, the ratio to the hand-written step, the last loss."""
    epochs = {name: build(x, y, size) for name, build in names.items()}
    best = dict.fromkeys(epochs, float("inf"))
    last: dict[str, Outcome] = {}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            last[name] = epoch()
            seconds = last[name].seconds or time.perf_counter() - start
            if number:  # the first epoch compiles
                best[name] = min(best[name], seconds)
    rows = [
        f"\nBatch {size}, best of {rounds} epochs after the first\n",
        "| | steps/s | ratio | loss | accuracy |",
        "|---|---|---|---|---|",
    ]
    hand = best["JAX by hand"]
    for name in epochs:
        speed, end = len(x) // size / best[name], last[name]
        rows.append(
            f"| {name} | {speed:.0f} | {hand / best[name]:.2f} | {end.loss:.4f} | {end.accuracy:.4f} |"
        )
    return rows


def read_data(path: pathlib.Path, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's training images as (N, 784) float32 and labels as (N,) int32."""
    with np.load(path) as data:
        x = data["x_train"][:limit].reshape(-1, 784).astype(np.float32) / 255
        return x, data["y_train"][:limit].astype(np.int32)


def main() -> None:
    """Measure and print the tables; keep them with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("../shared/data/mnist.npz"))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=60000, help="examples an epoch")
    parser.add_argument("--peers", action="store_true", help="also measure the peers that are installed")
    parser.add_argument("--out", type=pathlib.Path, help="a file for the tables")
    options = parser.parse_args()

    x, y = read_data(options.data, options.limit)
    names = dict(CONTENDERS)
    if options.peers:
        names |= {name: build for name, (module, build) in PEERS.items() if importlib.util.find_spec(module)}
    device = jax.devices()[0]
    lines = [
        "# Training steps a second, MNIST 784-128-relu-10, Adam",
        f"\n{platform.machine()}, {os.cpu_count()} cores, {device.device_kind};"
        f" Python {platform.python_version()}, JAX {jax.__version__};"
        " loss and accuracy tracked; contenders in turn within one process.",
    ]
    print("\n".join(lines), flush=True)
    for size in options.batch_sizes:
        rows = measure(x, y, size, options.rounds, names)
        print("\n".join(rows), flush=True)
        lines += rows
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
