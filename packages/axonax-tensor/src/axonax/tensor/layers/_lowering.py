"""How a convolution is computed: XLA's own on accelerators, what XLA runs fast on a CPU.

XLA brings convolutions into the form that its fast CPU kernels want (``NHWC`` by ``HWIO``) outside of loops
only: within `jax.lax.scan` the gradients of a plain convolution run up to 200 times slower. Grouped
convolutions are slow there everywhere.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor.layers._arrays import accumulator, along
from axonax.tensor.layers._windows import Pairs

_AXES = {1: "W", 2: "HW", 3: "DHW"}
# Each of these is written out, so that time to compile grows with it.
_MOST_PRODUCTS = 32
_MOST_SHIFTS = 64
_MOST_PARTS = 16


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """All of a convolution but its arrays."""

    strides: tuple[int, ...]
    pads: Pairs
    input_dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]
    groups: int = 1
    batch_groups: int = 1


@functools.partial(jax.jit, static_argnames="how")
def convolve(x: jax.Array, kernel: jax.Array, how: Convolution) -> jax.Array:
    """``x`` of ``(batch, *spatial, in)`` by ``kernel`` of ``(*window, in / groups, out)``.

    Both come in one dtype; the result is in that of the sums, float32 for half precision.
    """
    wide = accumulator(x.dtype) or x.dtype

    def on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _on_cpu(x.astype(wide), kernel.astype(wide), how)

    def elsewhere(x: jax.Array, kernel: jax.Array) -> jax.Array:
        # Half precision in and out, which cuDNN and TPUs sum in float32. Asked for a float32 result they
        # would be handed float32 arrays, and so would be the gradients' convolutions.
        return _plain(x, kernel, how).astype(wide)

    # Gradients cut slices and transpose again rather than keep the results.
    slim = jax.checkpoint(on_cpu, prevent_cse=False)
    result: jax.Array = jax.lax.platform_dependent(x, kernel, cpu=slim, default=elsewhere)
    return result


def _on_cpu(x: jax.Array, kernel: jax.Array, how: Convolution) -> jax.Array:
    """The same by what is fast on a CPU."""
    *window, per_group, _ = kernel.shape
    parts = max(how.groups, how.batch_groups)
    if how.groups > 1 and per_group == 1 and math.prod(window) <= _MOST_SHIFTS:
        return _by_shifts(x, kernel, how)
    if parts > _MOST_PARTS:
        return _plain(x, kernel, how)
    if parts > 1:
        return _by_parts(x, kernel, how, parts)
    if (math.prod(window) == 1 or len(window) == 3) and math.prod(window[:-1]) <= _MOST_PRODUCTS:
        return _by_products(x, kernel, how)
    return _whole(x, kernel, how)


def _plain(
    x: jax.Array, kernel: jax.Array, how: Convolution, dims: tuple[str, str, str] | None = None
) -> jax.Array:
    axes = _AXES[len(how.strides)]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        how.strides,
        how.pads,
        lhs_dilation=how.input_dilation,
        rhs_dilation=how.kernel_dilation,
        dimension_numbers=dims or (f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=how.groups,
        batch_group_count=how.batch_groups,
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _whole(x: jax.Array, kernel: jax.Array, how: Convolution) -> jax.Array:
    return _plain(x, kernel, how)


@_whole.defjvp
def _whole_jvp(how: Convolution, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Two convolutions whose layouts are such that their transposes have the form that XLA wants."""
    (x, kernel), (dx, dkernel) = primals, tangents
    axes = _AXES[len(how.strides)]
    by_x = _plain(dx, jnp.swapaxes(kernel, -1, -2), how, (f"N{axes}C", f"{axes}OI", f"N{axes}C"))
    dims = (f"C{axes}N", f"I{axes}O", f"{axes}NC")
    by_kernel = _plain(jnp.swapaxes(x, 0, -1), jnp.moveaxis(dkernel, -2, 0), how, dims)
    return _whole(x, kernel, how), by_x + jnp.moveaxis(by_kernel, -2, 0)


def _by_parts(x: jax.Array, kernel: jax.Array, how: Convolution, parts: int) -> jax.Array:
    """Each group on its own."""
    one = Convolution(
        strides=how.strides,
        pads=how.pads,
        input_dilation=how.input_dilation,
        kernel_dilation=how.kernel_dilation,
    )
    pairs = zip(jnp.split(x, parts, -1 if how.groups > 1 else 0), jnp.split(kernel, parts, -1), strict=True)
    return jnp.concatenate([_on_cpu(*pair, how=one) for pair in pairs], -1)


def _by_shifts(x: jax.Array, kernel: jax.Array, how: Convolution) -> jax.Array:
    """One channel to a group: a sum over the window of what all positions see there, times a row."""
    *window, _, out = kernel.shape
    x = jnp.repeat(_padded(x, how), out // x.shape[-1], axis=-1)
    offsets = itertools.product(*map(range, window))
    terms = (_seen(x, kernel.shape, how, at) * along(kernel[at], x.ndim) for at in offsets)
    return functools.reduce(jnp.add, terms)


def _by_products(x: jax.Array, kernel: jax.Array, how: Convolution) -> jax.Array:
    """What each row of the window sees, side by side, times the row, summed over the rows."""
    *window, _, out = kernel.shape
    x = _padded(x, how)
    products = []
    for at in itertools.product(*map(range, window[:-1])):
        row = [_seen(x, kernel.shape, how, (*at, last)) for last in range(window[-1])]
        products.append(jnp.concatenate(row, -1) @ kernel[at].reshape(-1, out))
    return functools.reduce(jnp.add, products)


def _padded(x: jax.Array, how: Convolution) -> jax.Array:
    sides = ((low, high, d - 1) for (low, high), d in zip(how.pads, how.input_dilation, strict=True))
    return jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *sides, (0, 0, 0)))


def _seen(x: jax.Array, kernel: tuple[int, ...], how: Convolution, at: tuple[int, ...]) -> jax.Array:
    """What all positions see of a padded ``x`` at one place of the window."""
    starts, ends = [], []
    axes = zip(x.shape[1:-1], kernel, at, how.strides, how.kernel_dilation, strict=False)
    for size, length, place, stride, dilation in axes:
        span = max(size - (length - 1) * dilation - 1, -1) // stride * stride + 1
        starts.append(place * dilation)
        ends.append(place * dilation + max(span, 0))
    return jax.lax.slice(x, (0, *starts, 0), (x.shape[0], *ends, x.shape[-1]), (1, *how.strides, 1))
