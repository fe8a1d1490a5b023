"""One measurement of an op: ours and its rivals, called with the same arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


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
