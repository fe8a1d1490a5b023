"""Attention by `jax.nn`, and by cuDNN's fused kernel in it where that is right: chosen when it is lowered.

JAX has the kernel and its gradient. Here stand the choice, the queries that see nothing, `jax.vmap`, and what
runs in place of the kernel where the program is lowered for another platform.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.tensor.layers._attention_masks import visible
from axonax.tensor.layers._attention_scores import Seen, Sizes, mixed, powers_of

Arrays = tuple[jax.Array, jax.Array, jax.Array]
Floats = tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]
"""query, key, value, and a finite bias or none"""
Others = tuple[jax.Array | None, jax.Array | None, jax.Array | None]
"""a mask and the lengths of queries and of keys, at least 1; or none"""

_PLATFORM = "cuda"
# What the kernel works on at once. Its gradient has been NaN where a rest was left, and XLA's scores are no
# larger than the arrays themselves below.
_TILE = 128
_LARGEST = 128


class How(NamedTuple):
    """A call of `jax.nn` but for its arrays."""

    sizes: Sizes
    scale: float
    causal: bool
    left: int | None


def fits(arrays: Arrays, seen: Seen, sizes: Sizes, scale: Any) -> bool:
    """Whether the kernel gives what ours gives, within the rounding of half precision, and is the faster.

    Half precision; heads of one size for keys and values, a multiple of 8 up to 128; whole tiles of queries
    and of keys; a bias that is in half precision itself; a scale that is no array.
    """
    query, _, value = arrays
    return (
        query.dtype.name in ("bfloat16", "float16")
        and sizes.size == value.shape[-1] <= _LARGEST
        and not (sizes.size % 8 or sizes.queries % _TILE or sizes.keys % _TILE)
        and 0 not in sizes
        and (seen.bias is None or seen.bias.dtype == query.dtype)
        and isinstance(scale, Real)
    )


def fused(arrays: Arrays, seen: Seen, sizes: Sizes, scale: Any) -> jax.Array | None:
    """By the kernel where the program is lowered for CUDA; ``None`` where it does not fit or is not there."""
    # Within `jax.shard_map` JAX loses track of the axes along which the kernel's results vary.
    within_map = jax.sharding.get_abstract_mesh().manual_axes
    if within_map or not fits(arrays, seen, sizes, scale) or jax.default_backend() != "gpu":
        return None
    floats, others, how = _operands(arrays, seen, sizes, float(scale))
    one = Sizes(1, _TILE, _TILE, sizes.groups, 1, sizes.size)
    small = how._replace(sizes=one, scale=1.0, left=how.left and 1)
    biased = floats[3] is not None or others[0] is not None
    if not _compiles(small, floats[0].dtype, biased, others[1] is not None):
        return None
    return _cleared(_chosen(how, floats, others), seen, sizes)


def handed(arrays: Arrays, seen: Seen, sizes: Sizes, scale: float, implementation: Any) -> jax.Array:
    """By an implementation of `jax.nn`, on whatever platform."""
    floats, others, how = _operands(arrays, seen, sizes, scale)
    return _cleared(_by_jax(how, floats, others, implementation), seen, sizes)


def _operands(arrays: Arrays, seen: Seen, sizes: Sizes, scale: float) -> tuple[Floats, Others, How]:
    """What `jax.nn` is told by name, where it has one; all else goes into the mask."""
    bias, mask, (left, right) = seen.bias, seen.mask, seen.window
    if bias is not None:
        finite = bias != -jnp.inf
        mask = finite if mask is None else mask & finite
        bias = jnp.where(finite, bias, 0).astype(arrays[0].dtype)
    # jax.nn stands the first query at the first key, and cuDNN knows a window only where causal, and alone.
    causal = right == 0 and sizes.queries == sizes.keys
    if not causal or (left is not None and (mask is not None or seen.lengths != (None, None))):
        mask, left = visible((sizes.queries, sizes.keys), mask, seen.window, None, None), None
    # cuDNN wants the last two axes whole.
    if bias is not None:
        bias = jnp.broadcast_to(bias, (*bias.shape[:2], sizes.queries, sizes.keys))
    if mask is not None:
        # A query that sees nothing is shown all, and cleared afterwards: a row of masks alone is where the
        # gradients of fused kernels have been NaN.
        shown = visible((sizes.queries, sizes.keys), mask, seen.window, None, None)
        mask = mask | ~jnp.any(jnp.asarray(shown), -1, keepdims=True)
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], sizes.queries, sizes.keys))
    return (*arrays, bias), (mask, *_lengths(seen, sizes)), How(sizes, scale, causal, left)


def _lengths(seen: Seen, sizes: Sizes) -> tuple[jax.Array | None, jax.Array | None]:
    if seen.lengths == (None, None):
        return None, None
    queries, keys = (
        # cuDNN gives NaN, and NaN as the gradient, where a sequence is empty.
        jnp.full(sizes.batch, full, "int32") if given is None else jnp.maximum(given, 1).astype("int32")
        for given, full in zip(seen.lengths, (sizes.queries, sizes.keys), strict=True)
    )
    return queries, keys


def _cleared(found: jax.Array, seen: Seen, sizes: Sizes) -> jax.Array:
    """0 in place of what `jax.nn` gives a query that sees nothing, the mean of the values."""
    shown = seen.visible
    if seen.bias is not None:
        finite = seen.bias != -jnp.inf
        shown = finite if shown is None else shown & finite
    if shown is None or seen.always(sizes):
        return found
    return jnp.where(jnp.swapaxes(jnp.any(shown, -1), 1, 2)[..., None], found, 0)


@functools.cache
def _compiles(how: How, dtype: Any, biased: bool, padded: bool) -> bool:
    """Whether the GPU here and its cuDNN have the kernel in this form, with its gradient."""

    def array(*shape: int, dtype: Any = dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]

    _, time, _, heads, kv_heads, size = how.sizes
    query, key = array(1, time, heads, size), array(1, time, kv_heads, size)
    length = array(1, dtype="int32") if padded else None
    others = (None, length, length)

    def both(floats: Floats, others: Others, cotangent: jax.Array) -> Any:
        value, pull = jax.vjp(lambda floats: _by_jax(how, floats, others, "cudnn"), floats)
        return value, pull(cotangent)

    def compile_it() -> None:
        floats = (query, key, key, array(1, heads, time, time) if biased else None)
        with jax.default_device(jax.local_devices(backend="gpu")[0]):
            jax.jit(both).lower(floats, others, query).compile()

    # A thread of its own inherits neither the trace that this is called in nor a mesh.
    with ThreadPoolExecutor(1) as executor:
        try:
            executor.submit(compile_it).result()
        except (RuntimeError, ValueError):
            return False
    return True


def _by_jax(how: How, floats: Floats, others: Others, implementation: Any) -> jax.Array:
    query_lengths, key_lengths = others[1:]
    return jax.nn.dot_product_attention(
        *floats,
        others[0],
        scale=how.scale,
        is_causal=how.causal,
        query_seq_lengths=query_lengths,
        key_value_seq_lengths=key_lengths,
        local_window_size=None if how.left is None else (how.left, 0),
        implementation=implementation,
    )


def _kernel(how: How, floats: Floats, others: Others) -> jax.Array:
    return _by_jax(how, floats, others, "cudnn")


def _ours(how: How, floats: Floats, others: Others) -> jax.Array:
    """The same by ours."""
    (query, key, value, bias), (mask, *lengths) = floats, others
    window = (how.left, 0) if how.causal else (None, None)
    shown = visible((how.sizes.queries, how.sizes.keys), mask, window, *lengths)
    seen = Seen(bias, mask, window, (lengths[0], lengths[1]), shown)
    return mixed(*powers_of(query, key, seen, how.sizes, how.scale, None), value, how.sizes)


def _pulled(how: How, floats: Floats, others: Others) -> tuple[jax.Array, Any]:
    """The kernel's value, and the function that pulls back through it."""
    return jax.vjp(lambda floats: _kernel(how, floats, others), floats)


def _value(how: How, floats: Floats, others: Others) -> jax.Array:
    found: jax.Array = jax.lax.platform_dependent(
        floats,
        others,
        **{_PLATFORM: functools.partial(_kernel, how)},
        default=functools.partial(_ours, how),
    )
    return found


def _kept(how: How, floats: Floats, others: Others) -> tuple[jax.Array, list[jax.Array]]:
    """The value, and what the kernel's gradient needs of it; ours needs nothing."""

    def kernel(floats: Floats, others: Others) -> tuple[jax.Array, list[jax.Array]]:
        value, pull = _pulled(how, floats, others)
        return value, jax.tree.leaves(pull)

    def ours(floats: Floats, others: Others) -> tuple[jax.Array, list[jax.Array]]:
        _, kept = jax.eval_shape(kernel, floats, others)
        return _ours(how, floats, others), [jnp.zeros(each.shape, each.dtype) for each in kept]

    found: tuple[jax.Array, list[jax.Array]] = jax.lax.platform_dependent(
        floats, others, **{_PLATFORM: kernel}, default=ours
    )
    return found


def _gradient(
    how: How, floats: Floats, others: Others, kept: list[jax.Array], cotangent: jax.Array
) -> Floats:
    def kernel(floats: Floats, others: Others, kept: list[jax.Array], cotangent: jax.Array) -> Any:
        pull = jax.eval_shape(lambda *each: _pulled(how, *each)[1], floats, others)
        return jax.tree.unflatten(jax.tree.structure(pull), kept)(cotangent)[0]

    def ours(floats: Floats, others: Others, kept: list[jax.Array], cotangent: jax.Array) -> Any:
        return jax.vjp(lambda floats: _ours(how, floats, others), floats)[1](cotangent)[0]

    found: Floats = jax.lax.platform_dependent(
        floats, others, kept, cotangent, **{_PLATFORM: kernel}, default=ours
    )
    return found


def _as_one_batch(call: Callable[..., Any], rejoined: Callable[[jax.Array], jax.Array]) -> Callable[..., Any]:
    """``call`` under `jax.vmap` as one call of a larger batch, which JAX's own rule makes of few forms.

    What the examples of a batch shared, each has for itself then; ``rejoined`` makes one of theirs.
    """

    def of(how: How, *operands: Any) -> Any:
        batch = how.sizes.batch
        one = jax.custom_batching.custom_vmap(functools.partial(call, how))

        def merged(x: jax.Array, batched: bool, count: int) -> jax.Array:
            own = x if batched else jnp.broadcast_to(x, (count, *x.shape))
            if own.shape[1] == 1:
                own = jnp.broadcast_to(own, (count, batch, *own.shape[2:]))
            return own.reshape(count * own.shape[1], *own.shape[2:])

        @one.def_vmap
        def many(count: int, batched: Any, *operands: Any) -> tuple[Any, Any]:
            single = jax.tree.map(lambda x, has: x[0] if has else x, list(operands), batched)
            expected = jax.eval_shape(functools.partial(call, how), *single)
            wide = how._replace(sizes=how.sizes._replace(batch=count * batch))
            flat = jax.tree.map(functools.partial(merged, count=count), list(operands), batched)

            def parted(x: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
                parts = x.reshape(count, x.shape[0] // count, *x.shape[1:])
                return parts if parts.shape[1:] == like.shape else rejoined(parts)

            results = jax.tree.map(parted, of(wide, *flat), expected)
            return results, jax.tree.map(lambda _: True, results)

        return one(*operands)

    return of


_mapped_value = _as_one_batch(_value, lambda parts: parts)
_mapped_kept = _as_one_batch(_kept, lambda parts: parts[:, :1])
_mapped_gradient = _as_one_batch(_gradient, lambda parts: jnp.sum(parts, 1, keepdims=True))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chosen(how: How, floats: Floats, others: Others) -> jax.Array:
    value: jax.Array = _mapped_value(how, floats, others)
    return value


def _chosen_forward(how: How, floats: Floats, others: Others) -> tuple[jax.Array, Any]:
    value, kept = _mapped_kept(how, floats, others)
    return value, (floats, others, kept)


def _chosen_backward(how: How, saved: tuple[Floats, Others, Any], cotangent: jax.Array) -> tuple[Any, None]:
    return _mapped_gradient(how, *saved, cotangent), None


_chosen.defvjp(_chosen_forward, _chosen_backward)
