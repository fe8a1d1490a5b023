"""From a model to its two tables."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from axonax.graph.data._layer import Applied, Layer, Tied
from axonax.graph.data._values import plain
from axonax.graph.files._limits import DTYPES, FORMAT, VERSION
from axonax.graph.files._registry import BUILDERS, INITIALIZERS, TRANSFORMS
from axonax.graph.layers._builder import is_builder
from axonax.graph.nodes._node import Node
from axonax.graph.program import _plan
from axonax.tensor import initializers
from axonax.tensor.precision import Policy

Row = dict[str, Any]


def dumps(model: Node) -> str:
    """A model as text (JSON), for `loads`; parameters go elsewhere (`save` writes both).

    Two tables: ``layers``, each once, with the builder's name and arguments, its path in the model and its
    policy where it is not the default; ``nodes``, each a layer with the rows of its inputs, the output last.

    Args:
        model: any node.

    Returns:
        the text, the same for equal models; a row a line.

    Raises:
        ValueError: an argument has no plain form (a function that no builder of yours makes), or a builder
            has the name of another; the text names the layer and its line.
        TypeError: ``model`` is no node.

    >>> from axonax import graph as nn
    >>> print(nn.dumps(nn.input("x", (None, 3)) | nn.relu()))
    {"format": "axonax.graph", "version": 1,
    "layers": [
      {"op": "input", "name": "x", "arguments": {"shape": [null, 3], "dtype": null, "optional": false}},
      {"op": "relu", "name": "relu_0", "arguments": {}}
    ],
    "nodes": [
      {"layer": 0, "inputs": []},
      {"layer": 1, "inputs": [0]}
    ]}
    """
    if not isinstance(model, Node):
        raise TypeError(f'dumps: needs a node, such as nn.input("x") | nn.dense(2), got {model!r}')
    tables = _tables(model._plan, {})
    shown = [
        f'"{name}": [\n  ' + ",\n  ".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]"
        for name, rows in tables.items()
    ]
    return f'{{"format": "{FORMAT}", "version": {VERSION},\n' + ",\n".join(shown) + "}"


def _tables(plan: _plan.Plan, builders: dict[str, Any]) -> dict[str, list[Row]]:
    """The rows of all layers, those that others are tied to before these, and of all nodes."""
    paths = {step.layer: step.path for step in plan.steps}
    places: dict[Layer, int] = {}
    rows: list[Row] = []
    pending = list(reversed(paths))
    while pending:
        layer = pending[-1]
        before = [each for each in _tied(layer.arguments) if each in paths and each not in places]
        if before and layer not in places:
            pending += before
            continue
        pending.pop()
        if layer not in places:
            place = _Place(who=f'{layer.op} "{paths[layer]}" ({layer.where})', rows=places, builders=builders)
            rows.append(_row(layer, paths[layer], place))
            places[layer] = len(places)
    return {"layers": rows, "nodes": [_node(step, places) for step in plan.steps]}


def _tied(value: Any) -> list[Layer]:
    """The layers that an argument, or part of one, is tied to."""
    if isinstance(value, Tied):
        return [value.layer]
    if isinstance(value, Layer):
        return _tied(value.arguments)
    if isinstance(value, Mapping | tuple):
        parts = value.values() if isinstance(value, Mapping) else value
        return [each for part in parts for each in _tied(part)]
    return []


def _node(step: _plan.Step, places: Mapping[Layer, int]) -> Row:
    count = len(step.sources) - len(step.named)
    row: Row = {"layer": places[step.layer], "inputs": list(step.sources[:count])}
    if step.named:
        row["named"] = dict(zip(step.named, step.sources[count:], strict=True))
    return row


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a value stands: the layer and the argument, for errors; the rows of the layers so far."""

    who: str
    rows: Mapping[Layer, int]
    builders: dict[str, Any]
    argument: str = ""

    def error(self, problem: str) -> ValueError:
        return ValueError(f"{self.who}: {self.argument} {problem}")


def _row(layer: Layer, name: str | None, place: _Place) -> Row:
    """The call of a builder; ``name`` is the path of the layer."""
    op = _op(layer, place)
    row: Row = {"op": op} if name is None else {"op": op, "name": name}
    row["arguments"] = {
        key: _encoded(value, _Place(who=place.who, rows=place.rows, builders=place.builders, argument=key))
        for key, value in layer.arguments.items()
    }
    if layer.policy != Policy():
        policy = layer.policy
        row["policy"] = {"params": policy.params, "compute": policy.compute, "output": policy.output}
    return row


def _op(layer: Layer, place: _Place) -> str:
    """The name of the layer's builder, which must be the only one of that name."""
    if not is_builder(layer.builder):
        raise ValueError(f"{place.who}: was made by no builder: write a function with @nn.builder")
    op: str = layer.builder.op  # type: ignore[union-attr]
    known = BUILDERS.get(op) or place.builders.setdefault(op, layer.builder)
    if known is not layer.builder:
        raise ValueError(f'{place.who}: another builder is called "{op}" too: give yours a name of its own')
    return op


def _encoded(value: Any, place: _Place) -> Any:
    """A value of an argument in JSON: a list is a tuple, an object with one key says what it is."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_encoded(each, place) for each in value]
    if isinstance(value, Mapping):
        return {"dict": [[_encoded(key, place), _encoded(each, place)] for key, each in value.items()]}
    for kinds, name, form in _FORMS:
        if isinstance(value, kinds):
            return {name: form(value, place)}
    made = initializers.record(value)
    if made is not None and made[0] in INITIALIZERS:
        options = {name: _encoded(plain(each), place) for name, each in made[1].items()}
        return {"initializer": {"name": made[0], "options": options}}
    raise place.error(_unplain(value, place.argument))


def _unplain(value: Any, argument: str) -> str:
    """What to write in place of a value that no file can hold."""
    own = (
        "make this layer in a function of plain arguments with @nn.builder above it, "
        "and name that in loads(builders=[...])"
    )
    if not callable(value):
        return f"is a {type(value).__name__}, which no file can hold: {own}"
    if argument.endswith("initializer"):
        named = "name an initializer, or take one of axonax.tensor.initializers with options"
        return f"is a bare function, which no file can hold: {named}"
    return f"is a bare function, which no file can hold: {own}"


def _array(value: Any, place: _Place) -> Row:
    if isinstance(value, jax.core.Tracer) or value.dtype.name not in DTYPES:
        kind = "a traced array" if isinstance(value, jax.core.Tracer) else f"an array of {value.dtype}"
        raise place.error(f"is {kind}, which no file can hold: give it as an array of a plain dtype")
    weak = bool(getattr(value, "weak_type", False))
    array = np.asarray(value)
    data = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    row = {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "data": base64.b64encode(data.tobytes()).decode(),
    }
    return row | {"kind": "weak" if weak else "jax" if isinstance(value, jax.Array) else "numpy"}


def _tie(value: Tied, place: _Place) -> Row:
    if value.layer not in place.rows:
        raise place.error(f"is tied to {value.layer!r}, which is not in the model")
    known = (name for name, function in TRANSFORMS.items() if function is value.transform)
    transform = next(known, None)
    if transform is None:
        raise place.error("is tied through a function that no file can hold: take jax.numpy.transpose")
    return {"layer": place.rows[value.layer], "name": value.name, "transform": transform}


def _layer(value: Layer, place: _Place) -> Row:
    row = _row(value, value.name, place)
    if value.computation.then is not None:
        row["arguments"]["activation"] = _encoded(value.computation.then, place)
    return row


_FORMS: tuple[tuple[Any, str, Callable[[Any, _Place], Any]], ...] = (
    (complex, "complex", lambda value, place: [_encoded(each, place) for each in (value.real, value.imag)]),
    (
        slice,
        "slice",
        lambda value, place: [_encoded(each, place) for each in (value.start, value.stop, value.step)],
    ),
    (type(...), "ellipsis", lambda value, place: True),
    ((np.ndarray, jax.Array), "array", _array),
    (Tied, "tied", _tie),
    (Layer, "layer", _layer),
    (Applied, "model", lambda value, place: _tables(_plan.plan(value), place.builders)),
)
