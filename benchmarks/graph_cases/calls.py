"""Models of the graph beside functions that a user writes with the same functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from axonax import graph as nn
from axonax.tensor import activations, layers


class Case(NamedTuple):
    """A model, the same function of ``(params, x)`` by hand, and the shapes of a large and a tiny input."""

    model: nn.Node
    by_hand: Callable[[Any, Any], Any]
    large: tuple[int, ...]
    tiny: tuple[int, ...]


def mlp() -> Case:
    """784-512-512-10 with relu."""
    model = nn.input("x", (None, 784))
    for units in (512, 512):
        model = model | nn.dense(units, activation="relu")

    def by_hand(params, x):
        for name in ("dense_0", "dense_1"):
            x = activations.relu(layers.dense(x, **params[name]))
        return layers.dense(x, **params["dense_2"])

    return Case(model | nn.dense(10), by_hand, (256, 784), (1, 784))


def cnn() -> Case:
    """Two convolutions with pooling, and a dense layer."""
    model = nn.input("x", (None, 28, 28, 1))
    for filters in (32, 64):
        model = model | nn.conv(filters, 3, activation="relu") | nn.max_pool(2)

    def by_hand(params, x):
        for name in ("conv_0", "conv_1"):
            x = layers.max_pool(activations.relu(layers.conv(x, **params[name])), window=2)
        return layers.dense(layers.flatten(x), **params["dense_0"])

    return Case(model | nn.flatten() | nn.dense(10), by_hand, (64, 28, 28, 1), (1, 28, 28, 1))


def transformer_block(width: int = 256, heads: int = 8) -> Case:
    """Attention and a feed-forward part, each with a residual, and a norm before it."""
    split = (-1, heads, width // heads)

    def attend(query, key, value):
        query, key, value = (each.reshape(*each.shape[:2], *split[1:]) for each in (query, key, value))
        found = layers.dot_product_attention(query, key, value, causal=True)
        return found.reshape(*found.shape[:2], width)

    def norm(x, scale, offset):
        return layers.layer_norm(x, scale, offset)

    def normed():
        shapes = {"scale": nn.param((width,), "ones"), "offset": nn.param((width,), "zeros")}
        return nn.layer(norm, params=shapes)

    x = nn.input("x", (None, None, width))
    inner = x | normed()
    attention = nn.layer(attend)(*(inner | nn.dense(width) for _ in range(3)))
    x = x + (attention | nn.dense(width))
    model = x + (x | normed() | nn.dense(4 * width, activation="gelu") | nn.dense(width))

    def by_hand(params, x):
        inner = norm(x, **params["norm_0"])
        found = attend(*(layers.dense(inner, **params[f"dense_{place}"]) for place in range(3)))
        x = x + layers.dense(found, **params["dense_3"])
        inner = activations.gelu(layers.dense(norm(x, **params["norm_1"]), **params["dense_4"]))
        return x + layers.dense(inner, **params["dense_5"])

    return Case(model, by_hand, (8, 128, width), (1, 8, width))


CASES: dict[str, Callable[[], Case]] = {"MLP": mlp, "CNN": cnn, "transformer block": transformer_block}


def pair(case: Case, shape: tuple[int, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The model's call and the one by hand, compiled, on one input; they are seen to agree."""
    init, apply = nn.build(case.model)
    state = init(jax.random.key(0))
    x = jax.numpy.asarray(np.random.default_rng(0).normal(size=shape), "float32")
    ours = jax.jit(lambda state, x: apply(state, x)[0])
    hand = jax.jit(case.by_hand)
    np.testing.assert_allclose(ours(state, x), hand(state.params, x), rtol=1e-4, atol=1e-5)
    return lambda: ours(state, x), lambda: hand(state.params, x)
