"""What an optimizer does to each parameter, as a table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.optim._dtypes import compute_dtype
from axonax.optim._groups import DEFAULT, Groups
from axonax.optim._rules import Method, extended, only
from axonax.optim._wrappers import Masked
from axonax.tensor import trees
from axonax.tensor.updates import hyperparams

PyTree = Any
COLUMNS = ("Parameter", "Shape", "Group", "Learning rate", "Decay")


class Row(NamedTuple):
    """What is known of a parameter: its groups, the outer first, its rate and its decay."""

    groups: tuple[str, ...] = ()
    rate: Any = None
    decay: Any = None

    def or_else(self, other: Row) -> Row:
        """What ``other`` knows where this one does not."""
        rate = other.rate if self.rate is None else self.rate
        return Row(self.groups or other.groups, rate, other.decay if self.decay is None else self.decay)


def describe(optimizer: Any, params: PyTree) -> str:
    """A table of the parameters: path, shape, group, learning rate and decay at the first step.

    Looks into the chains and other wrappers of this package; groups within groups read ``outer > inner``.

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
    rows = _rows(extended("describe", optimizer), params)
    lines = []
    for path, leaf in trees.flatten(params).items():
        groups, *numbers = rows[path]
        shown = ["-" if number is None else f"{float(number):.6g}" for number in numbers]
        lines.append((path, str(jnp.shape(leaf)), " > ".join(groups) or DEFAULT, *shown))
    return _table([COLUMNS, *lines])


def _rows(optimizer: Any, params: PyTree) -> dict[str, Row]:
    """By path, what an optimizer does to the leaves of ``params``."""
    rule = getattr(optimizer.init, "rule", None)
    if isinstance(rule, Groups):
        return _of_groups(rule, params)
    if isinstance(rule, Masked):
        rest = dict.fromkeys(trees.flatten(params), Row())
        return rest | _rows(rule.inner, only(params, rule.paths(params)))
    parts = [_rows(part, params) for part in _parts(optimizer.init)]
    if parts:
        return {path: functools.reduce(Row.or_else, (rows[path] for rows in parts)) for path in parts[0]}
    numbers = _numbers(optimizer, params)
    rate, decay, mask = numbers.get("learning_rate"), numbers.get("weight_decay"), _static(rule).get("mask")
    decaying = trees.flatten(params) if mask is None else mask.paths(params)
    return {
        path: Row((), rate, decay if path in decaying or decay is None else 0.0)
        for path in trees.flatten(params)
    }


def _parts(init: Any) -> tuple[Any, ...]:
    """The transformations that one is made of."""
    if not isinstance(init, Method):
        inner = _static(getattr(init, "rule", None)).get("inner")
        return () if inner is None else (inner,)
    if hasattr(init.rule, "inner"):
        return (init.rule.inner,)
    return tuple(getattr(init.rule, "parts", ()))


def _static(rule: Any) -> dict[str, Any]:
    """The options of an optimizer that are not live."""
    return dict(getattr(rule, "static", ()))


def _of_groups(rule: Groups, params: PyTree) -> dict[str, Row]:
    found, rows = rule.decide(params), {}
    for label, member in rule.optimizers.items():
        own = only(params, {path for path, each in found.items() if each == label})
        for path, row in _rows(member, own).items():
            rows[path] = row._replace(groups=(label, *row.groups))
    return rows


def _numbers(optimizer: Any, params: PyTree) -> dict[str, Any]:
    """The hyperparameters at the first step, without memory for the moments."""

    def small(leaf: Any) -> jax.Array:
        return jnp.zeros((1,) * len(jnp.shape(leaf)), compute_dtype(leaf))

    found: dict[str, Any] = hyperparams(optimizer.init(jax.tree.map(small, params)))
    return found


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
