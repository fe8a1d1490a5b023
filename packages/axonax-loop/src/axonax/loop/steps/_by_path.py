"""Several optimizers that share the parameters, each with those whose paths it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from axonax.tensor import trees
from axonax.tensor.updates import GroupsState

PyTree = Any


class Member(Protocol):
    """What is needed of each optimizer."""

    @property
    def init(self) -> Any:
        """``init(params) -> opt_state``."""
        ...

    @property
    def update(self) -> Any:
        """``update(gradients, opt_state, params, **extra) -> (updates, opt_state)``."""
        ...

    def extra(self, opt_state: PyTree) -> set[str]:
        """The extra arguments of an update."""
        ...


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The optimizers by label and pattern, in order of precedence; ``None`` freezes."""

    who: str
    members: tuple[tuple[str, trees.Pattern, Any], ...]

    def frozen(self, path: str, leaf: Any) -> bool:
        """Whether a parameter is left alone."""
        found = self._member(path, leaf)
        return found is not None and found[2] is None

    def check(self, params: PyTree) -> None:
        """Raise where a pattern that freezes matches no parameter.

        Raises:
            ValueError: one does not; the text lists near paths.
        """
        for _, pattern, member in self.members:
            if member is None:
                trees.select(params, pattern, what="parameter")

    def init(self, params: PyTree) -> GroupsState:
        """The state of each optimizer for its own parameters.

        Raises:
            ValueError: a pattern decides no parameter, or nothing decides one; the text lists them.
        """
        self._check(params)
        return GroupsState({label: member.init(part) for label, member, part in self._parts(params, params)})

    def update(
        self, gradients: PyTree, state: GroupsState, params: PyTree, **extra: Any
    ) -> tuple[PyTree, GroupsState]:
        """The updates of all parameters, each by its own optimizer."""
        leaves, structure = _flat(gradients)
        groups = {}
        both = zip(self._parts(gradients, params), self._parts(params, params), strict=True)
        for (label, member, part), (_, _, own) in both:
            wanted = member.extra(state.groups[label])
            given = {name: each for name, each in extra.items() if name in wanted}
            if "grad" in given:
                given["grad"] = part
            if "value_fn" in given:
                given["value_fn"] = self._value_of(label, params, extra["value_fn"])
            updates, groups[label] = member.update(part, state.groups[label], own, **given)
            for place, leaf in zip(self._places(label, params), jax.tree.leaves(updates), strict=True):
                leaves[place] = leaf
        return structure.unflatten(leaves), GroupsState(groups)

    def _value_of(self, label: str, params: PyTree, value_fn: Any) -> Any:
        """The objective as a function of the parameters of one group."""
        leaves, structure = _flat(params)
        places = self._places(label, params)

        def value(part: PyTree) -> Any:
            moved = dict(zip(places, jax.tree.leaves(part), strict=True))
            return value_fn(structure.unflatten([moved.get(n, leaf) for n, leaf in enumerate(leaves)]))

        return value

    def _member(self, path: str, leaf: Any) -> tuple[str, trees.Pattern, Any] | None:
        return next((each for each in self.members if trees.matches(each[1], path, leaf)), None)

    def _labels(self, params: PyTree) -> list[str | None]:
        found = [self._member(path, leaf) for path, leaf in trees.flatten(params).items()]
        return [None if each is None else each[0] for each in found]

    def _places(self, label: str, params: PyTree) -> list[int]:
        return [place for place, each in enumerate(self._labels(params)) if each == label]

    def _parts(self, tree: PyTree, params: PyTree) -> list[tuple[str, Any, PyTree]]:
        """Each optimizer with the leaves of a tree like ``params`` that are its own, ``None`` for others."""
        labels = self._labels(params)
        leaves, structure = _flat(tree)
        return [
            (
                label,
                member,
                structure.unflatten(
                    [leaf if own == label else None for leaf, own in zip(leaves, labels, strict=True)]
                ),
            )
            for label, _, member in self.members
            if member is not None
        ]

    def _check(self, params: PyTree) -> None:
        labels = dict(zip(trees.flatten(params), self._labels(params), strict=True))
        missing = [path for path, label in labels.items() if label is None]
        if missing:
            listed = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            raise ValueError(
                f'{self.who}: no optimizer for {listed}: add a last pattern "**" for all others, with None '
                "to leave them alone"
            )
        for label, pattern, member in self.members:
            if member is not None and label not in labels.values():
                trees.select(params, pattern, what="parameter")
                raise ValueError(f'{self.who}: earlier patterns took all that the pattern "{label}" matches')


def labelled(members: Mapping[Any, Any], who: str) -> tuple[tuple[str, trees.Pattern, Any], ...]:
    """The optimizers with a label for each pattern: its text, or the name of the function.

    Raises:
        ValueError: there are none, all are ``None``, or two have one label.
        TypeError: a pattern is none.
    """
    found: dict[str, tuple[str, trees.Pattern, Any]] = {}
    for pattern, member in members.items():
        if not isinstance(pattern, str | re.Pattern) and not callable(pattern):
            raise TypeError(f"{who}: the keys of a dict of optimizers are patterns of paths, got {pattern!r}")
        text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        label = text if isinstance(text, str) else getattr(text, "__name__", "predicate")
        if label in found:
            raise ValueError(f'{who}: two patterns are called "{label}"')
        found[label] = (label, pattern, member)
    if all(member is None for _, _, member in found.values()):
        raise ValueError(f"{who}: a dict of optimizers needs at least one that is not None")
    return tuple(found.values())


def _flat(tree: PyTree) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree)
