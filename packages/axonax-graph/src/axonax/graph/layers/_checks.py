"""Checks of what builders are given, with one wording for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from axonax.tensor import names

Sizes = int | Sequence[int]
Padding = Literal["valid", "same", "causal"] | int | Sequence[int | tuple[int, int]]

_PADDINGS = {name: name for name in ("valid", "same", "causal")}


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


def sizes(who: str, name: str, value: Any) -> int | tuple[int, ...]:
    """One positive integer for all spatial axes, or one an axis.

    Raises:
        ValueError: it is neither.

    >>> sizes("conv", "strides", [2, 1])
    (2, 1)
    """
    if _is_positive(value):
        return int(value)
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= 3 or not all(map(_is_positive, value)):
        raise ValueError(f"{who}: {name} must be one positive integer or one an axis, got {value!r}")
    return tuple(int(size) for size in value)


def padding_of(who: str, value: Any) -> str | int | tuple[Any, ...]:
    """A padding by name, a number for all spatial axes, or a number or a pair ``(front, behind)`` an axis.

    Raises:
        ValueError: an unknown name (the text lists near matches), or no such numbers.

    >>> padding_of("conv", [(1, 1), 2])
    ((1, 1), 2)
    """
    if isinstance(value, str):
        return names.lookup(_PADDINGS, value, f"{who} padding")
    if _is_pad(value):
        return int(value)
    each_axis = isinstance(value, tuple | list) and 1 <= len(value) <= 3
    if not each_axis or not all(_is_pad(size) or _is_pair(size) for size in value):
        known = ", ".join(f'"{name}"' for name in _PADDINGS)
        form = "a number, or a number or a pair (front, behind) an axis"
        raise ValueError(f"{who}: padding must be {known}, {form}, got {value!r}")
    return tuple(tuple(size) if _is_pair(size) else int(size) for size in value)


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


def _is_pad(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) >= 0


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_pad, value))
