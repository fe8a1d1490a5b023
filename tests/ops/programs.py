"""Calls as one program each, where nothing is asked of the single steps: a test then compiles once."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def traced(values: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    """The arrays in a tree, and what puts others in their place; anything else is static."""
    leaves, structure = jax.tree.flatten(values)
    arrays = [leaf for leaf in leaves if isinstance(leaf, np.ndarray | jax.Array)]

    def fill(fresh: Any) -> Any:
        given = iter(fresh)
        filled = [next(given) if isinstance(leaf, np.ndarray | jax.Array) else leaf for leaf in leaves]
        return jax.tree.unflatten(structure, filled)

    return arrays, fill


def compiled(op: Callable[..., Any]) -> Callable[..., Any]:
    """``op``, each call one program. What must see its numbers on the host runs as it is."""

    @functools.wraps(op)
    def call(*args: Any, **options: Any) -> Any:
        arrays, fill = traced((args, options))

        @jax.jit
        def program(*fresh: Any) -> Any:
            filled, named = fill(fresh)
            return op(*filled, **named)

        try:
            return program(*arrays)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
            return op(*args, **options)

    return call


def module(held: types.ModuleType) -> types.SimpleNamespace:
    """The functions of a module, compiled."""
    return types.SimpleNamespace(
        **{
            name: compiled(each) if isinstance(each, types.FunctionType) else each
            for name, each in vars(held).items()
        }
    )
