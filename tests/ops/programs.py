"""Calls as one program each, where nothing is asked of the single steps: a test then compiles once."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# JAX up to 0.10 can write kernels without MLIR: of a program of small ones a quarter of the time remains.
_OLD = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
QUICK |= _OLD if jax.__version_info__ < (0, 11) else {}
quick = functools.partial(jax.jit, compiler_options=QUICK)
"""``jax.jit`` that compiles fast, where rounding is not looked at."""

_USERS = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
_USERS |= {"xla_cpu_use_fusion_emitters": True} if jax.__version_info__ < (0, 11) else {}
_HURRIED = "--xla_backend_optimization_level=0" in os.environ.get("XLA_FLAGS", "")
as_users = functools.partial(jax.jit, compiler_options=_USERS if _HURRIED else None)
"""``jax.jit`` that compiles as for users, where rounding is looked at, though the whole run compiles fast."""


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
