"""The vectors' plain values about models: shapes of leaves, tables, casts, counts."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ops import programs

from axonax import graph as nn
from axonax.graph import Layer, Node
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy
from vectors import adapter_graph, format, leaves_graph

Sizes = list[Any]


def first_to_last(shape: Sizes, channels: str) -> tuple[Any, ...]:
    return (shape[0], *shape[2:], shape[1]) if channels == "first" else tuple(shape)


def leaf_shapes(model: Node) -> dict[str, tuple[int, ...]]:
    """The shapes of the leaves of a model, by the last part of their paths."""
    state = jax.eval_shape(lambda: nn.build(model).init(jax.random.key(0)))
    leaves = trees.flatten(state.variables) | trees.flatten(state.buffers)
    return {path.rpartition("/")[2]: leaf.shape for path, leaf in leaves.items()}


def kernel_of(op: str, leaf: str = "kernel") -> Callable[..., Sizes]:
    """The shape of a kernel, in front with the units where the channels are."""

    def shape(*, input_shape: Sizes, channels: str, number: int | None = None, **kwargs: Any) -> Sizes:
        x = nn.input("x", first_to_last(input_shape, channels))
        found = leaf_shapes(x | made(op, **kwargs))[leaf if number is None else f"kernel_{number}"]
        return [found[-1], found[-2], *found[:-2]] if channels == "first" else list(found)

    return shape


def bias_of(op: str, leaf: str = "bias") -> Callable[..., Sizes]:
    def shape(*, input_shape: Sizes, channels: str, **kwargs: Any) -> Sizes:
        return list(
            leaf_shapes(nn.input("x", first_to_last(input_shape, channels)) | made(op, **kwargs))[leaf]
        )

    return shape


def made(op: str, **kwargs: Any) -> Layer:
    names = {"channel_multiplier": "multiplier"}
    layer: Layer = getattr(nn, op)(
        **{names.get(name, name): each for name, each in adapter_graph.ours(op, kwargs).items()}
    )
    return layer


def norm_param(*, input_shape: Sizes, channel_index: int) -> Sizes:
    return list(leaf_shapes(nn.input("x", tuple(input_shape)) | nn.batch_norm(axis=channel_index))["scale"])


def declared(*, shape: Sizes) -> Sizes:
    return list(nn.input("x", tuple(shape)).layer.arguments["shape"])


def compatible(*, shape1: Sizes, shape2: Sizes) -> bool:
    """Whether an input that is declared by the one takes an array of the other."""
    try:
        nn.build(nn.input("x", tuple(shape1))).init(jax.random.key(0), tuple(shape2))
    except ValueError:
        return False
    return True


def noise_shape(*, input_shape: Sizes, channels: str) -> Sizes:
    """Along which axes what spatial dropout drops varies."""
    shape = first_to_last(input_shape, channels)
    apply = nn.build(nn.input("x", shape) | nn.spatial_dropout(0.5)).apply
    run = programs.quick(lambda key: apply(ModelState(), jnp.ones(shape), train=True, key=key)[0])
    found = np.asarray(run(jax.random.key(0)))
    return [size if np.ptp(found, axis).max() else 1 for axis, size in enumerate(found.shape)]


def cast(tree: Any, *, policy: dict[str, str], variable_type: str) -> dict[str, str]:
    ((dtype,),) = [{str(jnp.dtype(leaf.dtype)) for leaf in jax.tree.leaves(
        getattr(Policy(**policy), f"cast_{variable_type}")(tree))}]  # fmt: skip
    return {"dtype": next(name for name, known in format.DTYPES.items() if jnp.dtype(known) == dtype)}


def op_counts(*, model: dict[str, Any]) -> dict[str, int]:
    return counts(adapter_graph.built(model).node)


def counts(model: Node) -> dict[str, int]:
    return dict(nn.fold_nodes(model, Counter(), lambda found, name, node: found + Counter([node.layer.op])))


def summary(*, model: dict[str, Any], input_shape: Sizes) -> dict[str, Any]:
    """The rows and totals of a printed model."""
    first = {**model["nodes"][0], "kwargs": {"shape": input_shape}}
    built = adapter_graph.built({**model, "nodes": [first, *model["nodes"][1:]]})
    leaves = jax.eval_shape(lambda: leaves_graph.theirs(built, nn.build(built.node).init(jax.random.key(0))))
    rows = printed(built.node)
    for each in rows:
        shapes = leaves.get(each["name"], {})
        each["parameters"] = {name: list(leaf.shape) for name, leaf in shapes.items()}
    total, size = (total_of(built.node, f"Total Parameters{unit}") for unit in ("", " Memory"))
    return {"rows": rows, "total_parameters": total, "total_bytes": size}


def printed(model: Node) -> list[dict[str, Any]]:
    """The rows of a printed model."""
    lines = str(model).splitlines()
    rules = [place for place, line in enumerate(lines) if set(line) <= {"-", "="}]
    return [row(line) for line in lines[rules[2] + 1 : rules[3]]]


def total_of(model: Node, title: str) -> int:
    """A number below the rows."""
    (found,) = (line for line in str(model).splitlines() if line.startswith(f"{title}: "))
    return int(found.removeprefix(f"{title}: ").split()[0])


def row(line: str) -> dict[str, Any]:
    title, shape, _, count, size = (cell.strip() for cell in line.split("   ") if cell.strip())
    name, _, rest = title.partition(" ( ")
    return {
        "name": name,
        "op": rest.partition("[")[0].partition(" ")[0],
        "output_shape": [] if shape == "?" else list(ast.literal_eval(shape)),
        "count": 0 if "?" in count else int(count.split()[0]),
        "bytes": 0 if "?" in size else int(size.split()[0]),
    }


def readable_size(*, bytes: int) -> str:
    """The size of a parameter of so many bytes, as the table shows it."""
    held = nn.layer(lambda x, held: x, params={"held": nn.param((bytes,), dtype="int8")})
    *_, cell = str(nn.input("x") | held).splitlines()[6].rpartition("   ")
    return cell


def state_size(*, bytes: int) -> str:
    """A leaf of so many bytes, as a state shows it."""
    state = ModelState(params={"held": jax.ShapeDtypeStruct((bytes,), jnp.int8)})
    return repr(state).split()[-1]


VALUES: dict[str, Callable[..., Any]] = {
    "shapes.input": declared,
    "shapes.compatible": compatible,
    "shapes.conv_kernel": kernel_of("conv"),
    "shapes.conv_bias": bias_of("conv"),
    "shapes.depthwise_conv_kernel": kernel_of("depthwise_conv"),
    "shapes.depthwise_conv_bias": bias_of("depthwise_conv"),
    "shapes.separable_conv2d_kernel": kernel_of("separable_conv2d"),
    "shapes.separable_conv2d_bias": bias_of("separable_conv2d", "bias_1"),
    "shapes.separable_conv3d_kernel": kernel_of("separable_conv3d"),
    "shapes.separable_conv3d_bias": bias_of("separable_conv3d", "bias_1"),
    "shapes.norm_param": norm_param,
    "shapes.spatial_dropout_noise_shape": noise_shape,
    "mixed_precision.cast": cast,
    "models.op_counts": op_counts,
    "display.summary": summary,
    "display.readable_size": readable_size,
    "display.model_state_size": state_size,
}
"""What gives the value of an operation, as upstream writes it."""


def value(case: dict[str, Any]) -> Any:
    """The value of a case."""
    return VALUES[case["op"]](*map(format.value, case["inputs"]), **case["kwargs"])


def check(case: dict[str, Any]) -> str:
    """What is wrong with the value of a case, or ``""``."""
    found, need = value(case), case["expected_value"]
    return "" if found == need else f"{found} for {need}"
