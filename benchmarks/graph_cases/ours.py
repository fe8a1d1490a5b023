"""The three models of the comparison, as graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from axonax import graph as nn

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
VOCABULARY, WIDTH, HEADS, DEPTH, LENGTH = 1000, 256, 8, 24, 64
MLP_DEPTH, MLP_WIDTH = 1000, 64
SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "resnet50": ((1, 224, 224, 3), "float32"),
    "transformer": ((1, LENGTH), "int32"),
    "mlp": ((1, MLP_WIDTH), "float32"),
}


def resnet50() -> nn.Node:
    """Bottlenecks in four stages, as He et al. have them."""

    def unit(x, filters, size, strides=1, relu=True):
        x = x | nn.conv(filters, size, strides=strides, padding="same", use_bias=False) | nn.batch_norm()
        return x | nn.relu() if relu else x

    def bottleneck(x, filters, strides, project):
        inner = unit(unit(x, filters, 1), filters, 3, strides)
        inner = unit(inner, 4 * filters, 1, relu=False)
        shortcut = unit(x, 4 * filters, 1, strides, relu=False) if project else x
        return shortcut + inner | nn.relu()

    x = nn.input("image", (None, 224, 224, 3))
    x = unit(x, 64, 7, 2) | nn.max_pool(3, strides=2, padding="same")
    for stage, (filters, blocks) in enumerate(STAGES):
        for place in range(blocks):
            x = bottleneck(x, filters, 2 if stage and not place else 1, not place)
    return x | nn.global_avg_pool() | nn.dense(1000)


def transformer() -> nn.Node:
    """A decoder of 24 blocks, written out: one after the other, without `repeat`."""
    x = nn.input("tokens", (None, LENGTH), dtype="int32") | nn.embedding(VOCABULARY, WIDTH)
    for _ in range(DEPTH):
        x = x + (x | nn.layer_norm() | nn.multi_head_attention(HEADS, causal=True))
        x = x + (x | nn.layer_norm() | nn.dense(4 * WIDTH, activation="gelu") | nn.dense(WIDTH))
    return x | nn.layer_norm() | nn.dense(VOCABULARY)


def mlp() -> nn.Node:
    """1000 dense layers with relu."""
    x = nn.input("x", (None, MLP_WIDTH))
    for _ in range(MLP_DEPTH):
        x = x | nn.dense(MLP_WIDTH, activation="relu")
    return x


def start(model: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function to be compiled and the state that it takes first."""
    init, apply = nn.build({"resnet50": resnet50, "transformer": transformer, "mlp": mlp}[model]())
    return lambda state, x: apply(state, x)[0], (init(jax.random.key(0)),)
