"""Arguments of layers: as short text, and as what they are compared by."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.graph.data._layer import Applied, Layer, Tied
from axonax.graph.data._values import plain
from axonax.graph.program import _plan
from axonax.tensor import initializers
from axonax.tensor.precision import Policy

_LONGEST = 60
_ARRAYS = (np.ndarray, jax.Array)


def options(layer: Layer) -> str:
    """The arguments of a layer that are not the builder's defaults, and the policy likewise."""
    parameters = {} if layer.builder is None else inspect.signature(layer.builder).parameters
    shown = []
    for name, value in layer.arguments.items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if default is inspect.Parameter.empty or identity(default, {}) != identity(value, {}):
            shown.append(f"{name}={text(value)}")
    if layer.policy != Policy():
        shown.append(f"policy={layer.policy}")
    return ", ".join(shown)


def text(value: Any) -> str:
    """A value in one line of some 60 characters."""
    found = _text(value)
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 3]}..."


def identity(value: Any, paths: Mapping[Layer, str]) -> Any:
    """What two equal arguments have in common and no others; ``paths`` are those of the layers around.

    Functions are equal if they are the same; initializers, layers and models if they were made alike.
    """
    for kinds, form in _IDENTITIES:
        if isinstance(value, kinds):
            return form(value, paths)
    made = initializers.record(value)
    return ("object", id(value)) if made is None else ("made", made[0], identity(plain(made[1]), paths))


def _call(layer: Layer, paths: Mapping[Layer, str]) -> Any:
    """What two layers of one call have in common: all but their paths."""
    return ("layer", layer.op, identity(dict(layer.arguments), paths), layer.policy)


def _layer_identity(layer: Layer, paths: Mapping[Layer, str]) -> Any:
    """A layer that is an argument brings its activation; one in a graph has it as a node of its own."""
    then = layer.computation.then
    return (_call(layer, paths), layer.name, None if then is None else _layer_identity(then, paths))


def _text(value: Any) -> str:
    for kinds, form in _TEXTS:
        if isinstance(value, kinds):
            return form(value)
    made = initializers.record(value)
    if made is not None:
        return f"{made[0]}({', '.join(f'{name}={_text(each)}' for name, each in made[1].items())})"
    return str(getattr(value, "__name__", type(value).__name__) if callable(value) else value)


def _slice_text(value: slice) -> str:
    parts = ["" if each is None else _text(each) for each in (value.start, value.stop)]
    return ":".join(parts if value.step is None else [*parts, _text(value.step)])


def _array_identity(value: Any) -> Any:
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return ("object", id(value))
    return ("array", str(value.dtype), value.shape, np.asarray(value).tobytes())


def _model_identity(value: Applied) -> Any:
    steps = _plan.plan(value).steps
    inner = {step.layer: step.path for step in steps}
    return ("model", *((step.name, _call(step.layer, inner), step.sources, step.named) for step in steps))


_TEXTS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (_ARRAYS, lambda value: f"{value.dtype}{list(value.shape)}"),
    (str, lambda value: json.dumps(value, ensure_ascii=False)),
    (
        Mapping,
        lambda value: f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}",
    ),
    (tuple, lambda value: f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"),
    (slice, _slice_text),
    (type(...), lambda value: "..."),
    (Layer, lambda value: f"{value.op}({options(value)})"),
    (Tied, lambda value: f"tied({value.name} of {value.layer.op})"),
    (Applied, lambda value: f"model of {len(_plan.plan(value).steps)} nodes"),
)
_IDENTITIES: tuple[tuple[Any, Callable[[Any, Mapping[Layer, str]], Any]], ...] = (
    (
        (type(None), bool, int, float, complex, str, slice, type(...)),
        lambda value, _: (type(value), repr(value)),
    ),
    (_ARRAYS, lambda value, _: _array_identity(value)),
    (
        Mapping,
        lambda value, paths: ("dict", *((identity(k, paths), identity(v, paths)) for k, v in value.items())),
    ),
    ((tuple, list), lambda value, paths: ("tuple", *(identity(each, paths) for each in value))),
    (Layer, _layer_identity),
    (
        Tied,
        lambda value, paths: (
            "tied",
            paths.get(value.layer, id(value.layer)),
            value.name,
            id(value.transform),
        ),
    ),
    (Applied, lambda value, _: _model_identity(value)),
)
