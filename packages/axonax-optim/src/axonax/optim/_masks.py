"""Masks: which leaves of a tree something is done to, by one rule for all that take one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from axonax.optim._checks import is_flag
from axonax.tensor import trees

PyTree = Any


@dataclass(frozen=True)
class Mask:
    """A tree of bools that is as deep as the parameters or less, or a function that gives one.

    Called with a tree it gives a bool for each leaf. A tree of bools is one even if it can be called, as
    the models of some libraries can.
    """

    owner: str
    name: str
    # A dict has no hash.
    given: Any = field(hash=False)

    def __call__(self, tree: PyTree) -> PyTree:
        """Which leaves of ``tree`` are marked, in a tree of its structure."""
        marks = self.given(tree) if _is_function(self.given) else self.given

        def spread(keys: Any, mark: Any, part: PyTree) -> PyTree:
            chosen = self._flag(trees.path(keys), mark)
            return jax.tree.map(lambda _: chosen, part)

        try:
            return jax.tree_util.tree_map_with_path(spread, marks, tree)
        except _NoFlag:
            raise
        except (TypeError, ValueError) as error:
            listed = "\n  ".join(_misfits(marks, tree) or [str(error)])
            raise ValueError(
                f"{self.owner}: the {self.name} does not fit the parameters:\n  {listed}"
            ) from error

    def paths(self, tree: PyTree) -> frozenset[str]:
        """The paths of the marked leaves."""
        return frozenset(path for path, keep in trees.flatten(self(tree)).items() if keep)

    def _flag(self, path: str, mark: Any) -> bool:
        if not is_flag(mark) or isinstance(mark, jax.core.Tracer):
            raise _NoFlag(
                f"{self.owner}: the {self.name} must hold True or False by path, shape and dtype, "
                f"got {mark!r}" + (f" at {path}" if path else "")
            )
        return bool(mark)


class _NoFlag(ValueError):
    """A mark that is no bool, or one that hangs on values."""


def _is_function(mask: Any) -> bool:
    if not callable(mask) or isinstance(mask, jax.tree_util.Partial):
        return callable(mask)
    return jax.tree_util.all_leaves([mask]) or not all(map(is_flag, jax.tree.leaves(mask)))


def _misfits(marks: PyTree, tree: PyTree) -> list[str]:
    """The leaves of a tree without a mark, and the marks of no leaf."""
    marked, leaves = trees.flatten(marks), trees.flatten(tree)
    bare = [f"{leaf}: no mark" for leaf in leaves if not any(_leads(mark, leaf) for mark in marked)]
    idle = [f"{mark}: no parameter" for mark in marked if not any(_leads(mark, leaf) for leaf in leaves)]
    return sorted(bare + idle)


def _leads(mark: str, leaf: str) -> bool:
    return mark in ("", leaf) or leaf.startswith(f"{mark}/")
