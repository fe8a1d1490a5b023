"""What is done around other transformations: chains, masks, skipped steps, plain functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import options
from axonax.optim._dtypes import check_arrays, lift, lift_gradients, like, lower
from axonax.optim._masks import Mask
from axonax.optim._rules import (
    check_pattern,
    check_state,
    extended,
    filled,
    is_placeholder,
    only,
    selected,
    told,
    transformation,
    when,
    within,
)
from axonax.tensor import trees

PyTree = Any


class SkipState(NamedTuple):
    """The number of steps that were skipped, and the wrapped state."""

    skipped: jax.Array
    inner: PyTree


def identity() -> optax.GradientTransformationExtraArgs:
    """The transformation that changes nothing.

    >>> float(identity().update(1.0, identity().init(1.0))[0])
    1.0
    """
    return chain()


def chain(*parts: Any) -> optax.GradientTransformationExtraArgs:
    """Transformations one after the other.

    As ``optax.chain``, with two differences: half precision is lifted to float32 once and lowered at the end,
    not between the parts; and chains of equal parts are equal. The state of a part keeps its dtypes; it may
    change its structure, as that of ``optax.monitor`` does.

    Args:
        *parts: Optax transformations, of `axonax.optim` or not.

    Returns:
        an Optax transformation; its state is the tuple of the states of the parts.

    Raises:
        ValueError: a part is no transformation.

    >>> from axonax import optim
    >>> optimizer = chain(optim.clip(1.0), optim.scale_by_learning_rate(0.5))
    >>> state = optimizer.init(jnp.zeros(1))
    >>> optimizer.update(jnp.array([4.0]), state)[0].tolist()
    [-0.5]
    >>> {name: float(value) for name, value in optim.hyperparams(state).items()}
    {'delta': 1.0, 'learning_rate': 0.5}
    """
    return transformation(_Chain(tuple(extended("chain", part) for part in parts)))


compose = chain


@options
def masked(inner: Any, *patterns: trees.Pattern, mask: Any = None) -> optax.GradientTransformationExtraArgs:
    """Transform only some leaves; the others pass unchanged and get no state.

    Args:
        inner: an Optax transformation.
        *patterns: which leaves, by path (see `axonax.tensor.trees`).
        mask: instead of patterns: a tree of bools like the parameters or less deep, or a function of them
            that gives one; by path, shape and dtype, not by values.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: both or neither of patterns and mask; a pattern that selects no leaf, or a mask that does
            not fit the parameters.

    >>> from axonax import optim
    >>> update = masked(optim.scale(2.0), "**/kernel")
    >>> tree = {"dense": {"kernel": 1.0, "bias": 1.0}}
    >>> {name: float(leaf) for name, leaf in update.update(tree, update.init(tree))[0]["dense"].items()}
    {'bias': 1.0, 'kernel': 2.0}
    """
    if bool(patterns) == (mask is not None):
        raise ValueError(
            f"masked: either patterns or a mask is required, got {len(patterns)} patterns and mask={mask!r}"
        )
    for pattern in patterns:
        check_pattern("masked", pattern)
    marks = None if mask is None else Mask("masked", "mask", mask)
    return transformation(Masked(extended("masked", inner), patterns, marks))


@options
def skip_nonfinite(inner: Any) -> optax.GradientTransformationExtraArgs:
    """Leave parameters and state as they are where a gradient is not finite.

    Args:
        inner: an Optax transformation.

    Returns:
        an Optax transformation; its state counts in ``skipped``.

    Raises:
        ValueError: ``inner`` is no transformation.

    >>> from axonax import optim
    >>> optimizer = skip_nonfinite(optim.adam(0.1))
    >>> updates, state = optimizer.update(jnp.array([jnp.inf, 1.0]), optimizer.init(jnp.zeros(2)))
    >>> updates.tolist(), int(state.skipped)
    ([0.0, 0.0], 1)
    """
    return transformation(_SkipNonfinite(extended("skip_nonfinite", inner)))


@options
def stateless(function: Callable[[PyTree, PyTree], PyTree]) -> optax.GradientTransformationExtraArgs:
    """The transformation ``function(updates, params) -> updates``, which keeps nothing.

    >>> halve = stateless(lambda updates, params: jax.tree.map(lambda leaf: leaf / 2, updates))
    >>> halve.update({"w": 1.0}, halve.init({"w": 0.0}))[0]
    {'w': 0.5}
    """
    return transformation(_Stateless(function))


@options
def stateful(
    init: Callable[[PyTree], PyTree], update: Callable[..., tuple[PyTree, PyTree]]
) -> optax.GradientTransformationExtraArgs:
    """The transformation of ``init(params) -> state`` and ``update(updates, state, params)``.

    >>> count = stateful(lambda params: 0, lambda updates, state, params: (updates, state + 1))
    >>> count.update(1.0, count.init(1.0))
    (1.0, 1)
    """
    return extended("stateful", optax.GradientTransformation(init, update))


@dataclass(frozen=True)
class _Chain:
    parts: tuple[Any, ...]

    def init(self, params: PyTree) -> tuple[PyTree, ...]:
        check_arrays("chain", params)
        return tuple(part.init(lift(params)) for part in self.parts)

    def update(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        if type(state) is not tuple or len(state) != len(self.parts):
            shown = f"{len(state)} states" if type(state) is tuple else told(state)
            raise ValueError(f"chain: a state for {len(self.parts)} parts is required, got {shown}")
        steps, wide = lift_gradients("chain", updates, params), None if params is None else lift(params)
        following = []
        for part, old in zip(self.parts, state, strict=True):
            steps, new = part.update(steps, old, wide, **extra)
            following.append(_typed(new, old))
        return lower(steps, updates, params), tuple(following)


def _typed(new: PyTree, old: PyTree) -> PyTree:
    """``new`` in the dtypes of ``old``; as it is where a transformation gives its state another structure."""
    structures: list[Any] = [jax.tree.structure(new), jax.tree.structure(old)]
    if structures[0] != structures[1]:
        return new
    return jax.tree.map(like, new, jax.tree.map(jnp.asarray, old))


@dataclass(frozen=True)
class Masked:
    """The rule of `masked`."""

    inner: Any
    patterns: tuple[trees.Pattern, ...]
    mask: Mask | None

    def paths(self, tree: PyTree) -> frozenset[str]:
        """The paths of the leaves that are transformed."""
        if self.mask is not None:
            return self.mask.paths(tree)
        return frozenset(selected("masked", tree, *self.patterns))

    def init(self, params: PyTree) -> PyTree:
        """The state of the wrapped transformation, for its own leaves."""
        if is_placeholder(params):
            return self.inner.init(params)
        return self.inner.init(only(params, self.paths(params)))

    def update(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        paths = self.paths(updates if params is None else params)
        mine = None if params is None else only(params, paths)
        own = within(extra, params, paths)
        steps, state = self.inner.update(only(updates, paths), state, mine, **own)
        return filled(steps, updates), state


@dataclass(frozen=True)
class _SkipNonfinite:
    inner: Any

    def init(self, params: PyTree) -> SkipState:
        return SkipState(jnp.zeros((), jnp.int32), self.inner.init(params))

    def update(self, updates: PyTree, state: SkipState, params: PyTree = None, **extra: Any) -> Any:
        check_state("skip_nonfinite", state, SkipState)
        leaves = jax.tree.leaves(updates)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])) if leaves else True
        steps, inner = when(
            finite, lambda inner: self.inner.update(updates, inner, params, **extra), state.inner
        )
        return steps, SkipState(state.skipped + jnp.where(finite, 0, 1), inner)


@dataclass(frozen=True)
class _Stateless:
    function: Callable[[PyTree, PyTree], PyTree]

    def init(self, params: PyTree) -> optax.EmptyState:
        return optax.EmptyState()

    def update(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        return self.function(updates, params), state
