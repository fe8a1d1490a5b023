"""Flax NNX: `nnx.jit`, `MultiMetric`."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from peers.jobs import BATCH_NORM, DEPTH, LENGTH, RECURRENT, STAGES, Job, Weights
from peers.peer import Mark, Peer

RNGS = nnx.Rngs(0)


def given(array: np.ndarray) -> Any:
    """An initializer that gives these numbers."""
    return lambda key, shape, dtype=None, **_: jnp.asarray(array).reshape(shape)


def linear(weights: Weights, name: str) -> nnx.Linear:
    """A dense layer."""
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    return nnx.Linear(*kernel.shape, kernel_init=given(kernel), bias_init=given(bias), rngs=RNGS)


def conv(
    weights: Weights, name: str, strides: int = 1, padding: str = "SAME", bias: bool = False
) -> nnx.Conv:
    """A convolution."""
    kernel = weights[f"{name}/kernel"]
    more = {"bias_init": given(weights[f"{name}/bias"])} if bias else {}
    return nnx.Conv(
        *kernel.shape[2:],
        kernel.shape[:2],
        strides=strides,
        padding=padding,
        use_bias=bias,
        kernel_init=given(kernel),
        rngs=RNGS,
        **more,
    )


def embed(weights: Weights, name: str) -> nnx.Embed:
    """A table of vectors."""
    table = weights[f"{name}/kernel"]
    return nnx.Embed(*table.shape, embedding_init=given(table), rngs=RNGS)


class Mlp(nnx.Module):
    """784-128-relu-10."""

    def __init__(self, weights: Weights) -> None:
        self.hidden, self.out = linear(weights, "dense_0"), linear(weights, "dense_1")

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(nnx.relu(self.hidden(x)))


class Cnn(nnx.Module):
    """Two convolutions with max pooling, and a dense layer."""

    def __init__(self, weights: Weights) -> None:
        self.first = conv(weights, "conv_0", padding="VALID", bias=True)
        self.second = conv(weights, "conv_1", padding="VALID", bias=True)
        self.out = linear(weights, "dense_0")

    def __call__(self, x: jax.Array) -> jax.Array:
        pool = functools.partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
        x = pool(nnx.relu(self.first(x)))
        x = pool(nnx.relu(self.second(x)))
        return self.out(x.reshape(len(x), -1))


class Lstm(nnx.Module):
    """Characters embedded, an LSTM, a dense layer; the LSTM begins with numbers of its own."""

    def __init__(self, weights: Weights) -> None:
        self.embed = embed(weights, "embedding_0")
        inputs = weights["embedding_0/kernel"].shape[1]
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(inputs, RECURRENT, rngs=RNGS))
        self.out = linear(weights, "dense_0")

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.lstm(self.embed(x)))


class Block(nnx.Module):
    """As in GPT-2."""

    def __init__(self, weights: Weights) -> None:
        self.attention_norm, self.dense_norm = (
            layer_norm(weights, name) for name in ("attention_norm", "dense_norm")
        )
        self.dense_0, self.dense_1 = linear(weights, "dense_0"), linear(weights, "dense_1")
        units, heads, _ = weights["attention/query/kernel"].shape
        attention = nnx.MultiHeadAttention(heads, units, decode=False, rngs=RNGS)
        for part, layer in zip(
            ("query", "key", "value", "output"),
            (attention.query, attention.key, attention.value, attention.out),
            strict=True,
        ):
            layer.kernel[...] = jnp.asarray(weights[f"attention/{part}/kernel"])
            layer.bias[...] = jnp.asarray(weights[f"attention/{part}/bias"])
        self.attention = attention

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = x + self.attention(self.attention_norm(x), mask=mask)
        return x + self.dense_1(nnx.gelu(self.dense_0(self.dense_norm(x))))


def layer_norm(weights: Weights, name: str) -> nnx.LayerNorm:
    """Over the last axis."""
    return nnx.LayerNorm(len(weights[f"{name}/scale"]), epsilon=1e-5, rngs=RNGS)


class Gpt(nnx.Module):
    """Blocks one after the other."""

    def __init__(self, weights: Weights) -> None:
        stacked = {name.removeprefix("block/"): each for name, each in weights.items() if "block/" in name}
        self.embed, self.position = (
            embed(weights, f"{name}_0") for name in ("embedding", "position_embedding")
        )
        self.blocks = nnx.List(
            [Block({name: each[number] for name, each in stacked.items()}) for number in range(DEPTH)]
        )
        self.norm, self.out = layer_norm(weights, "layer_norm_0"), linear(weights, "dense_0")

    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nnx.make_causal_mask(x)
        x = self.embed(x) + self.position(jnp.arange(LENGTH))
        for block in self.blocks:
            x = block(x, mask)
        return self.out(self.norm(x))


class Normed(nnx.Module):
    """A convolution and a batch normalization."""

    def __init__(self, weights: Weights, name: str, strides: int = 1) -> None:
        self.conv = conv(weights, name, strides)
        units = weights[f"{name}/kernel"].shape[-1]
        self.norm = nnx.BatchNorm(
            units, momentum=BATCH_NORM["momentum"], epsilon=BATCH_NORM["eps"], rngs=RNGS
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Residual(nnx.Module):
    """Two convolutions beside what goes in."""

    def __init__(self, weights: Weights, stage: int) -> None:
        strides, name = 2 if stage else 1, f"block{stage}"
        self.a, self.b = Normed(weights, f"{name}_a", strides), Normed(weights, f"{name}_b")
        self.beside = conv(weights, f"{name}_beside", strides) if stage else None

    def __call__(self, x: jax.Array) -> jax.Array:
        inner = self.b(nnx.relu(self.a(x)))
        return nnx.relu(inner + (x if self.beside is None else self.beside(x)))


class Resnet(nnx.Module):
    """A stem and a residual block a stage."""

    def __init__(self, weights: Weights) -> None:
        self.stem = Normed(weights, "stem")
        self.blocks = nnx.List([Residual(weights, stage) for stage in range(STAGES)])
        self.out = linear(weights, "dense_0")

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean((1, 2)))


MODELS = {"mlp": Mlp, "cnn": Cnn, "lstm": Lstm, "gpt": Gpt, "resnet": Resnet}


def build(job: Job) -> Peer:
    """The loop of NNX's tutorial."""
    model = MODELS[job.name](job.weights)
    model.train()
    optimizer = nnx.Optimizer(model, optax.adam(job.rate), wrt=nnx.Param)
    metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))
    order = np.random.default_rng(0)

    @nnx.jit
    def step(model, optimizer, metrics, x, y):
        def loss_fn(model):
            logits = model(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

        (loss, logits), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(model)
        metrics.update(loss=loss, logits=logits, labels=y)
        optimizer.update(model, gradients)

    def epoch(mark: Mark | None) -> None:
        metrics.reset()
        for x, y in job.batches(order):
            step(model, optimizer, metrics, x, y)
            if mark is not None:
                jax.block_until_ready(nnx.state(model))
                mark()
                mark = None
        jax.block_until_ready(nnx.state(model))

    def test() -> float:
        model.eval()
        logits = nnx.jit(lambda model, x: model(x))(model, job.x_test)
        model.train()
        return float((np.asarray(logits).argmax(-1) == job.y_test).mean())

    return Peer(epoch=epoch, test=test)
