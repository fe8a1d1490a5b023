"""The state of a model by the vectors' names and layouts: a kernel a gate, gamma and beta, units in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from axonax.tensor import trees
from axonax.tensor.contracts import ModelState
from vectors.adapter_graph import Built


def theirs(built: Built, state: ModelState) -> dict[str, Any]:
    """The leaves of a state, nested as upstream has them."""
    layers: dict[str, dict[str, Any]] = {}
    for path, leaf in (trees.flatten(state.variables) | trees.flatten(state.buffers)).items():
        layer, _, name = path.rpartition("/")
        layers.setdefault(layer, {})[name] = leaf
    return {path: LEAVES.get(built.op_of(path), dict)(leaves) for path, leaves in layers.items()}


def norm(leaves: Mapping[str, Any]) -> dict[str, Any]:
    named = {"scale": "gamma", "offset": "beta"}
    return {named.get(name, name): leaf for name, leaf in leaves.items()}


def bilinear(leaves: Mapping[str, Any]) -> dict[str, Any]:
    return {**leaves, "kernel": jnp.moveaxis(leaves["kernel"], -1, 0)}


def gates(leaf: Any, names: str) -> dict[str, Any]:
    """What lies side by side along the last axis, by the names of its parts."""
    each = names.split()
    return dict(zip(each, jnp.split(leaf, len(each), -1), strict=True))


def lstm(leaves: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "input_kernel": gates(leaves["kernel"], "wii wif wig wio"),
        "hidden_kernel": gates(leaves["recurrent_kernel"], "whi whf whg who"),
    }
    return found | ({"bias": gates(leaves["bias"], "bi bf bg bo")} if "bias" in leaves else {})


def gru(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Upstream has one bias for each gate; only that of the candidate stands apart from the reset."""
    found = {
        "input_kernel": gates(leaves["kernel"], "wir wiz win"),
        "hidden_kernel": gates(leaves["recurrent_kernel"], "whr whz whn"),
    }
    if "bias" in leaves:
        outer, inner = gates(leaves["bias"], "br bz bin"), gates(leaves["recurrent_bias"], "br bz bhn")
        both = {name: outer[name] + inner[name] for name in ("br", "bz")}
        found["bias"] = outer | inner | both
    return found


def conv_lstm(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Channels first, gates in the order i, g, f, o; upstream's bias of the forget gate is one less."""

    def ordered(leaf: Any) -> Any:
        i, f, g, o = jnp.split(leaf, 4, -1)
        return jnp.concatenate([i, g, f, o], -1)

    def window_last(kernel: Any) -> Any:
        return jnp.moveaxis(ordered(kernel), (-2, -1), (1, 0))

    found = {
        "input_kernel": window_last(leaves["kernel"]),
        "hidden_kernel": window_last(leaves["recurrent_kernel"]),
    }
    if "bias" in leaves:
        units = leaves["bias"].shape[0] // 4
        found["bias"] = ordered(leaves["bias"]).at[2 * units : 3 * units].add(-1)
    return found


LEAVES: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "bilinear": bilinear,
    "lstm": lstm,
    "gru": gru,
    "conv_lstm": conv_lstm,
    **dict.fromkeys(("batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm"), norm),
}
"""What makes upstream's leaves of a layer of ours, where names or layouts differ."""
