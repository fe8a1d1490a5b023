"""Kernels of few bits in the place of floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from axonax.graph.data._layer import Layer
from axonax.graph.data._swap import swapped
from axonax.graph.layers._compact import quantized_dense
from axonax.graph.nodes._node import Node
from axonax.graph.rewrite._carry import carry, check_state
from axonax.graph.rewrite._leaves import check_untied, leaf
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import Patterns, select_layers
from axonax.tensor import layers, trees
from axonax.tensor.contracts import ModelState


def quantize(
    model: Node,
    state: ModelState,
    *,
    bits: Literal[4, 8] = 8,
    group: int | None = None,
    only: Patterns = "**",
) -> tuple[Node, ModelState]:
    """The model with kernels of dense layers as integers and their scales (see `quantized_dense`).

    Only weights are quantized; each is off by half a scale at most. The integers are buffers, which no
    optimizer trains; biases and all other layers stay.

    Args:
        model: any node.
        state: its state.
        bits: 8 or 4; of 4, two weights share a byte.
        group: how many inputs share a scale; all of a unit if ``None``.
        only: of paths of dense layers: globs, compiled regular expressions, predicates
            ``(path, node) -> bool``.

    Returns:
        ``(model, state)``.

    Raises:
        ValueError: a pattern selects no dense layer (the text lists near paths), a kernel that does not go
            into the bits or groups, or one that is tied.
        TypeError: no node, or no `ModelState`.

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 4)) | nn.dense(2)
    >>> small, state = nn.quantize(model, nn.build(model).init(jax.random.key(0)), bits=4)
    >>> state
    ModelState
      params
        dense_0/bias float32[2]
      buffers
        dense_0/kernel/scale float32[1, 2]
        dense_0/kernel/values int8[2, 2]
    """
    check_node("quantize", model)
    check_state("quantize", state)
    pinned = pin(model)
    chosen = select_layers("quantize", pinned, only, op="dense")
    check_untied("quantize", pinned, chosen)
    table: dict[Layer, Layer] = {}
    held: dict[str, Any] = {}
    for layer, path in chosen.items():
        kept = ("units", "use_bias", "bias_initializer")
        arguments = {name: layer.arguments[name] for name in kept}
        made = quantized_dense(bits=bits, group=group, **arguments)
        table[layer] = replace(made, name=layer.name, scope=None, policy=layer.policy, where=layer.where)
        try:
            kernel = layers.quantize(leaf("quantize", state, f"{path}/kernel"), bits=bits, group=group)
        except ValueError as error:
            raise ValueError(f'quantize: "{path}": {str(error).removeprefix("quantize: ")}') from None
        held |= {f"{path}/kernel/values": kernel.values, f"{path}/kernel/scale": kernel.scale}
    smaller: Any = swapped(pinned, table)
    buffers = trees.merge(state.buffers, trees.unflatten(held))
    return smaller, carry(smaller, state.replace(buffers=buffers))
