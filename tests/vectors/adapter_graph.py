"""The vectors' models in our builders: a list of nodes becomes a node, with names and options of ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from axonax import graph as nn
from axonax.graph import Node
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy
from vectors import format
from vectors.adapter_layers import options

RENAMED = {
    "beta_initializer": "offset_initializer",
    "channel_index": "axis",
    "epsilon": "eps",
    "feature_group_size": "groups",
    "gamma_initializer": "scale_initializer",
}
"""Our names of options, whatever the layer."""

OPTIONS = {
    "activation/leaky_relu": {"alpha": "negative_slope"},
    **{f"{kind}_pool": {"kernel_size": "window"} for kind in ("max", "avg", "lp", "blur")},
}
"""Our names of options, by layer."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "max_pool": {"window": 1},
    "avg_pool": {"window": 1, "count_padding": True},
    "lp_pool": {"window": 1},
    "batch_norm": {"momentum": 0.1},
    "instance_norm": {"momentum": 0.1, "running": True},
}
"""Axon's defaults where ours are others, so that what a model computes can be compared."""

NOT_OURS = ("channels", "seed")
"""Options without a counterpart: all is channels last, and keys are an argument of ``apply``."""


@dataclass(frozen=True)
class Built:
    """A model of the vectors: its node, that of each of its nodes, and the operation of each layer's path."""

    node: Node
    nodes: dict[str, Any]
    ops: dict[str, str]

    def op_of(self, path: str) -> str:
        """The operation of a layer by its path: as it was named, or by the op and a number."""
        return self.ops.get(path) or path.rpartition("_")[0]


def built(model: dict[str, Any], *, shapes: bool = True) -> Built:
    """A model of the vectors; ``shapes`` are those that its inputs declare."""
    nodes: dict[str, Any] = {}
    ops = {}
    tokens = [each["args"][0] for each in model["nodes"] if each["op"] == "embedding"]
    for each in model["nodes"]:
        given = [argument(value, nodes) for value in each["args"]]
        kwargs = dict(each["kwargs"])
        if "name" in kwargs:
            ops[kwargs["name"]] = each["op"]
        if each["op"] == "input" and not shapes:
            kwargs.pop("shape", None)
        if {"node": each["id"]} in tokens:
            kwargs["dtype"] = "int32"
        nodes[each["id"]] = BUILDERS.get(each["op"], layer(each["op"]))(*given, **kwargs)
    output = argument(model["output"], nodes)
    return Built(node=output if isinstance(output, Node) else nn.container(output), nodes=nodes, ops=ops)


def argument(written: Any, nodes: dict[str, Any]) -> Any:
    """An argument of a builder: nodes for their numbers, values as they are."""
    if isinstance(written, list):
        return tuple(argument(each, nodes) for each in written)
    if not isinstance(written, dict) or format.is_tensor(written):
        return format.value(written)
    ((kind, held),) = written.items()
    readers: dict[str, Callable[[], Any]] = {
        "node": lambda: nodes[held],
        "get": lambda: functools.reduce(
            lambda whole, step: whole[step], held["path"], argument(held["of"], nodes)
        ),
        "policy": lambda: Policy(**held),
        "fn": lambda: held,
        "map": lambda: {name: argument(each, nodes) for name, each in held.items()},
        "tuple": lambda: tuple(argument(each, nodes) for each in held),
    }
    return readers[kind]()


def ours(op: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The options by our names, lists as tuples; Axon's defaults where they are others."""
    given = options(kwargs, **RENAMED | OPTIONS.get(op, {}))
    return {**DEFAULTS.get(op, {}), **{name: each for name, each in given.items() if name not in NOT_OURS}}


def layer(op: str) -> Callable[..., Any]:
    """The builder of that name, which takes its nodes first."""

    def call(*given: Any, **kwargs: Any) -> Any:
        nodes = [each for each in given if isinstance(each, Node)]
        own = [each for each in given if not isinstance(each, Node)]
        return getattr(nn, op)(*own, **ours(op, kwargs))(*nodes)

    return call


def joining(op: str) -> Callable[..., Node]:
    """A layer of several nodes, or of a list of them."""

    def call(*given: Any, **kwargs: Any) -> Node:
        nodes = given[0] if isinstance(given[0], tuple) else given
        return getattr(nn, op)(*nodes, **ours(op, kwargs))

    return call


def adaptive(op: str) -> Callable[..., Node]:
    """Upstream's default size of the output is that of the input."""

    def call(x: Node, **kwargs: Any) -> Node:
        given = ours(op, kwargs)
        spatial = x.layer.arguments["shape"][1:-1]
        return x | getattr(nn, op)(given.pop("output_size", spatial), **given)

    return call


def given(title: str, shape: Any = None, **kwargs: Any) -> Node:
    """An input; integers where an embedding reads it, which upstream does not say."""
    if isinstance(shape, dict):
        shape = {name: tuple(each) for name, each in shape["map"].items()}
    return nn.input(title, tuple(shape) if isinstance(shape, list) else shape, **kwargs)


def activation(x: Node, title: str, **kwargs: Any) -> Node:
    return x | nn.activation(title, **ours(f"activation/{title}", kwargs))


def lstm(x: Node, *given: Any, **kwargs: Any) -> Any:
    return recurrent("lstm", x, *given, **kwargs)


def gru(x: Node, *given: Any, **kwargs: Any) -> Any:
    """Its carry is one array: upstream has it in a tuple."""
    carry, units = given if len(given) == 2 else (None, given[0])
    found, last = recurrent("gru", x, *([] if carry is None else [carry[0]]), units, **kwargs)
    return found, (last,)


def conv_lstm(x: Node, *given: Any, **kwargs: Any) -> Any:
    """Channels first, and a carry with an axis of time, as upstream has them."""
    carry, units = given if len(given) == 2 else (None, given[0])
    start = [] if carry is None else [tuple(each | nn.layer(state_to_last) for each in carry)]
    given_kwargs = {"kernel_size": 1, **kwargs}
    found, last = recurrent("conv_lstm", x | nn.layer(to_last), *start, units, **given_kwargs)
    return found | nn.layer(to_first), tuple(each | nn.layer(state_to_first) for each in last)


def recurrent(op: str, x: Node, *given: Any, unroll: str = "dynamic", **kwargs: Any) -> Any:
    """A recurrent layer with its last state; a state in front of the units is the first one.

    Upstream's initializer of the kernels is that of both, and its recurrent initializer that of the state,
    which starts at zeros here.
    """
    *start, units = given
    kwargs.pop("recurrent_initializer", None)
    if "kernel_initializer" in kwargs:
        kwargs["recurrent_initializer"] = kwargs["kernel_initializer"]
    if unroll != "dynamic":
        kwargs["mode"] = unroll
    made = getattr(nn, op)(units, return_state=True, **ours(op, kwargs))
    return made(x, initial_state=start[0]) if start else made(x)


def joined(op: str) -> Callable[..., Any]:
    """The value of a layer of several inputs."""

    def call(*values: Any) -> Any:
        inputs = [nn.input(f"x{place}") for place in range(len(values))]
        return nn.predict(getattr(nn, op)(*inputs), ModelState(), *values)

    return call


def mask(x: Any, *, eos_token: int) -> Any:
    return nn.predict(nn.input("x") | nn.mask(eos_token), ModelState(), x)


def to_last(x: Any) -> Any:
    return jnp.moveaxis(x, 2, -1)


def to_first(x: Any) -> Any:
    return jnp.moveaxis(x, -1, 2)


def state_to_last(x: Any) -> Any:
    return jnp.moveaxis(x[:, 0], 1, -1)


def state_to_first(x: Any) -> Any:
    return jnp.moveaxis(x, -1, 1)[:, None]


def transpose(x: Node, axes: Any = None) -> Node:
    return x | nn.transpose(axes)


def reshape(x: Node, shape: tuple[Any, ...], **kwargs: Any) -> Node:
    return x | nn.reshape(tuple("batch" if size == "auto" else size for size in shape), **kwargs)


def apply_policy(node: Node, policy: Policy) -> Node:
    return nn.with_policy(node, policy)


def function(x: Node, title: str) -> Node:
    return x | nn.function({"Nx.sin/1": jnp.sin}[title])


def scaled_sine(x: Node, *, alpha: float) -> Node:
    return x | nn.layer(lambda x, alpha: alpha * jnp.sin(x), options={"alpha": alpha})


BUILDERS: dict[str, Callable[..., Any]] = {
    "input": given,
    "constant": nn.constant,
    "container": nn.container,
    "activation": activation,
    **{op: adaptive(op) for op in ("adaptive_max_pool", "adaptive_avg_pool", "adaptive_lp_pool")},
    **{op: joining(op) for op in ("add", "subtract", "multiply", "concatenate")},
    "lstm": lstm,
    "gru": gru,
    "conv_lstm": conv_lstm,
    "transpose": transpose,
    "reshape": reshape,
    "nx": function,
    "mixed_precision.apply_policy": apply_policy,
    "custom: input -> alpha * sin(input)": scaled_sine,
}
"""What is more than the builder of that name with renamed options."""
