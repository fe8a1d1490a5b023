"""One measurement of an op: ours and its rivals, called with the same arrays."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_LIBRARIES = {"Flax": "flax", "Keras": "keras"}


class Absent:
    """In place of a module that is not installed: whatever is asked of it is absent too."""

    def __getattr__(self, name: str) -> Absent:
        return self

    def __call__(self, *_: Any, **__: Any) -> Absent:
        """What an absent function gives."""
        return self


def peer(module: str) -> Any:
    """A module of a rival, or `Absent`: its rivals are then left out."""
    return importlib.import_module(module) if _installed(module) else Absent()


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module.partition(".")[0]) is not None


@dataclass(frozen=True)
class Case:
    """Ours and what others have in its place.

    Each callable takes the arrays and returns one array or a tree of arrays; gradients are taken with respect
    to the arrays of floats.
    """

    name: str
    ours: Callable[..., Any]
    rivals: dict[str, Callable[..., Any]]
    """by the rival's name: ``"JAX by hand"``, ``"Flax"``, ``"Keras"``"""
    arrays: tuple[np.ndarray, ...]
    tolerance: float = 2e-3
    """how far contenders may be apart, as a share of the largest value"""

    def present(self) -> dict[str, Callable[..., Any]]:
        """The rivals that are installed."""
        return {name: call for name, call in self.rivals.items() if _installed(_LIBRARIES.get(name, "jax"))}
