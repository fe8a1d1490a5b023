"""Positions as sines and cosines: added to features, or as rotations of queries and keys."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from axonax.tensor import names
from axonax.tensor._moments import narrowed, widened
from axonax.tensor.precision import promoted


def rotary_embedding(
    x: Float[ArrayLike, "batch time heads size"],
    positions: Shaped[ArrayLike, "*rows time"] | None = None,
    *,
    offset: ArrayLike = 0,
    base: float = 10000.0,
    fraction: float = 1.0,
    frequencies: Float[ArrayLike, " pairs"] | None = None,
    interleaved: bool = False,
) -> Float[Array, "batch time heads size"]:
    """Each pair of features turned by ``position * frequency``: products of two depend on their distance.

    ``(a, b)`` becomes ``(a cos - b sin, a sin + b cos)``; frequencies are ``base**(-2 i / size)``.

    Args:
        x: floats ``(batch, time, heads, size)``, queries or keys.
        positions: ``(time,)`` or ``(batch, time)``; 0, 1, 2, ... if ``None``. Integers are exact however
            large.
        offset: added to the positions, traced or not: how many tokens came before (those in a cache).
        base: of the frequencies.
        fraction: the share of ``size``, from the front, that is turned; the rest stays as it is.
        frequencies: radians a position for each pair, in place of ``base`` and ``fraction``: see
            `rotary_frequencies`. Fewer than ``size / 2`` turn the front alone.
        interleaved: pairs are neighbours, ``(0, 1), (2, 3), ...`` (GPT-J, the paper), else they lie half a
            size apart (GPT-NeoX, Llama).

    Returns:
        the shape and dtype of ``x``; half precision is turned in float32.

    Raises:
        ValueError: shapes or numbers that do not fit.

    Source: Su et al., RoFormer (2021), equation 34.

    >>> x = jnp.array([3.0, 4.0]).reshape(1, 1, 1, 2)
    >>> rotary_embedding(x).ravel().tolist()
    [3.0, 4.0]
    >>> print(rotary_embedding(x, offset=7).ravel().round(4))
    [-0.3662  4.9866]
    """
    shape = jnp.shape(x)
    if len(shape) != 4:
        raise ValueError(f"rotary_embedding: input must be (batch, time, heads, size), got {shape}")
    if frequencies is None:
        if not 0 < fraction <= 1:
            raise ValueError(f"rotary_embedding: fraction must be in (0, 1], got {fraction}")
        frequencies = rotary_frequencies(_turned(shape[3], fraction), base=base)
    count = jnp.shape(frequencies)[0]
    if 2 * count > shape[3]:
        raise ValueError(f"rotary_embedding: {count} frequencies need a size of {2 * count}, got {shape[3]}")
    where = jnp.arange(shape[1]) if positions is None else jnp.asarray(positions)
    if where.shape not in ((shape[1],), shape[:2]):
        raise ValueError(f"rotary_embedding: positions {where.shape} do not fit input {shape}")
    wide = widened(x)
    turns = angles(where + offset, frequencies, wide.dtype)
    turns = turns.reshape(*(1,) * (3 - turns.ndim), *turns.shape)[:, :, None]
    cos, sin = jnp.cos(turns), jnp.sin(turns)
    front, rest = wide[..., : 2 * count], wide[..., 2 * count :]
    split = (*shape[:3], count, 2) if interleaved else (*shape[:3], 2, count)
    axis = -1 if interleaved else -2
    a, b = (jnp.squeeze(each, axis) for each in jnp.split(front.reshape(split), 2, axis))
    turned = jnp.stack([a * cos - b * sin, a * sin + b * cos], axis).reshape(front.shape)
    return narrowed(jnp.concatenate([turned, rest], -1) if rest.size else turned, x)


def rotary_frequencies(
    size: int,
    *,
    base: float = 10000.0,
    scaling: str = "none",
    factor: float = 1.0,
    low: float = 1.0,
    high: float = 4.0,
    length: int = 8192,
) -> Float[np.ndarray, " pairs"]:
    """``base**(-2 i / size)``, scaled for sequences longer than those of training.

    Args:
        size: how many features are turned, an even number.
        base: of the frequencies.
        scaling: ``"none"``; ``"linear"``: each is divided by ``factor`` (position interpolation);
            ``"ntk"``: the base grows by ``factor**(size / (size - 2))``, so that the lowest is divided by
            ``factor`` and the highest stays; ``"llama3"``: those that turn less than ``low`` times over
            ``length`` are divided, those that turn more than ``high`` times stay, those between are mixed.
        factor: how many times longer sequences are.
        low: turns, for ``"llama3"``.
        high: turns, for ``"llama3"``.
        length: of the sequences of training, for ``"llama3"``.

    Returns:
        ``(size / 2,)``, radians a position: NumPy in float64, which keeps `rotary_embedding` exact.

    Raises:
        ValueError: an odd size, an unknown scaling.

    Source: Chen et al., Extending Context Window via Positional Interpolation (2023); bloc97, NTK-aware
    scaled RoPE (2023); the Llama 3.1 model code.

    >>> rotary_frequencies(4, base=100.0).tolist()
    [1.0, 0.1]
    >>> rotary_frequencies(4, base=100.0, scaling="linear", factor=2.0).tolist()
    [0.5, 0.05]
    """
    if size < 2 or size % 2:
        raise ValueError(f"rotary_frequencies: size must be an even number of at least 2, got {size}")

    def at(base: float) -> np.ndarray:
        return base ** (-np.arange(0, size, 2) / size)

    def llama3() -> np.ndarray:
        plain = at(base)
        share = np.clip((length * plain / (2 * math.pi) - low) / (high - low), 0, 1)
        return plain * (share + (1 - share) / factor)

    table: dict[str, Callable[[], np.ndarray]] = {
        "none": lambda: at(base),
        "linear": lambda: at(base) / factor,
        "ntk": lambda: at(base * factor ** (size / max(size - 2, 1))),
        "llama3": llama3,
    }
    return names.lookup(table, scaling, "scaling")()


def sinusoidal(
    positions: Shaped[ArrayLike, "*batch"],
    size: int,
    *,
    base: float = 10000.0,
    interleaved: bool = True,
) -> Float[Array, "*batch size"]:
    """``sin(position * f)`` and ``cos(position * f)`` for frequencies ``f = base**(-2 i / size)``.

    Args:
        positions: numbers of any shape: ``jnp.arange(time)`` for a sequence, times for diffusion. Integers
            are exact however large.
        size: how many features, an even number.
        base: of the frequencies.
        interleaved: sine and cosine of a frequency are neighbours (the paper), else all sines come first.

    Returns:
        ``(*positions, size)`` in the dtype of the positions, the default float dtype where they are integers.

    Raises:
        ValueError: an odd size.

    Source: Vaswani et al., Attention Is All You Need (2017), section 3.5.

    >>> print(sinusoidal(jnp.array([0, 1]), 2).round(4))
    [[0.     1.    ]
     [0.8415 0.5403]]
    """
    if size < 2 or size % 2:
        raise ValueError(f"sinusoidal: size must be an even number of at least 2, got {size}")
    positions = jnp.asarray(positions)
    is_float = jnp.issubdtype(positions.dtype, jnp.floating)
    wide = promoted(positions.dtype, jnp.float32) if is_float else jnp.result_type(float)
    turns = angles(positions, rotary_frequencies(size, base=base), wide)
    pair = jnp.stack([jnp.sin(turns), jnp.cos(turns)], -1 if interleaved else -2)
    return narrowed(pair.reshape(*positions.shape, size), positions)


def angles(positions: ArrayLike, frequencies: ArrayLike, dtype: jnp.dtype) -> jax.Array:
    """``positions * frequencies``, ``(*positions, pairs)``, up to whole turns.

    A product of float32 would be off by 6e-3 radians at position 1e5. Integer positions are multiplied in
    integers, where the unit is 2**-32 of a turn and whole turns fall away by themselves.
    """
    positions = jnp.asarray(positions)[..., None]
    along = (1,) * (positions.ndim - 1) + (-1,)
    exact = isinstance(frequencies, np.ndarray) and jnp.issubdtype(positions.dtype, jnp.integer)
    if not exact or dtype != jnp.float32:
        return positions.astype(dtype) * jnp.asarray(frequencies).astype(dtype).reshape(along)
    units = np.asarray(frequencies, np.float64).reshape(along) / (2 * math.pi) * 2.0**32
    whole = (np.floor(units) % 2.0**32).astype(np.uint32)
    below = (units - np.floor(units)).astype(np.float32)
    positions = positions.astype(jnp.int32)
    carried = jnp.round(positions.astype(jnp.float32) * below).astype(jnp.int32)
    turned = jax.lax.bitcast_convert_type(positions, jnp.uint32) * whole
    turned = jax.lax.bitcast_convert_type(turned, jnp.int32) + carried
    return turned.astype(jnp.float32) * np.float32(2 * math.pi / 2**32)


def _turned(size: int, fraction: float) -> int:
    return 2 * int(size * fraction / 2)
