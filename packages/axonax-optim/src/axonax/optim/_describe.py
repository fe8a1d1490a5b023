"""What an optimizer does to each parameter, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from axonax.optim._dtypes import compute_dtype
from axonax.optim._groups import grouped
from axonax.optim._rules import only
from axonax.tensor import trees
from axonax.tensor.updates import hyperparams

PyTree = Any
COLUMNS = ("Parameter", "Shape", "Group", "Learning rate", "Decay")


def describe(optimizer: Any, params: PyTree) -> str:
    """A table of the parameters: path, shape, group, learning rate and decay at the first step.

    Args:
        optimizer: made by `groups`, or any Optax transformation.
        params: any pytree of arrays or ``jax.ShapeDtypeStruct``.

    Returns:
        the table, to print; ``-`` where a group has no such number (or none that is live).

    Raises:
        ValueError: as `groups` when the state is made.

    >>> from axonax import optim
    >>> adamw = optim.adamw(1e-3, weight_decay=0.1, mask=optim.no_decay())
    >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    >>> print(describe(optim.groups({"**/bias": optim.sgd(0.1)}, default=adamw), params))
    Parameter     Shape   Group    Learning rate  Decay
    dense/bias    (3,)    **/bias  0.1            -
    dense/kernel  (2, 3)  default  0.001          0.1
    """
    groups = grouped(optimizer)
    found = groups.decide(params)
    leaves = trees.flatten(params)
    rows = {}
    for label, member in groups.optimizers.items():
        paths = [path for path in leaves if found[path] == label]
        own = only(params, frozenset(paths))
        numbers, decays = _numbers(member, own), _decays(member, own)
        for path in paths:
            rate = _shown(numbers.get("learning_rate"))
            decay = _shown(numbers.get("weight_decay") if decays.get(path, True) else 0.0)
            rows[path] = (path, str(jnp.shape(leaves[path])), label, rate, decay)
    return _table([COLUMNS, *(rows[path] for path in leaves)])


def _numbers(optimizer: Any, params: PyTree) -> dict[str, Any]:
    """The hyperparameters at the first step, without memory for the moments."""

    def small(leaf: Any) -> jax.Array:
        return jnp.zeros((1,) * len(jnp.shape(leaf)), compute_dtype(leaf))

    found: dict[str, Any] = hyperparams(optimizer.init(jax.tree.map(small, params)))
    return found


def _decays(optimizer: Any, params: PyTree) -> dict[str, bool]:
    """By path, whether a leaf decays, where the optimizer has a mask."""
    rule = getattr(optimizer.init, "rule", None)
    mask = dict(getattr(rule, "static", ())).get("mask")
    tree = mask(params) if callable(mask) else mask
    if tree is None:
        return {}
    full = jax.tree.map(lambda keep, part: jax.tree.map(lambda _: bool(keep), part), tree, params)
    return trees.flatten(full)


def _shown(value: Any) -> str:
    return "-" if value is None else f"{float(value):.6g}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
