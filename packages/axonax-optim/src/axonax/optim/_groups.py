"""One optimizer for each group of parameters, chosen by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import optax

from axonax.optim._checks import options
from axonax.optim._dtypes import check_arrays
from axonax.optim._rules import (
    check_pattern,
    extended,
    filled,
    is_none,
    is_placeholder,
    only,
    selected,
    told,
    transformation,
    within,
)
from axonax.tensor import trees
from axonax.tensor.updates import GroupsState

PyTree = Any
DEFAULT = "default"


@options
def groups(
    optimizers: Mapping[trees.Pattern, Any], default: Any = None
) -> optax.GradientTransformationExtraArgs:
    """Each parameter by the optimizer of the first pattern that matches its path.

    A group keeps a state for its own parameters alone. Hyperparameters are read and set by the label of the
    group: the pattern itself, or ``"default"``.

    Args:
        optimizers: pattern to optimizer, in order of precedence. A pattern is a glob (``*`` within a segment,
            ``**`` any number of segments), a compiled regular expression or a function of path and array
            that looks at the array's shape and dtype, not at its values.
        default: the optimizer of what no pattern matches.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: when the state is made, a pattern that decides no parameter (the text lists near paths,
            or the pattern that took its parameters), or parameters that nothing decides.

    >>> from axonax import optim
    >>> rules = {"encoder/**": optim.frozen(), "**/bias": optim.sgd(0.1)}
    >>> optimizer = groups(rules, default=optim.adam(0.01))
    >>> params = {"encoder": {"bias": 1.0}, "head": {"kernel": 1.0, "bias": 1.0}}
    >>> state = optimizer.init(params)
    >>> {label: sorted(numbers) for label, numbers in optim.hyperparams(state).items()}["**/bias"]
    ['learning_rate']
    >>> updates, state = optimizer.update(params, state, params)
    >>> [round(float(leaf), 3) for leaf in jax.tree.leaves(updates)]
    [0.0, -0.1, -0.01]
    """
    if not isinstance(optimizers, Mapping) or not (optimizers or default is not None):
        raise ValueError(f"groups: a mapping of patterns to optimizers is required, got {optimizers!r}")
    for pattern in optimizers:
        check_pattern("groups", pattern)
    members = [(pattern, extended("groups", each)) for pattern, each in optimizers.items()]
    rest = None if default is None else extended("groups", default)
    return transformation(Groups(tuple(members), rest))


def frozen() -> optax.GradientTransformationExtraArgs:
    """The optimizer that changes nothing and keeps nothing.

    >>> optimizer = frozen()
    >>> jax.tree.leaves(optimizer.init({"w": 1.0}))
    []
    """
    return transformation(_Frozen())


@dataclass(frozen=True)
class Groups:
    """The rule of `groups`."""

    members: tuple[tuple[trees.Pattern, Any], ...]
    default: Any

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers by label, in order of precedence."""
        labelled = dict(zip(_labels([pattern for pattern, _ in self.members]), self._made(), strict=True))
        return labelled if self.default is None else {**labelled, DEFAULT: self.default}

    def assign(self, tree: PyTree) -> dict[str, str]:
        """The label of each leaf by its path; leaves that nothing decides are left out."""
        patterns = [pattern for pattern, _ in self.members]
        labels = _labels(patterns)
        found = {}
        for path, leaf in trees.flatten(tree).items():
            matched = (
                label
                for label, pattern in zip(labels, patterns, strict=True)
                if trees.matches(pattern, path, leaf)
            )
            label = next(matched, None if self.default is None else DEFAULT)
            if label is not None:
                found[path] = label
        return found

    def decide(self, params: PyTree) -> dict[str, str]:
        """`assign`, where every pattern must decide a leaf and every leaf be decided."""
        check_arrays("groups", params)
        found = _by_shape(self.assign, params)
        patterns = [pattern for pattern, _ in self.members]
        for label, pattern in zip(_labels(patterns), patterns, strict=True):
            if label not in found.values():
                raise ValueError(_why_empty(label, pattern, params, found))
        missing = [path for path in trees.flatten(params) if path not in found]
        if missing:
            listed = "\n  ".join(missing)
            raise ValueError(
                f"groups: no pattern matches these parameters, and there is no default:\n  {listed}"
            )
        return found

    def init(self, params: PyTree) -> GroupsState:
        """The state of each group's optimizer, for its own parameters."""
        if is_placeholder(params):
            return GroupsState({label: each.init(params) for label, each in self.optimizers.items()})
        found = self.decide(params)
        return GroupsState(
            {label: each.init(only(params, _of(label, found))) for label, each in self.optimizers.items()}
        )

    def update(self, updates: PyTree, state: GroupsState, params: PyTree = None, **extra: Any) -> Any:
        """The updates of all groups in one tree."""
        optimizers = self.optimizers
        if not isinstance(state, GroupsState) or set(state.groups) != set(optimizers):
            kind = sorted(state.groups) if isinstance(state, GroupsState) else told(state)
            raise ValueError(f"groups: a state of the groups {sorted(optimizers)} is required, got {kind}")
        found = self.assign(updates if params is None else params)
        result, following = jax.tree.map(lambda _: None, updates), {}
        for label, each in optimizers.items():
            paths = _of(label, found)
            mine = None if params is None else only(params, paths)
            own = within(extra, params, paths)
            steps, following[label] = each.update(only(updates, paths), state.groups[label], mine, **own)
            result = filled(steps, result)
        return result, GroupsState(following)

    def _made(self) -> list[Any]:
        return [each for _, each in self.members]


@dataclass(frozen=True)
class _Frozen:
    def init(self, params: PyTree) -> optax.EmptyState:
        return optax.EmptyState()

    def update(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        target = updates if params is None else params
        zeros = jax.tree.map(
            lambda new, old: None if new is None else jax.numpy.zeros_like(old),
            updates,
            target,
            is_leaf=is_none,
        )
        return zeros, state


def _by_shape(assign: Callable[[PyTree], dict[str, str]], params: PyTree) -> dict[str, str]:
    """``assign(params)``, where no predicate can look at values: they change from step to step."""
    found: dict[str, str] = {}

    def look(params: PyTree) -> None:
        found.update(assign(params))

    try:
        jax.eval_shape(look, params)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError(
            "groups: a predicate must decide by path, shape and dtype, but one looks at an array's values"
        ) from error
    return found


def _of(label: str, found: Mapping[str, str]) -> frozenset[str]:
    return frozenset(path for path, each in found.items() if each == label)


def _labels(patterns: list[trees.Pattern]) -> list[str]:
    """A name for each pattern: its text or the function's name, numbered where two are alike."""
    labels: list[str] = []
    for pattern in patterns:
        text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        name = text if isinstance(text, str) else getattr(text, "__name__", "predicate")
        taken, number = {*labels, DEFAULT}, 0
        label = name
        while label in taken:
            number += 1
            label = f"{name}_{number}"
        labels.append(label)
    return labels


def _why_empty(label: str, pattern: trees.Pattern, params: PyTree, found: Mapping[str, str]) -> str:
    taken = selected("groups", params, pattern)  # raises, with near paths, where nothing matches at all
    lines = "".join(f'\n  {path}: taken by "{found[path]}"' for path in taken)
    return (
        f'groups: the pattern "{label}" decides no parameter, since others took all that it matches:{lines}'
    )
