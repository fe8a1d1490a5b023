"""Equinox: `filter_jit`, donated."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from peers.jobs import BATCH_NORM, DEPTH, LENGTH, RECURRENT, STAGES, Job, Weights
from peers.peer import Mark, Peer

KEY = jax.random.key(0)


def with_arrays(layer: Any, **arrays: np.ndarray) -> Any:
    """The layer with these arrays."""
    names = tuple(arrays)
    new = tuple(jnp.asarray(each) for each in arrays.values())
    return eqx.tree_at(lambda layer: tuple(getattr(layer, name) for name in names), layer, new)


def linear(weights: Weights, name: str) -> eqx.nn.Linear:
    """A dense layer of one example."""
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    return with_arrays(eqx.nn.Linear(*kernel.shape, key=KEY), weight=kernel.T, bias=bias)


def conv(
    weights: Weights, name: str, strides: int = 1, padding: Any = 0, bias: bool = False
) -> eqx.nn.Conv2d:
    """A convolution, channels first."""
    kernel = weights[f"{name}/kernel"]
    layer = eqx.nn.Conv2d(*kernel.shape[2:], kernel.shape[:2], strides, padding, use_bias=bias, key=KEY)
    arrays = {"weight": kernel.transpose(3, 2, 0, 1)}
    return with_arrays(layer, **arrays, **({"bias": weights[f"{name}/bias"][:, None, None]} if bias else {}))


def embed(weights: Weights, name: str) -> eqx.nn.Embedding:
    """A table of vectors."""
    return eqx.nn.Embedding(weight=jnp.asarray(weights[f"{name}/kernel"]))


class Mlp(eqx.Module):
    """784-128-relu-10."""

    hidden: Any
    out: Any

    def __init__(self, weights: Weights) -> None:
        self.hidden, self.out = linear(weights, "dense_0"), linear(weights, "dense_1")

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        return self.out(jax.nn.relu(self.hidden(x))), state


class Cnn(eqx.Module):
    """Two convolutions with max pooling, and a dense layer."""

    first: Any
    second: Any
    out: Any

    def __init__(self, weights: Weights) -> None:
        self.first, self.second = (conv(weights, name, bias=True) for name in ("conv_0", "conv_1"))
        self.out = linear(weights, "dense_0")

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        pool = eqx.nn.MaxPool2d(2, 2)
        x = pool(jax.nn.relu(self.first(jnp.moveaxis(x, -1, 0))))
        x = pool(jax.nn.relu(self.second(x)))
        return self.out(jnp.moveaxis(x, 0, -1).ravel()), state


class Lstm(eqx.Module):
    """Characters embedded, a cell scanned over time, a dense layer."""

    embed: Any
    cell: Any
    out: Any

    def __init__(self, weights: Weights) -> None:
        self.embed = embed(weights, "embedding_0")
        self.cell = with_arrays(
            eqx.nn.LSTMCell(weights["embedding_0/kernel"].shape[1], RECURRENT, key=KEY),
            weight_ih=weights["lstm_0/kernel"].T,
            weight_hh=weights["lstm_0/recurrent_kernel"].T,
            bias=weights["lstm_0/bias"],
        )
        self.out = linear(weights, "dense_0")

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        def step(carry: Any, token: jax.Array) -> Any:
            carry = self.cell(token, carry)
            return carry, carry[0]

        zeros = jnp.zeros(RECURRENT)
        outputs = jax.lax.scan(step, (zeros, zeros), jax.vmap(self.embed)(x))[1]
        return jax.vmap(self.out)(outputs), state


class Block(eqx.Module):
    """As in GPT-2."""

    attention: Any
    norms: Any
    dense: Any

    def __init__(self, weights: Weights) -> None:
        units, heads, _ = weights["attention/query/kernel"].shape
        bias = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}
        attention = eqx.nn.MultiheadAttention(heads, units, **bias, key=KEY)
        for part in ("query", "key", "value", "output"):
            kernel, offset = weights[f"attention/{part}/kernel"], weights[f"attention/{part}/bias"]
            new = with_arrays(
                getattr(attention, f"{part}_proj"), weight=kernel.reshape(units, units).T, bias=offset.ravel()
            )
            attention = eqx.tree_at(lambda each, part=part: getattr(each, f"{part}_proj"), attention, new)
        self.attention = attention
        self.norms = [eqx.nn.LayerNorm(units), eqx.nn.LayerNorm(units)]
        self.dense = [linear(weights, "dense_0"), linear(weights, "dense_1")]

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        normal = jax.vmap(self.norms[0])(x)
        x = x + self.attention(normal, normal, normal, mask)
        inner = jax.vmap(self.dense[0])(jax.vmap(self.norms[1])(x))
        return x + jax.vmap(self.dense[1])(jax.nn.gelu(inner))


class Gpt(eqx.Module):
    """Blocks one after the other."""

    embed: Any
    position: Any
    blocks: Any
    norm: Any
    out: Any

    def __init__(self, weights: Weights) -> None:
        stacked = {name.removeprefix("block/"): each for name, each in weights.items() if "block/" in name}
        self.embed, self.position = embed(weights, "embedding_0"), embed(weights, "position_embedding_0")
        self.blocks = [
            Block({name: each[number] for name, each in stacked.items()}) for number in range(DEPTH)
        ]
        self.norm, self.out = eqx.nn.LayerNorm(len(weights["layer_norm_0/scale"])), linear(weights, "dense_0")

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        mask = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
        x = jax.vmap(self.embed)(x) + self.position.weight
        for block in self.blocks:
            x = block(x, mask)
        return jax.vmap(lambda row: self.out(self.norm(row)))(x), state


class Normed(eqx.Module):
    """A convolution and a batch normalization."""

    conv: Any
    norm: Any

    def __init__(self, weights: Weights, name: str, strides: int = 1) -> None:
        self.conv = conv(weights, name, strides, "SAME")
        units = weights[f"{name}/kernel"].shape[-1]
        self.norm = eqx.nn.BatchNorm(units, "batch", mode="batch", **BATCH_NORM)

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        return self.norm(self.conv(x), state)


class Resnet(eqx.Module):
    """A stem and a residual block a stage."""

    stem: Any
    blocks: Any
    out: Any

    def __init__(self, weights: Weights) -> None:
        self.stem = Normed(weights, "stem")
        self.blocks = [
            (
                Normed(weights, f"block{stage}_a", 2 if stage else 1),
                Normed(weights, f"block{stage}_b"),
                conv(weights, f"block{stage}_beside", 2) if stage else None,
            )
            for stage in range(STAGES)
        ]
        self.out = linear(weights, "dense_0")

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        x, state = self.stem(jnp.moveaxis(x, -1, 0), state)
        x = jax.nn.relu(x)
        for a, b, beside in self.blocks:
            inner, state = a(x, state)
            inner, state = b(jax.nn.relu(inner), state)
            x = jax.nn.relu(inner + (x if beside is None else beside(x)))
        return self.out(x.mean((1, 2))), state


MODELS = {"mlp": Mlp, "cnn": Cnn, "lstm": Lstm, "gpt": Gpt, "resnet": Resnet}


def build(job: Job) -> Peer:
    """The loop of Equinox's tutorials."""
    model, model_state = eqx.nn.make_with_state(MODELS[job.name])(job.weights)
    optimizer = optax.adam(job.rate)
    carry = model, model_state, optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    last = {"carry": carry}
    order = np.random.default_rng(0)

    def forward(model, model_state, x):
        return jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, model_state)

    def loss_fn(model, model_state, x, y):
        logits, model_state = forward(model, model_state, x)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss, (model_state, (logits.argmax(-1) == y).mean())

    @eqx.filter_jit(donate="all")
    def step(carry, total, correct, x, y):
        model, model_state, opt_state = carry
        (loss, (model_state, right)), gradients = eqx.filter_value_and_grad(loss_fn, has_aux=True)(
            model, model_state, x, y
        )
        updates, opt_state = optimizer.update(gradients, opt_state, model)
        return (eqx.apply_updates(model, updates), model_state, opt_state), total + loss, correct + right

    def epoch(mark: Mark | None) -> None:
        carry, total, correct = last["carry"], jnp.zeros(()), jnp.zeros(())
        for x, y in job.batches(order):
            carry, total, correct = step(carry, total, correct, jnp.asarray(x), jnp.asarray(y))
            if mark is not None:
                jax.block_until_ready(total)
                mark()
                mark = None
        jax.block_until_ready(total)
        last["carry"] = carry

    def test() -> float:
        model, model_state, _ = last["carry"]
        logits = eqx.filter_jit(forward)(eqx.nn.inference_mode(model), model_state, jnp.asarray(job.x_test))[
            0
        ]
        return float((np.asarray(logits).argmax(-1) == job.y_test).mean())

    return Peer(epoch=epoch, test=test)
