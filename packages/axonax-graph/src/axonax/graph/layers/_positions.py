"""Positions of tokens: learned rows, or sines and cosines."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.data._values import PROBES
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import number, positive
from axonax.tensor import layers


@builder
def position_embedding(
    length: int,
    *,
    cache: int | None = None,
    kernel_initializer: str | Initializer = "normal",
    name: str | None = None,
) -> Layer:
    """Add a learned row to each token by its place: ``x + kernel[position]``.

    Args:
        length: how many places there are.
        cache: count the places on from call to call, in a buffer; `generate` sets it.
        kernel_initializer: of ``kernel (length, features)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape ``(batch, time, features)``.

    Raises:
        ValueError: ``length`` is not a positive integer, an unknown initializer.

    >>> from axonax import graph as nn
    >>> tokens = nn.input("tokens", (None, None), dtype="int32")
    >>> model = tokens | nn.embedding(100, 8) | nn.position_embedding(64)
    """
    length = positive("position_embedding", "length", length)
    params = {"kernel": param(functools.partial(_rows, length=length), kernel_initializer)}
    check = functools.partial(_check, length=length)
    if cache is None:
        return computes(_embedded, params=params, check=check)
    positive("position_embedding", "cache", cache)
    return computes(_embedded_from, params=params, buffers=_position(), check=check)


@builder
def sinusoidal_positions(
    *, base: float = 10000.0, cache: int | None = None, name: str | None = None
) -> Layer:
    """Add sines and cosines of its place to each token: `axonax.tensor.layers.sinusoidal`.

    Args:
        base: of the frequencies.
        cache: count the places on from call to call, in a buffer; `generate` sets it.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape ``(batch, time, features)``.

    Raises:
        ValueError: ``base`` is not a positive number.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, None, 8)) | nn.sinusoidal_positions()
    """
    options = {"base": number("sinusoidal_positions", "base", base)}
    if cache is None:
        return computes(_waved, options=options, check=_check)
    positive("sinusoidal_positions", "cache", cache)
    return computes(_waved_from, options=options, buffers=_position(), check=_check)


def _position() -> dict[str, Any]:
    return {"cache_position": param((), "zeros", dtype="int32")}


def _rows(x: Any, *, length: int) -> tuple[int, int]:
    return length, x.shape[-1]


def _check(x: Any, *, length: int | None = None) -> str | None:
    if x.ndim != 3:
        return "needs a sequence (batch, time, features)"
    if length is not None and x.shape[1] > length and x.shape[1] not in PROBES:
        return f"needs at most {length} tokens"
    return None


def _places(x: Any, first: Any) -> Any:
    return jnp.arange(x.shape[1]) + first


def _embedded(x: Any, *, kernel: Any, first: Any = 0) -> Any:
    return x + layers.embedding(_places(x, first), kernel)[None]


def _embedded_from(x: Any, *, kernel: Any, cache_position: Any) -> Any:
    new = {"cache_position": cache_position + x.shape[1]}
    return _embedded(x, kernel=kernel, first=cache_position), new


def _waved(x: Any, *, base: float, first: Any = 0) -> Any:
    waves = layers.sinusoidal(_places(x, first), x.shape[-1], base=base)
    return x + waves[None].astype(x.dtype)


def _waved_from(x: Any, *, base: float, cache_position: Any) -> Any:
    new = {"cache_position": cache_position + x.shape[1]}
    return _waved(x, base=base, first=cache_position), new
