"""What works by layer works by slice on leaves that hold many layers, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import jax
import optax

from axonax.optim._masks import Mask
from axonax.optim._rules import filled, only
from axonax.tensor import trees

PyTree = Any


def by_slice(part: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """``part``, which treats each leaf by itself, with each slice of a stacked leaf as a leaf of its own.

    Leaves of equal leading sizes go through ``part`` together, mapped over these axes: the program does not
    grow with the depth. In the state, what ``part`` keeps for a leaf is stacked as the leaf is. A tree
    without marks (see `axonax.tensor.trees.stacked`) goes through ``part`` as it is.

    Raises:
        ValueError: (in ``init`` and ``update``) a path marks more axes as stacked than its leaf has.
    """
    inner = optax.with_extra_args_support(part)

    def init(params: PyTree) -> PyTree:
        slices = _Slices.of(inner, params)
        return inner.init(params) if slices is None else slices.init(params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        slices = _Slices.of(inner, updates if params is None else params)
        if slices is None:
            return inner.update(updates, state, params, **extra)
        return slices.update(updates, state, params, extra)

    return optax.GradientTransformationExtraArgs(init, update)


def by_slice_with(
    mask: Any, make: Callable[[Any], optax.GradientTransformation]
) -> optax.GradientTransformation:
    """``make(mask)`` for `by_slice`, where the mask is asked about whole leaves, not about slices."""
    part = make(mask)
    if not isinstance(mask, Mask):
        return by_slice(part)

    def decided(tree: PyTree) -> optax.GradientTransformation:
        marked = _Slices.of(part, tree) is not None
        return by_slice(make(Mask(mask.owner, mask.name, mask(tree)))) if marked else part

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> Any:
        return decided(updates if params is None else params).update(updates, state, params)

    return optax.GradientTransformation(lambda params: decided(params).init(params), update)


@dataclass(frozen=True)
class _Slices:
    """The leaves of a tree by their stacked axes, and what a transformation keeps for one slice of each."""

    inner: optax.GradientTransformationExtraArgs
    groups: dict[tuple[int, ...], frozenset[str]]
    example: PyTree

    @classmethod
    def of(cls, inner: Any, tree: PyTree) -> _Slices | None:
        """Of a tree; ``None`` where no leaf of it is stacked."""
        groups: dict[tuple[int, ...], set[str]] = {}
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
            path = trees.path(keys)
            groups.setdefault(_leading(path, leaf), set()).add(path)
        if not any(groups):
            return None

        def example(keys: Any, leaf: Any) -> Any:
            axes = trees.stacked(trees.path(keys))
            return jax.ShapeDtypeStruct(leaf.shape[axes:], leaf.dtype)  # type: ignore[no-untyped-call]

        slices = jax.tree_util.tree_map_with_path(example, tree)
        return cls(inner, {sizes: frozenset(paths) for sizes, paths in groups.items()}, slices)

    def init(self, params: PyTree) -> PyTree:
        """The state for all leaves."""
        held: dict[str, Any] = {}
        for sizes, paths in self.groups.items():
            names, _, axes = self.layout(paths)
            made = _mapped(lambda own: jax.tree.leaves(self.inner.init(own)), sizes, (0,), axes)
            held |= dict(zip(names, made(only(params, paths)), strict=True))
        return self.joined(held)

    def update(self, updates: PyTree, state: PyTree, params: PyTree, extra: dict[str, Any]) -> Any:
        """The updates and the state of all leaves."""
        held: dict[str, Any] = {}
        steps, kept = updates, _by_name(state)
        for sizes, paths in self.groups.items():
            names, structure, axes = self.layout(paths)

            def act(updates: PyTree, leaves: Any, params: PyTree, structure: Any = structure) -> Any:
                state = structure.unflatten(leaves)
                steps, following = self.inner.update(updates, state, params, **extra)
                return steps, jax.tree.leaves(following)

            own = None if params is None else only(params, paths)
            made = _mapped(act, sizes, (0, axes, 0), (0, axes))
            new, leaves = made(only(updates, paths), [kept[name] for name in names], own)
            steps = filled(new, steps)
            held |= dict(zip(names, leaves, strict=True))
        return steps, self.joined(held)

    def layout(self, paths: Collection[str]) -> tuple[list[str], Any, list[int | None]]:
        """The state for the leaves at ``paths``: its leaves' names, its structure, and which are by leaf."""
        state = jax.eval_shape(self.inner.init, only(self.example, paths))
        shared = _by_name(jax.eval_shape(self.inner.init, only(self.example, ())))
        names = list(_by_name(state))
        return names, jax.tree.structure(state), [None if name in shared else 0 for name in names]

    def joined(self, held: dict[str, Any]) -> PyTree:
        """The state of these leaves."""
        names, structure, _ = self.layout(trees.flatten(self.example))
        return structure.unflatten([held[name] for name in names])


def _leading(path: str, leaf: Any) -> tuple[int, ...]:
    axes = trees.stacked(path)
    if leaf.ndim < axes:
        raise ValueError(f'"{path}" marks {axes} stacked axes, its leaf has shape {leaf.shape}')
    return tuple(leaf.shape[:axes])


def _mapped(function: Callable[..., Any], sizes: tuple[int, ...], taken: Any, given: Any) -> Any:
    """``function`` mapped over as many axes in front."""
    for size in reversed(sizes):
        function = jax.vmap(function, in_axes=taken, out_axes=given, axis_size=size)
    return function


def _by_name(state: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(keys): leaf for keys, leaf in leaves}
