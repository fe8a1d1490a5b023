"""The state of one model made that of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.nodes._node import Node
from axonax.graph.program import _infer, _inputs, _plan
from axonax.graph.program._initial import initial_state
from axonax.graph.program._keys import check_key
from axonax.graph.rewrite._pin import check_node, is_fixed
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState


def carry(model: Node, state: ModelState, *inputs: Any, key: Any = None) -> ModelState:
    """The state for ``model`` made of that of another model: what fits is kept, the rest is new.

    Leaves of one path and shape are kept, in the dtypes of ``model``, and stay frozen if they are; those
    that ``model`` has not are dropped; those that it has besides are drawn from ``key`` by their paths.

    Args:
        model: the new model.
        state: that of the old one.
        *inputs: arrays or shapes, as for ``init``, where the declared shapes do not say it all.
        key: for new leaves; ``None`` if there must be none.

    Returns:
        a state that fits ``model``.

    Raises:
        ValueError: there are new leaves and no key; the text lists them.
        TypeError: no node, no `ModelState`, or no key.

    >>> import jax
    >>> from axonax import graph as nn
    >>> old = nn.input("x", (None, 3)) | nn.dense(4)
    >>> state = nn.build(old).init(jax.random.key(0))
    >>> sorted(nn.carry(old | nn.dense(2), state, key=jax.random.key(1)).params)
    ['dense_0', 'dense_1']
    """
    return _carry("carry", model, state, inputs, key, lambda leaf: True)


def along(who: str, model: Node, state: ModelState | None, key: Any) -> Any:
    """What a rewrite returns: the model, with its state if the old one was given.

    Only a layer that kept its name keeps its leaves: one that is numbered may have the path of one that is
    gone, and is another.
    """
    if state is None:
        return model
    return model, _carry(who, model, state, (), key, lambda leaf: is_fixed(leaf.step.layer))


def carried(old: Any, fresh: Any, *, renamed: Mapping[str, str] | None = None) -> Any:
    """``fresh`` with the leaves of ``old`` where path, shape and dtype are the same: for optimizer states.

    The moments of an optimizer lie under the paths of the parameters, so that
    ``nn.carried(optimizer_state, optimizer.init(state.params))`` takes them to a rewritten model. New
    parameters have the moments of a start, counts go on.

    Args:
        old: any pytree.
        fresh: likewise; its structure is that of the result.
        renamed: new paths by old ones.

    Returns:
        a tree of the structure of ``fresh``.

    >>> old = {"count": 3, "mean": {"a": 1.0, "gone": 2.0}}
    >>> carried(old, {"count": 0, "mean": {"b": 0.0, "new": 0.0}}, renamed={"a": "b"})
    {'count': 3, 'mean': {'b': 1.0, 'new': 0.0}}
    """
    places = {f"/{new}/": f"/{name}/" for name, new in (renamed or {}).items()}
    leaves = {f"/{path}/": leaf for path, leaf in trees.flatten(old).items()}

    def one(keypath: Any, leaf: Any) -> Any:
        path = f"/{trees.path(keypath)}/"
        for new, name in places.items():
            if new in path:
                path = path.replace(new, name, 1)
                break
        before = leaves.get(path)
        same = before is not None and trees.describe(before) == trees.describe(leaf)
        return before if same else leaf

    return jax.tree_util.tree_map_with_path(one, fresh)


def check_state(who: str, state: object) -> None:
    """Refuse what is not the state of a model.

    Raises:
        TypeError: it is no `ModelState`.
    """
    if not isinstance(state, ModelState):
        raise TypeError(f"{who}: state must be the ModelState of init, got {type(state).__name__}")


def _carry(
    who: str, model: Node, state: ModelState, inputs: Any, key: Any, keeps: Callable[[_infer.Leaf], bool]
) -> ModelState:
    check_node(who, model)
    check_state(who, state)
    facts = _facts(model, inputs)
    wanted = {path: leaf for path, leaf in facts.leaves.items() if keeps(leaf)}
    parts = {name: _fitting(wanted, getattr(state, name)) for name in ("params", "frozen", "buffers")}
    new = sorted(set(facts.leaves).difference(*parts.values()))
    if new and key is None:
        shown = ", ".join(f'"{path}"' for path in new[:8]) + (" ..." if len(new) > 8 else "")
        raise ValueError(f"{who}: pass key=jax.random.key(...) for {len(new)} new leaves: {shown}")
    if key is not None:
        check_key(who, key)
    kept = ModelState(**{name: trees.unflatten(leaves) for name, leaves in parts.items()})
    return initial_state(facts, key, kept)


def _facts(model: Node, inputs: Any) -> _infer.Facts:
    plan = _plan.plan(model)
    return _infer.infer(plan, _inputs.bind_abstract(plan, inputs)) if inputs else _infer.declared(plan)


def _fitting(wanted: Mapping[str, _infer.Leaf], tree: Any) -> dict[str, Any]:
    """The leaves of a tree that a model has too, in the same shape."""
    found = {path: leaf for path, leaf in trees.flatten(tree).items() if path in wanted}
    return {path: leaf for path, leaf in found.items() if _fits(wanted[path].shape, jnp.shape(leaf))}


def _fits(shape: Any, got: tuple[int, ...]) -> bool:
    if shape is None:
        return True
    return len(shape) == len(got) and all(size in (None, one) for size, one in zip(shape, got, strict=True))
