"""Checks of what builders are given, with one wording for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Sizes = int | Sequence[int]


def positive(who: str, name: str, value: Any) -> int:
    """A positive integer.

    Raises:
        ValueError: it is none.

    >>> positive("dense", "units", 0)
    Traceback (most recent call last):
    ...
    ValueError: dense: units must be a positive integer, got 0
    """
    if not _is_positive(value):
        raise ValueError(f"{who}: {name} must be a positive integer, got {value!r}")
    return int(value)


def sizes(who: str, name: str, value: Any, rank: int | None = None) -> tuple[int, ...]:
    """Positive integers, one an axis; one integer stands for all ``rank`` axes (for two where that is open).

    Raises:
        ValueError: there is another number of them, or one is not a positive integer.

    >>> sizes("conv", "strides", 2, rank=2)
    (2, 2)
    """
    if _is_positive(value):
        return (int(value),) * (2 if rank is None else rank)
    if not isinstance(value, tuple | list) or not value or not all(map(_is_positive, value)):
        raise ValueError(f"{who}: {name} must be positive integers, one an axis, got {value!r}")
    if rank is not None and len(value) != rank:
        raise ValueError(f"{who}: {name} must be one integer or {rank}, one an axis, got {value!r}")
    return tuple(int(size) for size in value)


def fraction(who: str, name: str, value: Any) -> float:
    """A number in [0, 1].

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{who}: {name} must be in [0, 1], got {value!r}")
    return float(value)


def _is_positive(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) > 0
