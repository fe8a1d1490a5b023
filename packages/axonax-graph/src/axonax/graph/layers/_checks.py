"""Checks of what builders are given, with one wording for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from axonax.tensor import names

Sizes = int | Sequence[int]
Padding = Literal["valid", "same", "causal"] | int | Sequence[int | tuple[int, int]]

_PADDINGS = ("valid", "same", "causal")


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


def sizes(who: str, name: str, value: Any, *, least: int = 1) -> int | tuple[int, ...]:
    """One positive integer for all spatial axes, or one an axis; ``least=0`` allows 0 as well.

    Raises:
        ValueError: it is neither.

    >>> sizes("conv", "strides", [2, 1])
    (2, 1)
    """
    fits = _is_positive if least else _is_pad
    if fits(value):
        return int(value)
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= 3 or not all(map(fits, value)):
        kind = "positive integer" if least else "integer of at least 0"
        raise ValueError(f"{who}: {name} must be one {kind} or one an axis, got {value!r}")
    return tuple(int(size) for size in value)


def padding_of(who: str, value: Any, *, causal: bool = True) -> str | int | tuple[Any, ...]:
    """A padding by name, a number for all spatial axes, or a number or a pair ``(front, behind)`` an axis.

    ``causal=False`` for what does not know that one.

    Raises:
        ValueError: an unknown name (the text lists near matches), or no such numbers.

    >>> padding_of("conv", [(1, 1), 2])
    ((1, 1), 2)
    """
    table = {name: name for name in _PADDINGS if causal or name != "causal"}
    if isinstance(value, str):
        return names.lookup(table, value, f"{who} padding")
    if _is_pad(value):
        return int(value)
    each_axis = isinstance(value, tuple | list) and 1 <= len(value) <= 3
    if not each_axis or not all(_is_pad(size) or _is_pair(size) for size in value):
        known = ", ".join(f'"{name}"' for name in table)
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


def number(who: str, name: str, value: Any, least: float = 0) -> float:
    """A finite number of at least ``least``.

    Raises:
        ValueError: it is none.

    >>> number("batch_norm", "eps", -1)
    Traceback (most recent call last):
    ...
    ValueError: batch_norm: eps must be a number of at least 0, got -1
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise ValueError(f"{who}: {name} must be a number of at least {least}, got {value!r}")
    return value


def integer(who: str, name: str, value: Any) -> int:
    """An integer.

    Raises:
        ValueError: it is none.
    """
    if not _is_integer(value):
        raise ValueError(f"{who}: {name} must be an integer, got {value!r}")
    return int(value)


def integers(who: str, name: str, value: Any) -> int | tuple[int, ...]:
    """An integer, or several that differ.

    Raises:
        ValueError: it is neither.

    >>> integers("layer_norm", "axis", [-2, -1])
    (-2, -1)
    """
    if isinstance(value, tuple | list):
        if not value or not all(map(_is_integer, value)) or len(set(value)) < len(value):
            raise ValueError(f"{who}: {name} must be an integer or several that differ, got {value!r}")
        return tuple(int(each) for each in value)
    return integer(who, name, value)


def has_axes(x: Any, axis: int | Sequence[int]) -> str | None:
    """What is wrong with an input that should have these axes."""
    for each in (axis,) if isinstance(axis, int) else axis:
        if not -x.ndim <= each < x.ndim:
            return f"needs an input that has the axis {each}"
    return None


def is_array(x: Any) -> str | None:
    """What is wrong with an input that should be one array: a container would be stacked, or worse."""
    return None if hasattr(x, "ndim") else "needs an array and no container, whose parts are node[...]"


def _is_positive(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) > 0


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_pad(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) >= 0


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_pad, value))
