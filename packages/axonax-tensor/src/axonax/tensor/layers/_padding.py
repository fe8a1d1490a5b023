"""Spatial axes made longer by padding, and shorter by cropping."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor import names

Widths = int | Sequence[int | Sequence[int]]
_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    widths: Widths,
    *,
    mode: Literal["constant", "reflect", "edge", "wrap"] = "constant",
    value: float = 0,
) -> Shaped[Array, " batch *padded channels"]:
    """Elements put in front of and behind each spatial axis.

    Args:
        x: ``(batch, *spatial, channels)``.
        widths: how many: a pair ``(front, behind)`` for each spatial axis, a number where both are equal,
            or one number for all; a pair alone where there is one spatial axis. Negative ones crop, before
            anything is padded.
        mode: ``"constant"``, all ``value``; ``"reflect"``, mirrored at the outermost element, which is not
            repeated; ``"edge"``, the outermost element; ``"wrap"``, what the other end has. A width above
            the size goes on reflecting, or wrapping.
        value: a number, rounded to the dtype of ``x``; for ``"constant"``.

    Returns:
        ``(batch, *(front + size + behind), channels)`` in the dtype of ``x``.

    Raises:
        ValueError: widths that do not fit the axes, crops of more than there is, an unknown mode, a value
            that is not a number, or nothing to reflect, repeat or wrap.

    >>> pad(jnp.arange(3).reshape(1, 3, 1), ((1, 2),), mode="reflect").ravel().tolist()
    [1, 0, 1, 2, 1, 0]
    """
    x = jnp.asarray(x)
    kind = names.lookup(_MODES, mode, "mode of pad")
    pairs = _pairs("pad", "widths", widths, x.shape)
    if not isinstance(value, Real):
        raise ValueError(f"pad: value must be a number, got {type(value).__name__}")
    x = _cropped("pad", x, [(max(-front, 0), max(-behind, 0)) for front, behind in pairs])
    grown = [(0, 0), *((max(front, 0), max(behind, 0)) for front, behind in pairs), (0, 0)]
    if kind == "constant":
        return jnp.pad(x, grown, constant_values=jnp.asarray(value, x.dtype))
    if any(not size and any(pair) for size, pair in zip(x.shape, grown, strict=True)):
        raise ValueError(f'pad: mode "{mode}" needs elements to take from, got {x.shape}')
    return jnp.pad(x, grown, mode=kind)


def crop(
    x: Shaped[ArrayLike, " batch *spatial channels"], amounts: Widths
) -> Shaped[Array, " batch *cropped channels"]:
    """Elements taken off the front and the end of each spatial axis.

    Args:
        x: ``(batch, *spatial, channels)``.
        amounts: how many: a pair ``(front, behind)`` for each spatial axis, a number where both are equal,
            or one number for all; a pair alone where there is one spatial axis.

    Returns:
        ``(batch, *(size - front - behind), channels)`` in the dtype of ``x``.

    Raises:
        ValueError: amounts that do not fit the axes, are negative, or are more than there is.

    >>> crop(jnp.ones((1, 5, 6, 2)), ((1, 0), (2, 2))).shape
    (1, 4, 2, 2)
    """
    x = jnp.asarray(x)
    pairs = _pairs("crop", "amounts", amounts, x.shape)
    if any(amount < 0 for pair in pairs for amount in pair):
        raise ValueError(f"crop: amounts must not be negative, got {amounts}")
    return _cropped("crop", x, pairs)


def _pairs(op: str, option: str, given: Widths, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """``(front, behind)`` for each spatial axis."""
    count = len(shape) - 2
    if count < 0:
        raise ValueError(f"{op}: input must be (batch, *spatial, channels), got {shape}")
    each: list[Any] = list(given) if isinstance(given, Sequence) else [given] * count
    if isinstance(given, Sequence) and count == 1 and len(given) == 2:
        each = [given]
    pairs = [tuple(one) if isinstance(one, Sequence) else (one, one) for one in each]
    whole = all(len(pair) == 2 and all(isinstance(width, Integral) for width in pair) for pair in pairs)
    if len(pairs) != count or not whole:
        raise ValueError(
            f"{op}: {option} must be a number, or a number or a pair (front, behind) for each of {count} "
            f"spatial axes, got {given}"
        )
    return [(int(front), int(behind)) for front, behind in pairs]


def _cropped(op: str, x: Array, pairs: list[tuple[int, int]]) -> Array:
    if any(sum(pair) > size for size, pair in zip(x.shape[1:-1], pairs, strict=True)):
        raise ValueError(f"{op}: cannot crop {pairs} from the spatial sizes {x.shape[1:-1]}")
    kept = (slice(front, size - behind) for size, (front, behind) in zip(x.shape[1:-1], pairs, strict=True))
    return x[(slice(None), *kept)]
