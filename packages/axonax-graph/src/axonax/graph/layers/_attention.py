"""Attention with projections of its own, and a cache for decoding step by step."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, Param, param
from axonax.graph.data._values import PROBES
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import fraction, number, positive
from axonax.tensor import initializers, layers

_PROJECTIONS = ("query", "key", "value")


@builder
def multi_head_attention(
    heads: int,
    *,
    size: int | None = None,
    units: int | None = None,
    kv_heads: int | None = None,
    causal: bool = False,
    window: int | Sequence[int | None] | None = None,
    rotary: bool | float = False,
    soft_cap: float | None = None,
    scale: float | None = None,
    dropout_rate: float = 0.0,
    use_bias: bool = True,
    implementation: str | None = None,
    cache: int | None = None,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Attention of several heads: `axonax.tensor.layers.dot_product_attention` between projections.

    ``x | layer`` attends to itself, ``layer(x, context)`` to another sequence, ``layer(q, k, v)`` takes keys
    and values apart. By name it takes ``mask=`` and ``bias=``, which broadcast to ``(batch, heads, queries,
    keys)``, and ``key_lengths=`` ``(batch,)``.

    Args:
        heads: of the queries.
        size: of a head; ``features / heads`` if ``None``.
        units: of the output; those of the queries' input if ``None``.
        kv_heads: of keys and values; ``heads`` if ``None``. Fewer make grouped-query attention.
        causal: a query sees no later key.
        window: ``(left, right)``, how far a query sees; ``None`` for no limit, one number for both sides.
        rotary: turn queries and keys by their positions; a number is the base of the frequencies
            (``True``: 10000).
        soft_cap: scaled scores become ``soft_cap * tanh(scores / soft_cap)``.
        scale: of the scores; ``size**-0.5`` if ``None``.
        dropout_rate: of the weights, while training.
        use_bias: whether projections have biases.
        implementation: as for `axonax.tensor.layers.dot_product_attention`.
        cache: how many tokens keys and values are kept of, as buffers, from call to call; the layer is then
            causal and attends to itself. `generate` sets it.
        kernel_initializer: of ``query/kernel (in, heads, size)``, ``key/kernel`` and ``value/kernel
            (in, kv_heads, size)``, ``output/kernel (heads, size, units)``, with the fans of matrices.
        bias_initializer: of their biases.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, queries, in)`` to ``(batch, queries, units)``.

    Raises:
        ValueError: a size that is not a positive integer, ``heads`` that ``kv_heads`` does not divide, a rate
            that is not in [0, 1].

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, None, 64)) | nn.multi_head_attention(8, causal=True)
    """
    who = "multi_head_attention"
    heads = positive(who, "heads", heads)
    given = {"size": size, "units": units, "kv_heads": kv_heads, "cache": cache}
    size, units, kv_heads, cache = (
        None if value is None else positive(who, name, value) for name, value in given.items()
    )
    kv_heads = heads if kv_heads is None else kv_heads
    if heads % kv_heads:
        raise ValueError(f"{who}: kv_heads must divide heads, got {kv_heads} and {heads}")
    base = 10000.0 if rotary is True else number(who, "rotary", float(rotary))
    sizes = _Sizes(heads, kv_heads, size, units)
    options = {
        "causal": bool(causal),
        "window": window,
        "base": base or None,
        "soft_cap": soft_cap,
        "scale": scale,
        "dropout_rate": fraction(who, "dropout_rate", dropout_rate),
        "implementation": implementation,
    }
    return computes(
        _attend if cache is None else _attend_cached,
        params=_projections(sizes, use_bias, kernel_initializer, bias_initializer),
        buffers={} if cache is None else _cache(sizes, cache),
        options=options,
        needs=frozenset({"key"}) if options["dropout_rate"] else frozenset(),
        arity=(1, 3) if cache is None else 1,
        named=("mask", "bias", "key_lengths"),
        check=functools.partial(_check, heads=heads, size=size),
    )


class _Sizes:
    """The sizes of projections, once the features are known."""

    def __init__(self, heads: int, kv_heads: int, size: int | None, units: int | None) -> None:
        self.heads, self.kv_heads, self.size, self.units = heads, kv_heads, size, units

    def of(self, x: Any) -> int:
        """The size of a head."""
        return int(x.shape[-1]) // self.heads if self.size is None else self.size

    def kernel(self, *inputs: Any, part: str) -> tuple[int, ...]:
        """The shape of a projection's kernel."""
        if part == "output":
            return (self.heads, self.of(inputs[0]), self.out(inputs[0]))
        source = inputs[min(_PROJECTIONS.index(part), len(inputs) - 1)]
        return (source.shape[-1], self.heads if part == "query" else self.kv_heads, self.of(inputs[0]))

    def bias(self, *inputs: Any, part: str) -> tuple[int, ...]:
        """The shape of a projection's bias."""
        return self.kernel(*inputs, part=part)[1:] if part != "output" else (self.out(inputs[0]),)

    def out(self, x: Any) -> int:
        """The features of the output."""
        return int(x.shape[-1]) if self.units is None else self.units

    def held(self, x: Any, *, capacity: int) -> tuple[int, ...]:
        """The shape of the keys or values in a cache."""
        return (x.shape[0], capacity, self.kv_heads, self.of(x))


def _projections(
    sizes: _Sizes, use_bias: bool, kernel: str | Initializer, bias: str | Initializer
) -> dict[str, Param]:
    found = {}
    for part in (*_PROJECTIONS, "output"):
        split = 2 if part == "output" else 1
        draw = functools.partial(_as_matrix, initializer=initializers.by_name(kernel), split=split)
        found[f"{part}/kernel"] = param(functools.partial(sizes.kernel, part=part), draw)
        if use_bias:
            found[f"{part}/bias"] = param(functools.partial(sizes.bias, part=part), bias)
    return found


def _as_matrix(key: Any, shape: tuple[int, ...], dtype: Any, *, initializer: Any, split: int) -> Any:
    """A kernel of heads drawn as the matrix that it is, so that its fans are those of the matrix."""
    rows = 1
    for each in shape[:split]:
        rows *= each
    columns = 1
    for each in shape[split:]:
        columns *= each
    return initializer(key, (rows, columns), dtype).reshape(shape)


def _cache(sizes: _Sizes, capacity: int) -> dict[str, Param]:
    held = functools.partial(sizes.held, capacity=capacity)
    return {
        "cache_key": param(held, "zeros"),
        "cache_value": param(held, "zeros"),
        "cache_position": param((), "zeros", dtype="int32"),
    }


def _check(x: Any, *others: Any, heads: int, size: int | None, **named: Any) -> str | None:
    if any(each.ndim != 3 for each in (x, *others)):
        return "needs sequences (batch, time, features)"
    if size is None and x.shape[-1] % heads:
        return f"needs features that heads={heads} divides, or a size="
    return None


def _attend(
    x: Any, *others: Any, base: float | None, dropout_rate: float, key: Any = None, **given: Any
) -> Any:
    params = _split(given)
    sources = (x, *others, *others[-1:] * (2 - len(others))) if others else (x, x, x)
    query, keys, values = (
        layers.project_heads(source, params[part]["kernel"], params[part].get("bias"))
        for part, source in zip(_PROJECTIONS, sources, strict=True)
    )
    if base is not None:
        query, keys = (layers.rotary_embedding(each, base=base) for each in (query, keys))
    found = layers.dot_product_attention(
        query, keys, values, dropout_rate=dropout_rate, dropout_key=key, **given
    )
    return layers.merge_heads(found, params["output"]["kernel"], params["output"].get("bias"))


def _attend_cached(
    x: Any,
    *,
    cache_key: Any,
    cache_value: Any,
    cache_position: Any,
    base: float | None,
    mask: Any = None,
    causal: bool,
    window: Any,
    dropout_rate: float,
    key: Any = None,
    **given: Any,
) -> Any:
    """Attention of new tokens to those in the cache and to themselves."""
    params = _split(given)
    query, keys, values = (
        layers.project_heads(x, params[part]["kernel"], params[part].get("bias")) for part in _PROJECTIONS
    )
    if base is not None:
        turn = functools.partial(layers.rotary_embedding, offset=cache_position, base=base)
        query, keys = turn(query), turn(keys)
    capacity, spare = cache_key.shape[1], _beyond(x, cache_key)
    held = (jnp.pad(each, ((0, 0), (0, spare), (0, 0), (0, 0))) for each in (cache_key, cache_value))
    cache = layers.KVCache(key=next(held), value=next(held), position=cache_position)
    cache, keys, values, seen = cache.update(keys, values)
    if window is not None:
        seen &= layers.sliding_window_mask(
            query.shape[1], cache.capacity, window=window, offset=cache_position
        )
    seen = (
        seen[None, None] if mask is None else jnp.logical_and(*jnp.broadcast_arrays(seen[None, None], mask))
    )
    found = layers.dot_product_attention(
        query, keys.astype(query.dtype), values.astype(query.dtype), mask=seen,
        dropout_rate=dropout_rate, dropout_key=key, **given,
    )  # fmt: skip
    output = layers.merge_heads(found, params["output"]["kernel"], params["output"].get("bias"))
    key_held, value_held = cache.key[:, :capacity], cache.value[:, :capacity]
    return output, {"cache_key": key_held, "cache_value": value_held, "cache_position": cache.position}


def _beyond(x: Any, held: Any) -> int:
    """How much more room a stand-in for an open time needs than there is."""
    count = int(x.shape[1])
    return count if count in PROBES and count > held.shape[1] else 0


def _split(given: dict[str, Any]) -> Mapping[str, dict[str, Any]]:
    """The projections among keyword arguments, which they are taken out of."""
    params: dict[str, dict[str, Any]] = {part: {} for part in (*_PROJECTIONS, "output")}
    for part, own in params.items():
        for name in ("kernel", "bias"):
            if f"{part}/{name}" in given:
                own[name] = given.pop(f"{part}/{name}")
    return params
