"""A wider layer that leaves all outputs as they are."""

from __future__ import annotations

from typing import Any

from axonax.graph.data._layer import Layer, order
from axonax.graph.data._swap import remade, swapped
from axonax.graph.layers._checks import positive
from axonax.graph.nodes._node import Node
from axonax.graph.program._keys import check_key, fold_path
from axonax.graph.program._plan import paths
from axonax.graph.rewrite._carry import carry, check_state
from axonax.graph.rewrite._leaves import check_untied, leaf, with_leaves
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import first_nodes, select_layers
from axonax.tensor import weights
from axonax.tensor.contracts import ModelState

_BY_ELEMENT = {
    *("celu", "dropout", "elu", "exp", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish"),
    *("hard_tanh", "hook", "leaky_relu", "linear", "log_sigmoid", "mish", "quick_gelu", "relu", "relu6"),
    *("selu", "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid"),
    *("squareplus", "swish", "tanh", "tanh_shrink", "threshold"),
}


def widen(model: Node, path: str, units: int, *, state: ModelState | None = None, key: Any = None) -> Any:
    """The model with a wider dense layer; predictions stay as they are, to rounding.

    The new units are copies of old ones drawn from ``key``, and the layers that follow share the weights of a
    unit among its copies. Between the two may stand what works element by element: activations, dropout.

    Args:
        model: any node.
        path: of a dense layer that only dense layers follow.
        units: how many it shall have, more than it has.
        state: carried along.
        key: for the copies; with ``state`` alone.

    Returns:
        the new model, pinned; with ``state`` the pair ``(model, state)``.

    Raises:
        ValueError: no dense layer at that path (the text lists near paths), something else that follows it,
            parameters that are tied, too few units, or no key.
        TypeError: no node.

    Source: Chen et al., Net2Net: Accelerating Learning via Knowledge Transfer (2016).

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> state = nn.build(model).init(jax.random.key(0))
    >>> wide, state = nn.widen(model, "dense_0", 6, state=state, key=jax.random.key(1))
    >>> state.params["dense_1"]["kernel"].shape
    (6, 2)
    """
    check_node("widen", model)
    pinned = pin(model)
    select_layers("widen", pinned, path, op="dense")
    layer = first_nodes(pinned)[path].layer
    narrow = layer.arguments["units"]
    if positive("widen", "units", units) <= narrow:
        raise ValueError(f'widen: units must be more than the {narrow} of "{path}", got {units}')
    followers = _followers(pinned, layer, path)
    check_untied("widen", pinned, {layer: path, **followers})
    made = swapped(pinned, {layer: remade(layer, units=units)})
    if state is None:
        return made
    check_state("widen", state)
    if key is None:
        raise ValueError("widen: pass key=jax.random.key(...) to draw which units are copied")
    check_key("widen", key)
    copied = weights.copies(fold_path(key, path), narrow, units)
    own = [f"{path}/{name}" for name in layer.computation.params]
    leaves = {each: weights.widen_outputs(leaf("widen", state, each), copied) for each in own}
    for each in (f"{follower}/kernel" for follower in followers.values()):
        leaves[each] = weights.widen_inputs(leaf("widen", state, each), copied)
    return made, carry(made, with_leaves(state, leaves))


def _followers(model: Node, layer: Layer, path: str) -> dict[Layer, str]:
    """The dense layers that take the values of a layer, with their paths.

    Raises:
        ValueError: something else takes them, or such a layer takes other values too.
    """
    named = paths(order(model))
    wide: set[Node] = set()
    found: dict[Layer, str] = {}
    for node in order(model):
        comes = any(parent in wide for parent in node.parents)
        if node.layer is layer:
            wide.add(node)
        if comes and node.layer.op in _BY_ELEMENT:
            wide.add(node)
        elif comes and (node.layer.op != "dense" or node.layer is layer):
            raise ValueError(f'widen: only dense layers may follow "{path}", but {node!r} does')
        elif comes:
            found[node.layer] = named[node.layer]
    for node in order(model):
        if node.layer in found and not all(parent in wide for parent in node.parents):
            raise ValueError(f'widen: "{found[node.layer]}" takes other values than those of "{path}" too')
    if model in wide:
        raise ValueError(f'widen: the values of "{path}" are an output of the model')
    return found
