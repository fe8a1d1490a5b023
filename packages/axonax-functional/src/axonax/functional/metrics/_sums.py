"""Sums in float32 that forget nothing: each is two floats, the rounded sum and what rounding took away.

A sum of n numbers is off by about n * 2**-48 of their absolute sum at most, however it is cut (two-sum: D. E.
Knuth, The Art of Computer Programming, vol. 2, 4.2.2, theorem B; the pair: T. J. Dekker, 1971).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

Halves = tuple[jax.Array, jax.Array]
_ROWS, _LANES = 8, 16
"""how many rows are added at once, few enough to be read where they are made, and the numbers of a row"""


def zeros(shape: tuple[int, ...]) -> jax.Array:
    """Sums at zero: float32 of shape ``(*shape, 2)``."""
    return jnp.zeros((*shape, 2), jnp.float32)


def of(values: jax.Array, axis: tuple[int, ...]) -> jax.Array:
    """Sums of ``values`` over ``axis``, which are the last dimensions."""
    lead = values.shape[: values.ndim - len(axis)]
    flat = values.astype(jnp.float32).reshape(*lead, math.prod(values.shape[len(lead) :]))
    found = _summed(flat)
    return jnp.stack([found.real, found.imag], axis=-1)


def scatter(values: jax.Array, places: jax.Array, length: int) -> jax.Array:
    """Sums of the ``values`` that go to each of ``length`` places; place ``length`` is nowhere."""
    values = jnp.where(places < length, values.astype(jnp.float32), 0)
    # Multiples of the quantum add up without rounding: 24 bits hold the largest sum of them.
    exponent = jnp.frexp(jnp.max(jnp.abs(values), initial=0))[1] + max(values.size, 1).bit_length()
    quantum = jnp.ldexp(jnp.float32(1), jnp.maximum(exponent - 24, -100))
    coarse = jnp.round(values / quantum) * quantum
    zero = jnp.zeros(length, jnp.float32)
    halves = [zero.at[places].add(each, mode="drop") for each in (coarse, values - coarse)]
    return add(zeros((length,)), jnp.stack(halves, axis=-1))


def add(left: jax.Array, right: jax.Array) -> jax.Array:
    """The sum of two arrays of sums of one shape."""
    return jnp.stack(_two_sum((left[..., 0], left[..., 1]), (right[..., 0], right[..., 1])), axis=-1)


def to_float(sums: jax.Array) -> jax.Array:
    """The sums as float32."""
    return sums[..., 0] + sums[..., 1]


def _summed(values: jax.Array) -> jax.Array:
    """The pairs over the last dimension, as complex numbers: that is one array, and so one loop of a CPU."""
    whole = values.shape[-1] // (_ROWS * _LANES) * _ROWS * _LANES
    if whole <= _ROWS * _LANES:
        # Two arrays here: devices cannot add complex numbers up in a way of our own.
        halves, zero = (values.real, values.imag), jnp.float32(0)
        return jax.lax.complex(*jax.lax.reduce(halves, (zero, zero), _two_sum, (values.ndim - 1,)))
    # Blocks of neighbours, not far parts: what is spread over devices stays there.
    blocks = values[..., :whole].reshape(*values.shape[:-1], -1, _ROWS, _LANES)
    folded = _folded([blocks[..., row, :] for row in range(_ROWS)])
    found = _summed(folded.reshape(*values.shape[:-1], whole // _ROWS))
    rest = values[..., whole:]
    return _two_sum_complex(found, _summed(rest)) if rest.shape[-1] else found


def _folded(rows: list[jax.Array]) -> jax.Array:
    """The sum of a few arrays element by element, of numbers or pairs; what is lost is carried at the end."""
    total, lost = rows[0].real, rows[0].imag
    for row in rows[1:]:
        before, total = total, total + row.real
        part = total - before
        lost = lost + ((before - (total - part)) + (row.real - part) + row.imag)
    return jax.lax.complex(*_carried(total, lost))


def _two_sum_complex(left: jax.Array, right: jax.Array) -> jax.Array:
    return jax.lax.complex(*_two_sum((left.real, left.imag), (right.real, right.imag)))


def _two_sum(left: Halves, right: Halves) -> Halves:
    total = left[0] + right[0]
    part = total - left[0]
    lost = (left[0] - (total - part)) + (right[0] - part) + (left[1] + right[1])
    # What was lost is carried over as soon as it counts, or it would be rounded in its turn after 1e6 terms.
    return _carried(total, lost)


def _carried(total: jax.Array, lost: jax.Array) -> Halves:
    carried = total + lost
    return carried, lost - (carried - total)
