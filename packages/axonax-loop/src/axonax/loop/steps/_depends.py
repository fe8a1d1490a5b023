"""What a function's results depend on, found in its program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

PyTree = Any


def depends(function: Callable[..., PyTree], argument: PyTree, *others: PyTree) -> bool:
    """Whether any array that ``function(argument, *others)`` gives depends on its first argument.

    >>> depends(lambda x, y: {"sum": x + y}, 1.0, 2.0), depends(lambda x, y: {"twice": 2 * y}, 1.0, 2.0)
    (True, False)
    """
    jaxpr = jax.make_jaxpr(function)(argument, *others).jaxpr
    # By identity: literals among the inputs of an operation have no hash.
    reached = {id(var) for var in jaxpr.invars[: len(jax.tree.leaves(argument))]}
    for eqn in jaxpr.eqns:
        if any(id(var) in reached for var in eqn.invars):
            reached.update(map(id, eqn.outvars))
    return any(id(var) in reached for var in jaxpr.outvars)
