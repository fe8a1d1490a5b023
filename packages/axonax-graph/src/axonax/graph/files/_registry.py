"""Builders by the names that files know them by."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

import jax.numpy as jnp

from axonax.graph import layers, nodes
from axonax.graph.layers._builder import is_builder
from axonax.graph.layers._custom import same
from axonax.tensor import initializers, names

Builder = Callable[..., Any]


def _modules() -> list[ModuleType]:
    """Every module of builders: a fixed list, that of the package's own folders."""
    return [
        importlib.import_module(f"{folder.__name__}.{found.name}")
        for folder in (layers, nodes)
        for found in pkgutil.iter_modules(folder.__path__)
    ]


BUILDERS: dict[str, Builder] = {
    value.op: value for module in _modules() for value in vars(module).values() if is_builder(value)
}
INITIALIZERS: dict[str, Callable[..., Any]] = {
    name: getattr(initializers, name) for name in (*initializers.available(), "full", "gates")
}
TRANSFORMS: dict[str, Callable[..., Any]] = {"same": same, "transpose": jnp.transpose}


def with_own(builders: Iterable[Builder]) -> Mapping[str, Builder]:
    """The builders of this package with those of the user.

    Raises:
        TypeError: something that `builder` did not make.
        ValueError: two have one name.
    """
    found = dict(BUILDERS)
    for each in builders:
        if not is_builder(each):
            raise TypeError(f"loads: builders must be functions made by @nn.builder, got {each!r}")
        op = each.op  # type: ignore[attr-defined]
        if found.setdefault(op, each) is not each:
            whose = "this package has" if op in BUILDERS else "another of them has"
            raise ValueError(f'loads: builders must differ in their names, and {whose} a "{op}"')
    return found


def unknown(op: str, known: Iterable[str]) -> str:
    """What to say of a builder that is not known."""
    near = names.suggestion(op, known)
    near = near if near.startswith("did you mean") else f"{len(tuple(known))} others are known"
    return f'unknown builder "{op}": {near}; one of your own goes to loads(builders=[...])'
