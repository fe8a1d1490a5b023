"""Activations by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from axonax.tensor import names
from axonax.tensor.activations import _gated, _normalized, _piecewise, _simplex, _smooth

Activation = Callable[..., jax.Array]

_TABLE: dict[str, Activation] = {
    name: value
    for module in (_piecewise, _smooth, _normalized, _simplex, _gated)
    for name, value in vars(module).items()
    if callable(value) and not name.startswith("_") and value.__module__ == module.__name__
}


def by_name(activation: str | Activation) -> Activation:
    """The activation of that name; a callable is handed back.

    Args:
        activation: such as ``"relu"``, or any function of an array.

    Raises:
        ValueError: an unknown name (the text lists near matches), or neither a name nor a callable.

    >>> by_name("relu").__name__, by_name(jax.numpy.sin) is jax.numpy.sin
    ('relu', True)
    """
    if isinstance(activation, str):
        return names.lookup(_TABLE, activation, "activation")
    if callable(activation):
        return activation
    raise ValueError(f"activation must be a name or a callable, got {_shown(activation)}")


def available() -> tuple[str, ...]:
    """The names that `by_name` knows, sorted.

    >>> "relu" in available()
    True
    """
    return tuple(sorted(_TABLE))


def _shown(value: Any) -> str:
    return f"{value!r} of type {type(value).__name__}"
