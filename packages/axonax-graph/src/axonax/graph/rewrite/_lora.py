"""Updates of low rank beside the kernels of a model, and back into them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import Layer
from axonax.graph.data._swap import swapped
from axonax.graph.layers._compact import lora_dense, lora_scale
from axonax.graph.layers._linear import dense
from axonax.graph.nodes._node import Node
from axonax.graph.rewrite._carry import along, carry, check_state
from axonax.graph.rewrite._leaves import check_untied, leaf, with_leaves
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import Patterns, select_layers
from axonax.tensor import trees, weights
from axonax.tensor.contracts import ModelState

_OWN = ("lora_a", "lora_b")


def lora(
    model: Node,
    patterns: Patterns = "**",
    *,
    rank: int,
    alpha: float | None = None,
    state: ModelState | None = None,
    key: Any = None,
) -> Any:
    """The model with an update of low rank beside the kernels of dense layers (see `lora_dense`).

    Args:
        model: any node.
        patterns: of paths of dense layers: globs, compiled regular expressions, predicates
            ``(path, node) -> bool``.
        rank: of the updates.
        alpha: their strength; they are multiplied by ``alpha / rank``. ``None`` is ``rank``.
        state: carried along, with all that it holds frozen: only ``lora_a`` and ``lora_b`` are trained, and
            before that all outputs are equal to the bit.
        key: for ``lora_a``.

    Returns:
        the new model, pinned; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: a pattern selects no dense layer (the text lists near paths), or no key.
        TypeError: no node.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021).

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> state = nn.build(model).init(jax.random.key(0))
    >>> tuned, tuned_state = nn.lora(model, "dense_0", rank=1, state=state, key=jax.random.key(1))
    >>> tuned_state
    ModelState
      params
        dense_0/lora_a float32[3, 1]
        dense_0/lora_b float32[1, 4]
      frozen
        dense_0/bias float32[4]
        dense_0/kernel float32[3, 4]
        dense_1/bias float32[2]
        dense_1/kernel float32[4, 2]
    """
    check_node("lora", model)
    pinned = pin(model)
    chosen = select_layers("lora", pinned, patterns, op="dense")
    table = {layer: _like(layer, lora_dense, rank=rank, alpha=alpha, **layer.arguments) for layer in chosen}
    result = along("lora", swapped(pinned, table), state, key)
    if state is None:
        return result
    made, carried = result
    base = {path for path in trees.flatten(carried.params) if path.rpartition("/")[2] not in _OWN}
    return made, carried.freeze(lambda path, _: path in base) if base else carried


def merge_lora(model: Node, state: ModelState) -> tuple[Node, ModelState]:
    """The model with its updates of low rank added to the kernels: dense layers again.

    Args:
        model: what `lora` gave.
        state: its state. Frozen kernels stay frozen.

    Returns:
        ``(model, state)`` of the same outputs, to rounding.

    Raises:
        ValueError: the model has no such layer, one has tied parameters, or the state does not fit.
        TypeError: no node, or no `ModelState`.

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.lora_dense(4, rank=1)
    >>> merged, state = nn.merge_lora(model, nn.build(model).init(jax.random.key(0)))
    >>> merged.layer.op, sorted(state.params["lora_dense_0"])
    ('dense', ['bias', 'kernel'])
    """
    check_node("merge_lora", model)
    check_state("merge_lora", state)
    pinned = pin(model)
    chosen = select_layers("merge_lora", pinned, "**", op="lora_dense")
    check_untied("merge_lora", pinned, chosen)
    table, kernels = {}, {}
    for layer, path in chosen.items():
        arguments = dict(layer.arguments)
        scale = lora_scale(arguments.pop("rank"), arguments.pop("alpha"))
        table[layer] = _like(layer, dense, **arguments)
        kernel, *update = (leaf("merge_lora", state, f"{path}/{name}") for name in ("kernel", *_OWN))
        kernels[f"{path}/kernel"] = weights.merge_low_rank(kernel, *update, scale=scale)
    made = swapped(pinned, table)
    return made, carry(made, with_leaves(state, kernels))


def _like(layer: Layer, builder: Any, **arguments: Any) -> Layer:
    """The layer of another builder in the place of a layer."""
    made: Layer = builder(**arguments)
    return replace(made, name=layer.name, scope=None, policy=layer.policy, where=layer.where)
