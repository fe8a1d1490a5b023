"""From two tables to a model, none of which is trusted: checked row by row, and as a whole."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from axonax.graph.data._layer import Layer, Tied
from axonax.graph.files._limits import DTYPES, FORMAT, VERSION, Limits, ModelFileError
from axonax.graph.files._registry import TRANSFORMS, Builder, unknown, with_own
from axonax.graph.files._values import Values, closed, fields, is_count, short
from axonax.graph.layers._custom import tied
from axonax.graph.nodes._node import Node
from axonax.graph.program._infer import Leaf
from axonax.tensor.precision import Policy


def loads(text: str, builders: Iterable[Builder] = (), *, limits: Limits | None = None) -> Node:
    """The model of a text that `dumps` wrote, made by the same builders.

    The text may come from anywhere: no name in it is imported, nothing is allocated for parameters, and all
    is checked before it is used. In errors the lines of its layers are the rows of its table.

    Args:
        text: JSON of two tables.
        builders: those of your own that the model uses, functions made by `builder`.
        limits: what it may ask for; ``None`` for those of `Limits`.

    Returns:
        a model with the paths that it had, whose outputs are equal to the bit.

    Raises:
        ModelFileError: the text is no model, has an unknown field, builder, argument or version, does not fit
            together, or exceeds a limit; the error names the table and the row.
        TypeError: ``builders`` holds something else.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(2, activation="relu")
    >>> nn.dumps(nn.loads(nn.dumps(model))) == nn.dumps(model)
    True
    """
    known, limits = with_own(builders), limits or Limits()
    whole = fields("a model", _parsed(text, limits), ("format", "version", "layers", "nodes"))
    if whole["format"] != FORMAT:
        raise ModelFileError(f'needs the format "{FORMAT}", got {short(whole["format"])}')
    if whole["version"] != VERSION or isinstance(whole["version"], bool):
        raise ModelFileError(
            f"needs version {VERSION}, got {short(whole['version'])}: another Axonax wrote it"
        )
    model = _Reader(known, limits).model({key: whole[key] for key in ("layers", "nodes")}, 0, "")
    _check_sizes(model, limits)
    return model


def _parsed(text: Any, limits: Limits) -> Any:
    if not isinstance(text, str):
        raise ModelFileError(f"a model is read from text, got {type(text).__name__}")
    if len(text) > limits.text:
        raise ModelFileError(f"a model may have {limits.text} characters, got {len(text)}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ModelFileError(
                f"an object has a field twice among {short(', '.join(key for key, _ in pairs))}"
            )
        return found

    def constant(name: str) -> Any:
        raise ModelFileError(f'{name} is no number of JSON: write {{"float": ...}}')

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except ModelFileError:
        raise
    except RecursionError:
        raise ModelFileError(f"values may nest {limits.depth} deep") from None
    except ValueError as error:
        raise ModelFileError(f"the text is no JSON: {error}") from None


class _Reader:
    """Reads tables, and counts their nodes."""

    def __init__(self, builders: Mapping[str, Builder], limits: Limits) -> None:
        self.builders, self.limits = builders, limits
        self.nodes = 0
        self.flags: dict[str, list[str]] = {}
        self.values = Values(
            limits,
            {
                "tied": lambda body, depth: self.tie(body),
                "layer": lambda body, depth: self.layer(body, depth, None),
                "model": lambda body, depth: self.model(body, depth, f"{self.where} model "),
            },
        )
        self.where = ""
        self.layers: list[Layer] = []

    def model(self, given: Any, depth: int, prefix: str) -> Node:
        """The node of two tables; ``prefix`` names the row that they stand in."""
        outer, where = self.layers, self.where
        tables = fields("a model", given, ("layers", "nodes"))
        for name, table in tables.items():
            if not isinstance(table, list) or not table:
                raise ModelFileError("needs a list of rows", f"{prefix}{name}")
        self.nodes += len(tables["nodes"])
        if max(self.nodes, len(tables["layers"])) > self.limits.nodes:
            raise ModelFileError(f"a model may have {self.limits.nodes} nodes: see Limits.nodes")
        self.layers = []
        for place, row in enumerate(tables["layers"]):
            self.where = f"{prefix}layers[{place}]"
            self.layers.append(_at(self.where, self.layer, row, depth, self.where))
        nodes: list[Node] = []
        for place, row in enumerate(tables["nodes"]):
            nodes.append(_at(f"{prefix}nodes[{place}]", self.node, row, nodes))
        _check_used(nodes, self.layers, prefix)
        self.layers, self.where = outer, where
        return nodes[-1]

    def layer(self, given: Any, depth: int, where: str | None) -> Layer:
        """The layer of a call; one without ``where`` is an argument, of another's line and activation."""
        optional = ("policy",) if where else ("policy", "name")
        row = fields(
            "a layer", given, ("op", "name", "arguments") if where else ("op", "arguments"), optional
        )
        op = self.values.text(row["op"])
        if op not in self.builders:
            raise ModelFileError(unknown(op[:99], self.builders))
        arguments = row["arguments"]
        if not isinstance(arguments, dict) or "name" in arguments:
            raise ModelFileError(f"{op}: arguments need an object without a name, got {short(arguments)}")
        read = {key: _named(key, self.values.value, value, depth) for key, value in arguments.items()}
        for flag in self.flags.setdefault(op, _flags(self.builders[op]) if op not in self.flags else []):
            if not isinstance(read.get(flag, True), bool):
                raise ModelFileError(f"{op}: {flag} must be true or false, got {short(read[flag])}")
        made = _called(op, self.builders[op], read)
        if where and made.computation.then is not None:
            raise ModelFileError(
                f"{op}: an activation is a node of its own, got {short(read.get('activation'))}"
            )
        name = self.values.text(row["name"]) if "name" in row else None
        policy = _policy(row["policy"]) if "policy" in row else made.policy
        return replace(made, name=name, policy=policy, where=where or self.where)

    def tie(self, given: Any) -> Tied:
        """A parameter of a layer of an earlier row."""
        row = fields("tied", given, ("layer", "name", "transform"))
        layer = _row(row["layer"], self.layers, "layer")
        name = self.values.text(row["name"])
        return tied(layer, name, transform=TRANSFORMS[closed("transform", row["transform"], TRANSFORMS)])

    def node(self, given: Any, nodes: list[Node]) -> Node:
        """A layer on nodes of earlier rows."""
        row = fields("a node", given, ("layer", "inputs"), ("named",))
        layer = _row(row["layer"], self.layers, "layer")
        named = row.get("named", {})
        if not isinstance(row["inputs"], list) or not isinstance(named, dict):
            raise ModelFileError("inputs need a list and named an object of rows of nodes")
        layer.check_count(len(row["inputs"]), named)
        parents = tuple(_row(each, nodes, "node") for each in (*row["inputs"], *named.values()))
        if not parents and layer.computation.arity != 0:
            raise ModelFileError(f"{layer.op}: a layer takes nodes, got none")
        return Node(layer=layer, parents=parents, named=tuple(named))


def _at(where: str, read: Callable[..., Any], *args: Any) -> Any:
    """What ``read`` returns; its errors name the row."""
    try:
        return read(*args)
    except (TypeError, ValueError) as error:
        if isinstance(error, ModelFileError) and error.where:  # that of a row in a model within
            raise
        raise ModelFileError(str(error), where) from error


def _named(key: str, read: Callable[[Any, int], Any], value: Any, depth: int) -> Any:
    """The value of an argument; one that is a dtype by its name is of a closed list."""
    found = read(value, depth)
    if (key == "dtype" or key.endswith("_dtype")) and found is not None:
        closed(key, found, DTYPES)
    return found


def _called(op: str, builder: Builder, arguments: dict[str, Any]) -> Layer:
    try:
        made = builder(**arguments)
    except (TypeError, ValueError):
        raise
    except Exception as error:  # whatever a builder trips over in arguments that it did not expect
        raise ModelFileError(f"{op}: cannot take these arguments: {type(error).__name__}: {error}") from error
    if not isinstance(made, Layer):
        raise ModelFileError(f"{op}: makes no layer")
    return made


def _flags(builder: Builder) -> list[str]:
    """The arguments with a bool for default: they take no other value."""
    parameters = inspect.signature(builder).parameters.items()
    return [name for name, parameter in parameters if isinstance(parameter.default, bool)]


def _policy(given: Any) -> Policy:
    row = fields("a policy", given, ("params", "compute", "output"))
    return Policy(**{name: closed("dtype", value, DTYPES) for name, value in row.items()})


def _row(given: Any, rows: list[Any], what: str) -> Any:
    """The row of that number, which must stand before the one that names it."""
    if not is_count(given) or given >= len(rows):
        raise ModelFileError(
            f"needs the number of a {what} before it, of which there are {len(rows)}, got {short(given)}"
        )
    return rows[given]


def _check_used(nodes: list[Node], layers: list[Layer], prefix: str) -> None:
    """Refuse rows that lead nowhere: whoever wrote them meant something by them."""
    read = {parent for node in nodes for parent in node.parents}
    for place, node in enumerate(nodes[:-1]):
        if node not in read:
            raise ModelFileError("leads nowhere: the last node is the output", f"{prefix}nodes[{place}]")
    applied = {node.layer for node in nodes}
    for place, layer in enumerate(layers):
        if layer not in applied:
            raise ModelFileError("no node applies it", f"{prefix}layers[{place}]")


def _check_sizes(model: Node, limits: Limits) -> None:
    """Find all shapes, without computing anything, and count what the parameters would need.

    Raises:
        ModelFileError: layers do not fit together, have one name, or need too much.
    """
    try:
        facts = model._facts
    except Exception as error:  # whatever a function trips over, its layer is noted
        raise ModelFileError("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
    total = 0
    for leaf in facts.leaves.values():
        total += _least_bytes(leaf)
        if total > limits.parameter_bytes:
            layer, path = leaf.step.layer, leaf.step.path
            most = f"{total} bytes, and Limits.parameter_bytes is {limits.parameter_bytes}"
            raise ModelFileError(f'with {leaf.name} of "{path}" the parameters need {most}', layer.where)


def _least_bytes(leaf: Leaf) -> int:
    """The bytes of a leaf if all open sizes are 1."""
    sizes = [size for size in leaf.shape or () if size is not None]
    return math.prod(sizes) * jnp.dtype(leaf.dtype).itemsize
