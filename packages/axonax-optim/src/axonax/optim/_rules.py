"""Transformations that are built alike are equal: what wraps others is a value, not a closure."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from axonax.optim._dtypes import like, narrow
from axonax.tensor import trees
from axonax.tensor.updates import LiveState

PyTree = Any


class Rule(Protocol):
    """What wraps transformations: a frozen dataclass with these two methods."""

    @property
    def init(self) -> Callable[..., PyTree]:
        """``init(params) -> state``."""
        ...

    @property
    def update(self) -> Callable[..., tuple[PyTree, PyTree]]:
        """``update(updates, state, params=None, **extra) -> (updates, state)``."""
        ...


@dataclass(frozen=True)
class Method:
    """A method of a rule; bound methods of equal rules would differ."""

    rule: Any
    name: str

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(self.rule, self.name)(*args, **options)


def check_state(owner: str, state: Any, kind: type) -> None:
    """Raise unless a state is of its kind.

    Raises:
        ValueError: it is another optimizer's.
    """
    if not isinstance(state, kind):
        raise ValueError(
            f"{owner}: this state belongs to another optimizer: "
            f"{kind.__name__} is required, got {told(state)}"
        )


def told(state: Any) -> str:
    """What a state is, for errors: its type, with the optimizer whose it is where that is known."""
    kind = type(state).__name__
    return f"the {kind} of {state.signature.owner}" if isinstance(state, LiveState) else kind


def check_fit(owner: str, gradients: PyTree, held: PyTree) -> None:
    """Raise unless what a state holds is like what it would hold for these gradients.

    Raises:
        ValueError: it is not; the text lists the leaves that differ.
    """
    lines = trees.diff(gradients, held)
    if lines:
        listed = "\n  ".join(lines)
        raise ValueError(
            f"{owner}: the state (second) belongs to other parameters than the gradients (first):\n  {listed}"
        )


def transformation(rule: Rule) -> optax.GradientTransformationExtraArgs:
    """The Optax transformation of a rule."""
    return optax.GradientTransformationExtraArgs(Method(rule, "init"), Method(rule, "update"))


def extended(owner: str, inner: Any) -> optax.GradientTransformationExtraArgs:
    """``inner`` as a transformation that takes extra arguments, whether it uses them or not.

    Raises:
        ValueError: it is no transformation.
    """
    if not callable(getattr(inner, "init", None)) or not callable(getattr(inner, "update", None)):
        raise ValueError(f"{owner}: an optimizer (a pair of init and update) is required, got {inner!r}")
    if isinstance(inner.update, _Foreign) or hasattr(inner.update, "rule"):
        return inner
    takes_extra = isinstance(inner, optax.GradientTransformationExtraArgs)
    return optax.GradientTransformationExtraArgs(inner.init, _Foreign(inner.update, takes_extra))


@dataclass(frozen=True)
class _Foreign:
    """An update that is not of this package: it sees the dtypes that its state was made for."""

    function: Callable[..., Any]
    takes_extra: bool

    def __call__(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        updates = narrow(updates, params)
        if not self.takes_extra:
            return self.function(updates, state, params)
        if "grad" in extra:
            extra["grad"] = narrow(extra["grad"], params)
        return self.function(updates, state, params, **extra)


def when(
    condition: Any, run: Callable[[PyTree], tuple[PyTree, PyTree]], state: PyTree
) -> tuple[PyTree, PyTree]:
    """``run(state)``, or no update and the same state where ``condition`` is false."""

    # Traced once for its shapes and its branch: wrappers in wrappers would double the work each.
    @functools.partial(jax.jit, inline=True)
    def act(state: PyTree) -> tuple[PyTree, PyTree]:
        updates, following = run(state)
        return updates, jax.tree.map(like, following, state)

    shapes = jax.eval_shape(act, state)[0]

    def rest(state: PyTree) -> tuple[PyTree, PyTree]:
        return jax.tree.map(_zeros, shapes), state

    result: tuple[PyTree, PyTree] = jax.lax.cond(condition, act, rest, state)
    return result


def _zeros(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    # On explicit axes the sharding is part of the type.
    return jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)


def only(tree: PyTree, paths: Collection[str]) -> PyTree:
    """``tree`` with the mark of ``optax.masked`` for the leaves that are not at one of ``paths``."""

    def keep(keys: Any, leaf: Any) -> Any:
        return leaf if trees.path(keys) in paths else optax.MaskedNode()

    return jax.tree_util.tree_map_with_path(keep, tree, is_leaf=is_none)


def filled(steps: PyTree, updates: PyTree) -> PyTree:
    """``steps``, with ``updates`` where they have none, for ``None`` or since the leaf is another's."""
    return jax.tree.map(lambda old, new: old if is_absent(new) else new, updates, steps, is_leaf=is_none)


def within(extra: Mapping[str, Any], params: PyTree, paths: Collection[str]) -> dict[str, Any]:
    """What an optimizer of the leaves at ``paths`` is told: the gradient at these, the objective of these.

    Args:
        extra: the extra arguments of the update of all leaves.
        params: all parameters.
        paths: of its own leaves.
    """
    own_extra, whole = dict(extra), extra.get("value_fn")
    if extra.get("grad") is not None:
        own_extra["grad"] = only(extra["grad"], paths)
    if callable(whole) and params is not None:

        def value_fn(own: PyTree, *args: Any, **options: Any) -> Any:
            filled = jax.tree.map(
                lambda each, new: each if is_absent(new) else new, params, own, is_leaf=is_none
            )
            return whole(filled, *args, **options)

        own_extra["value_fn"] = value_fn
    return own_extra


def check_pattern(owner: str, pattern: Any) -> None:
    """Raise unless ``pattern`` is one.

    Raises:
        ValueError: it is none, or a glob in which ``**`` is not a whole segment.
    """
    if isinstance(pattern, str):
        trees.matches(pattern, "")
    elif not isinstance(pattern, re.Pattern) and not callable(pattern):
        raise ValueError(
            f"{owner}: a pattern must be a glob, a compiled regular expression or a function of path and "
            f"array, got {pattern!r}"
        )


def selected(owner: str, tree: PyTree, *patterns: trees.Pattern) -> dict[str, Any]:
    """`trees.select`, with the owner in its error.

    Raises:
        ValueError: a pattern selects no leaf.
    """
    try:
        return trees.select(tree, *patterns)
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from None


def is_placeholder(params: PyTree) -> bool:
    """Whether ``optax.tree.map_params`` asks which parts of a state are like the parameters.

    It calls ``init`` with a node without leaves that no optimizer chose; known by its name, which is private.
    """
    return type(params).__name__ == "_ParamsPlaceholder"


def is_none(leaf: Any) -> bool:
    """Whether a leaf is ``None``."""
    return leaf is None


def is_absent(leaf: Any) -> bool:
    """Whether a leaf belongs to another optimizer: ``None``, or the mark that ``optax.masked`` leaves."""
    return leaf is None or isinstance(leaf, optax.MaskedNode)
