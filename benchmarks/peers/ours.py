"""Axonax: graph, named loss and metric, live optimizer, loop."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor import trees
from peers.jobs import BATCH_NORM, DEPTH, EMBEDDED, HEADS, LENGTH, RECURRENT, STAGES, UNITS, WIDTH, Job
from peers.peer import Mark, Peer


def mlp(job: Job) -> nn.Node:
    """784-128-relu-10."""
    return nn.input("image", (None, 784)) | nn.dense(128, activation="relu") | nn.dense(job.classes)


def cnn(job: Job) -> nn.Node:
    """Two convolutions with max pooling, and a dense layer."""
    node = nn.input("image", (None, 28, 28, 1))
    for filters in (32, 64):
        node = node | nn.conv(filters, 3, activation="relu") | nn.max_pool(2)
    return node | nn.flatten() | nn.dense(job.classes)


def lstm(job: Job) -> nn.Node:
    """Characters embedded, an LSTM, a dense layer."""
    tokens = nn.input("tokens", (None, None), dtype="int32")
    return tokens | nn.embedding(job.classes, EMBEDDED) | nn.lstm(RECURRENT) | nn.dense(job.classes)


def gpt(job: Job) -> nn.Node:
    """Blocks as in GPT-2."""
    node = nn.input("tokens", (None, LENGTH), dtype="int32") | nn.embedding(job.classes, UNITS)
    node = node | nn.position_embedding(LENGTH)
    node = node | nn.repeat(nn.transformer_encoder(UNITS, heads=HEADS, causal=True), DEPTH)
    return node | nn.layer_norm() | nn.dense(job.classes)


def resnet(job: Job) -> nn.Node:
    """A stem and a residual block a stage."""

    def normed(x: nn.Node, name: str, filters: int, strides: int = 1) -> nn.Node:
        convolved = x | nn.conv(filters, 3, strides=strides, padding="same", use_bias=False, name=name)
        return convolved | nn.batch_norm(**BATCH_NORM, name=f"{name}_norm")

    node = normed(nn.input("image", (None, 8, 8, 1)), "stem", WIDTH) | nn.relu()
    for stage in range(STAGES):
        filters, strides, name = WIDTH * 2**stage, 2 if stage else 1, f"block{stage}"
        inner = normed(normed(node, f"{name}_a", filters, strides) | nn.relu(), f"{name}_b", filters)
        if stage:
            node = node | nn.conv(filters, 1, strides=strides, use_bias=False, name=f"{name}_beside")
        node = inner + node | nn.relu()
    return node | nn.global_avg_pool() | nn.dense(job.classes)


MODELS = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "gpt": gpt, "resnet": resnet}


def first_state(model: nn.Node, job: Job) -> Any:
    """The state of the model with the weights of the job."""
    shapes = jax.ShapeDtypeStruct((job.batch_size, *job.x.shape[1:]), job.x.dtype)
    state = nn.build(model)[0](jax.random.key(0), shapes)
    inside = f"repeat_0[{DEPTH}]/transformer_encoder_0/"
    given = {name.replace("block/", inside): each for name, each in job.weights.items()}
    names = trees.flatten(state.params)
    if set(given) != set(names):
        raise ValueError(f"the weights of {job.name} differ from the model's: {set(given) ^ set(names)}")
    leaves = [jnp.array(given[name]) for name in names]
    return state.replace(params=jax.tree.unflatten(jax.tree.structure(state.params), leaves))


def build(job: Job, attach: Any = None) -> Peer:
    """A trainer; ``attach(trainer)`` adds to it."""
    model = MODELS[job.name](job)
    trainer = loop.trainer(
        model, "categorical_cross_entropy", optim.adam(job.rate), loss_options={"from_logits": True}
    ).metric("accuracy")
    trainer = trainer if attach is None else attach(trainer)
    data = loop.arrays(job.x, job.y, batch_size=job.batch_size, shuffle=True)
    last: dict[str, Any] = {"state": first_state(model, job), "key": 0, "mark": None}

    def first(state: loop.State) -> None:
        if last["mark"] is not None:
            jax.block_until_ready(state.step_state)
            last["mark"]()

    # Another loop would be compiled anew: this one is marked in every epoch, for nothing in all but one.
    trainer = trainer.on("iteration_completed", first, once=1)

    def epoch(mark: Mark | None) -> float:
        last["key"] += 1
        last["mark"] = mark
        result = trainer.run(data, last["state"], key=jax.random.key(last["key"]))
        last["state"] = result.step_state
        return result.history[0]["seconds"]

    def test() -> float:
        predicted = nn.predict(model, last["state"].model_state, job.x_test)
        return float((np.asarray(predicted).argmax(-1) == job.y_test).mean())

    return Peer(epoch=epoch, test=test)
