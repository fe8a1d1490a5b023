"""What optimizers and training loops both need: apply updates, read and set live hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor import names

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class LiveState:
    """The state of an optimizer whose hyperparameters can be read and set, under ``jit`` too.

    ``values`` and ``overrides`` are float32 of shape ``(len(names),)``, in the order of ``names``: two
    leaves whatever their number keep a small step cheap. An override of NaN means none: the
    optimizer's own number or schedule is in force.
    """

    step: jax.Array
    values: jax.Array
    overrides: jax.Array
    inner: PyTree
    names: tuple[str, ...] = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class GroupsState:
    """The state of several optimizers that share a tree, by the label of their group."""

    groups: dict[str, PyTree]


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """``params + updates``, leaf by leaf, in the dtype of ``params``.

    Args:
        params: any pytree of arrays.
        updates: a pytree of the same structure and shapes; a leaf may be ``None`` (no change).

    Returns:
        the new parameters, each leaf with the shape and dtype that it had.

    >>> apply_updates({"w": jnp.ones(2)}, {"w": -jnp.ones(2)})["w"].tolist()
    [0.0, 0.0]
    """

    def add(update: Any, param: Any) -> Any:
        if update is None:
            return param
        param = jnp.asarray(param)
        wide = jnp.promote_types(param.dtype, jnp.asarray(update).dtype)
        return (param.astype(wide) + jnp.asarray(update, wide)).astype(param.dtype)

    return jax.tree.map(add, updates, params, is_leaf=lambda leaf: leaf is None)


def hyperparams(opt_state: PyTree) -> dict[str, Any]:
    """The live hyperparameters of an optimizer's state.

    Args:
        opt_state: a state made by an optimizer of `axonax.optim`, by ``optax.inject_hyperparams``, or any
            tree that holds such states.

    Returns:
        name to float32 scalar; with groups, label of the group to such a dict. A name that stands in two
        transforms of a chain is numbered: ``"decay"``, ``"decay_1"``.
    """
    found: dict[str, Any] = {}
    for node in _nodes(opt_state):
        if isinstance(node, GroupsState):
            found.update({label: hyperparams(state) for label, state in node.groups.items()})
            continue
        for name, value in _read(node).items():
            found[_numbered(name, found)] = value
    return found


def with_hyperparams(opt_state: PyTree, /, **values: Any) -> PyTree:
    """The state with hyperparameters set; a set value overrides a schedule until it is set to ``None``.

    Works under ``jit``, ``vmap`` and ``scan``, and never recompiles a step: shapes and dtypes stay.

    Args:
        opt_state: as for `hyperparams`.
        **values: a number or scalar array by name (``None`` ends an override); with groups, set for every
            group that has the name, or for one by ``**{"**/bias": {"learning_rate": 0.1}}``.

    Raises:
        ValueError: no transform in ``opt_state`` has the name; the text lists near matches.
    """
    known = hyperparams(opt_state)
    everywhere = {name for value in known.values() if isinstance(value, dict) for name in value}
    for name in values:
        names.lookup({**known, **dict.fromkeys(everywhere)}, name, "hyperparameter")
    seen: dict[str, Any] = {}

    def write(node: Any) -> Any:
        if isinstance(node, GroupsState):
            return replace(node, groups={k: _write_group(k, s, values) for k, s in node.groups.items()})
        if not _is_live(node):
            return node
        chosen = {}
        for name in _read(node):
            number = _numbered(name, seen)
            seen[number] = None
            if number in values:
                chosen[name] = values[number]
        return _write(node, chosen)

    return jax.tree.map(write, opt_state, is_leaf=_is_stop)


def _write_group(label: str, state: PyTree, values: dict[str, Any]) -> PyTree:
    own = hyperparams(state)
    chosen = {name: value for name, value in values.items() if name in own}
    chosen.update(values.get(label, {}))
    return with_hyperparams(state, **chosen)


def _numbered(name: str, taken: dict[str, Any]) -> str:
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _is_live(node: Any) -> bool:
    # Optax's inject_hyperparams is known by its field: this package does not depend on Optax.
    return isinstance(node, LiveState) or (
        isinstance(node, tuple) and isinstance(getattr(node, "hyperparams", None), dict)
    )


def _is_stop(node: Any) -> bool:
    return _is_live(node) or isinstance(node, GroupsState)


def _nodes(opt_state: PyTree) -> list[Any]:
    return [node for node in jax.tree.leaves(opt_state, is_leaf=_is_stop) if _is_stop(node)]


def _read(node: Any) -> dict[str, Any]:
    if isinstance(node, LiveState):
        return {name: node.values[..., index] for index, name in enumerate(node.names)}
    return dict(node.hyperparams)


def _write(node: Any, chosen: dict[str, Any]) -> Any:
    if not isinstance(node, LiveState):
        plain = {k: jnp.asarray(v, jnp.asarray(node.hyperparams[k]).dtype) for k, v in chosen.items()}
        return node._replace(hyperparams={**node.hyperparams, **plain})
    values, overrides = node.values, node.overrides
    for name, value in chosen.items():
        index = node.names.index(name)
        overrides = overrides.at[..., index].set(jnp.nan if value is None else value)
        if value is not None:
            values = values.at[..., index].set(value)
    return replace(node, values=values, overrides=overrides)
