"""The precision of a model, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from axonax.graph.data._swap import swapped
from axonax.graph.nodes._node import Node
from axonax.graph.rewrite._carry import along
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import Patterns, first_nodes, select_layers
from axonax.tensor import names
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy


def with_policy(
    model: Node,
    policy: Policy,
    *,
    only: Patterns | None = None,
    except_: Patterns | None = None,
    op: str | tuple[str, ...] | None = None,
    state: ModelState | None = None,
) -> Any:
    """The model with a precision policy on some of its layers, or on all; the paths stay.

    An input is a layer as well: it casts what comes to ``policy.output``.

    Args:
        model: any node.
        policy: dtypes of parameters, of the computation and of the output of each layer.
        only: the layers, by globs, compiled regular expressions or predicates ``(path, node) -> bool``.
        except_: layers that keep what they have, likewise.
        op: only layers of this builder, or of one of these.
        state: carried along, its parameters in the dtypes of the new model.

    Returns:
        the new model, pinned; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: a pattern or ``op`` that selects no layer (the text lists near ones), or no layer in all.
        TypeError: no node, or no policy.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2, name="head")
    >>> half = nn.with_policy(model, nn.Policy(compute="bf16"), op="dense", except_="head")
    >>> nn.fold_nodes(half, [], lambda found, name, node: [*found, node.layer.policy.compute])
    ['float32', 'bfloat16', 'float32', 'float32']
    """
    check_node("with_policy", model)
    if not isinstance(policy, Policy):
        raise TypeError(f'with_policy: needs a policy, such as nn.Policy(compute="bf16"), got {policy!r}')
    pinned = pin(model)
    every = [node.layer for node in first_nodes(pinned).values()]
    chosen = dict.fromkeys(every)
    if only is not None:
        chosen = dict.fromkeys(select_layers("with_policy", pinned, only))
    if op is not None:
        ops = (op,) if isinstance(op, str) else tuple(op)
        known = {layer.op for layer in every}
        for each in ops:
            names.lookup(dict.fromkeys(known), each, "op of the model")
        chosen = {layer: None for layer in chosen if layer.op in ops}
    if except_ is not None:
        kept = select_layers("with_policy", pinned, except_)
        chosen = {layer: None for layer in chosen if layer not in kept}
    if not chosen:
        raise ValueError("with_policy: only, except_ and op leave no layer")
    table = {layer: replace(layer, policy=policy) for layer in chosen}
    return along("with_policy", swapped(pinned, table), state, None)
