"""The same models in Flax NNX, Equinox and Keras, as their guides write them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp

from graph_cases.ours import DEPTH, HEADS, LENGTH, MLP_DEPTH, MLP_WIDTH, STAGES, VOCABULARY, WIDTH

Start = tuple[Callable[..., Any], tuple[Any, ...]]


def nnx_start(model: str) -> Start:
    """Modules of Flax NNX, split into a description and a state."""
    from flax import nnx

    rngs = nnx.Rngs(0)

    class Unit(nnx.Module):
        def __init__(self, inputs, filters, size, strides=1):
            self.conv = nnx.Conv(inputs, filters, (size, size), strides, use_bias=False, rngs=rngs)
            self.norm = nnx.BatchNorm(filters, use_running_average=True, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.conv(x))

    class Bottleneck(nnx.Module):
        def __init__(self, inputs, filters, strides, project):
            self.first, self.second = Unit(inputs, filters, 1), Unit(filters, filters, 3, strides)
            self.third = Unit(filters, 4 * filters, 1)
            self.shortcut = Unit(inputs, 4 * filters, 1, strides) if project else None

        def __call__(self, x):
            inner = self.third(nnx.relu(self.second(nnx.relu(self.first(x)))))
            return nnx.relu(inner + (x if self.shortcut is None else self.shortcut(x)))

    class ResNet(nnx.Module):
        def __init__(self):
            self.stem = Unit(3, 64, 7, 2)
            self.blocks = nnx.List([Bottleneck(*each) for each in _bottlenecks()])
            self.head = nnx.Linear(2048, 1000, rngs=rngs)

        def __call__(self, x):
            x = nnx.max_pool(nnx.relu(self.stem(x)), (3, 3), (2, 2), "SAME")
            for each in self.blocks:
                x = each(x)
            return self.head(x.mean((1, 2)))

    class Block(nnx.Module):
        def __init__(self):
            self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
            self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
            self.wide = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
            self.narrow = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

        def __call__(self, x):
            mask = nnx.make_causal_mask(jnp.ones(x.shape[:2]))
            x = x + self.attention(self.norms[0](x), mask=mask)
            return x + self.narrow(nnx.gelu(self.wide(self.norms[1](x))))

    class Transformer(nnx.Module):
        def __init__(self):
            self.embed = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
            self.blocks = nnx.List([Block() for _ in range(DEPTH)])
            self.norm, self.head = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.Linear(WIDTH, VOCABULARY, rngs=rngs)

        def __call__(self, x):
            x = self.embed(x)
            for each in self.blocks:
                x = each(x)
            return self.head(self.norm(x))

    class MLP(nnx.Module):
        def __init__(self):
            self.layers = nnx.List([nnx.Linear(MLP_WIDTH, MLP_WIDTH, rngs=rngs) for _ in range(MLP_DEPTH)])

        def __call__(self, x):
            for each in self.layers:
                x = nnx.relu(each(x))
            return x

    made = {"resnet50": ResNet, "transformer": Transformer, "mlp": MLP}[model]()
    graph, state = nnx.split(made)
    return lambda state, x: nnx.merge(graph, state)(x), (state,)


def equinox_start(model: str) -> Start:
    """Modules of Equinox, which are trees, over a batch by ``vmap``."""
    import equinox as eqx

    keys = iter(jax.random.split(jax.random.key(0), 10_000))

    class Unit(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.BatchNorm

        def __init__(self, inputs, filters, size, strides=1):
            padding = size // 2
            self.conv = eqx.nn.Conv2d(inputs, filters, size, strides, padding, use_bias=False, key=next(keys))
            self.norm = eqx.nn.BatchNorm(filters, axis_name="batch", mode="batch")

        def __call__(self, x, state):
            return self.norm(self.conv(x), state)

    class Bottleneck(eqx.Module):
        units: list
        shortcut: Unit | None

        def __init__(self, inputs, filters, strides, project):
            sizes = ((inputs, filters, 1), (filters, filters, 3, strides), (filters, 4 * filters, 1))
            self.units = [Unit(*each) for each in sizes]
            self.shortcut = Unit(inputs, 4 * filters, 1, strides) if project else None

        def __call__(self, x, state):
            inner = x
            for place, each in enumerate(self.units):
                inner, state = each(inner, state)
                inner = jax.nn.relu(inner) if place < 2 else inner
            if self.shortcut is not None:
                x, state = self.shortcut(x, state)
            return jax.nn.relu(x + inner), state

    class ResNet(eqx.Module):
        stem: Unit
        pool: eqx.nn.MaxPool2d
        blocks: list
        head: eqx.nn.Linear

        def __init__(self):
            self.stem, self.pool = Unit(3, 64, 7, 2), eqx.nn.MaxPool2d(3, 2, 1)
            self.blocks = [Bottleneck(*each) for each in _bottlenecks()]
            self.head = eqx.nn.Linear(2048, 1000, key=next(keys))

        def __call__(self, x, state):
            x, state = self.stem(jnp.moveaxis(x, -1, 0), state)
            x = self.pool(jax.nn.relu(x))
            for each in self.blocks:
                x, state = each(x, state)
            return self.head(x.mean((1, 2)))

    class Block(eqx.Module):
        norms: list
        attention: eqx.nn.MultiheadAttention
        wide: eqx.nn.Linear
        narrow: eqx.nn.Linear

        def __init__(self):
            self.norms = [eqx.nn.LayerNorm(WIDTH) for _ in range(2)]
            self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=next(keys))
            self.wide = eqx.nn.Linear(WIDTH, 4 * WIDTH, key=next(keys))
            self.narrow = eqx.nn.Linear(4 * WIDTH, WIDTH, key=next(keys))

        def __call__(self, x):
            inner = jax.vmap(self.norms[0])(x)
            x = x + self.attention(inner, inner, inner, mask=jnp.tril(jnp.ones((LENGTH, LENGTH), bool)))
            inner = jax.vmap(self.wide)(jax.vmap(self.norms[1])(x))
            return x + jax.vmap(self.narrow)(jax.nn.gelu(inner))

    class Transformer(eqx.Module):
        embed: eqx.nn.Embedding
        blocks: list
        norm: eqx.nn.LayerNorm
        head: eqx.nn.Linear

        def __init__(self):
            self.embed = eqx.nn.Embedding(VOCABULARY, WIDTH, key=next(keys))
            self.blocks = [Block() for _ in range(DEPTH)]
            self.norm = eqx.nn.LayerNorm(WIDTH)
            self.head = eqx.nn.Linear(WIDTH, VOCABULARY, key=next(keys))

        def __call__(self, x, state):
            x = jax.vmap(self.embed)(x)
            for each in self.blocks:
                x = each(x)
            return jax.vmap(self.head)(jax.vmap(self.norm)(x))

    class MLP(eqx.Module):
        layers: list

        def __init__(self):
            self.layers = [eqx.nn.Linear(MLP_WIDTH, MLP_WIDTH, key=next(keys)) for _ in range(MLP_DEPTH)]

        def __call__(self, x, state):
            for each in self.layers:
                x = jax.nn.relu(each(x))
            return x

    kind = {"resnet50": ResNet, "transformer": Transformer, "mlp": MLP}[model]
    made, state = eqx.nn.make_with_state(kind)()
    arrays, rest = eqx.partition(eqx.nn.inference_mode(made), eqx.is_array)

    def run(arrays, state, x):
        whole = eqx.combine(arrays, rest)
        return jax.vmap(whole, in_axes=(0, None), axis_name="batch")(x, state)

    return run, (arrays, state)


def keras_start(model: str) -> Start:
    """Functional models of Keras on its JAX backend, called without state of their own."""
    import keras
    from keras import layers as kl

    def unit(x, filters, size, strides=1, relu=True):
        x = kl.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
        x = kl.BatchNormalization()(x)
        return kl.ReLU()(x) if relu else x

    def resnet():
        image = keras.Input((224, 224, 3))
        x = kl.MaxPooling2D(3, 2, padding="same")(unit(image, 64, 7, 2))
        for _, filters, strides, project in _bottlenecks():
            inner = unit(unit(x, filters, 1), filters, 3, strides)
            inner = unit(inner, 4 * filters, 1, relu=False)
            shortcut = unit(x, 4 * filters, 1, strides, relu=False) if project else x
            x = kl.ReLU()(kl.Add()([shortcut, inner]))
        return keras.Model(image, kl.Dense(1000)(kl.GlobalAveragePooling2D()(x)))

    def transformer():
        tokens = keras.Input((LENGTH,), dtype="int32")
        x = kl.Embedding(VOCABULARY, WIDTH)(tokens)
        for _ in range(DEPTH):
            inner = kl.LayerNormalization()(x)
            x = x + kl.MultiHeadAttention(HEADS, WIDTH // HEADS)(inner, inner, use_causal_mask=True)
            inner = kl.Dense(4 * WIDTH, activation="gelu")(kl.LayerNormalization()(x))
            x = x + kl.Dense(WIDTH)(inner)
        return keras.Model(tokens, kl.Dense(VOCABULARY)(kl.LayerNormalization()(x)))

    def mlp():
        return keras.Sequential(
            [keras.Input((MLP_WIDTH,)), *(kl.Dense(MLP_WIDTH, activation="relu") for _ in range(MLP_DEPTH))]
        )

    made = {"resnet50": resnet, "transformer": transformer, "mlp": mlp}[model]()
    trained = [each.value for each in made.trainable_variables]
    others = [each.value for each in made.non_trainable_variables]
    return lambda trained, others, x: made.stateless_call(trained, others, x)[0], (trained, others)


def _bottlenecks() -> list[tuple[int, int, int, bool]]:
    """Channels in, filters, strides and whether the shortcut is a convolution, of each bottleneck."""
    found, channels = [], 64
    for stage, (filters, blocks) in enumerate(STAGES):
        for place in range(blocks):
            found.append((channels, filters, 2 if stage and not place else 1, not place))
            channels = 4 * filters
    return found
