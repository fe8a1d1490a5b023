"""Cross-entropy of a softmax, from logits: values and slopes in as few passes over the classes as can be.

Each exponential is computed once and serves the value and the slope. The largest is left out of the sum
that the logarithm is taken of (``log1p``), so that a loss of 1e-9 is not 0.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional.losses import _logarithms

Zero = jax.custom_derivatives.SymbolicZero


@jax.custom_jvp
def of_indices(logits: jax.Array, index: jax.Array) -> jax.Array:
    """``log sum_c exp(logits_c) - logits_index``.

    Args:
        logits: ``(B, ..., K)``, float32 or wider.
        index: integers in [0, K), ``(B, ...)``.

    Returns:
        ``(B, ...)``: inf at a class of -inf, and 0 at one of inf.
    """
    _, rest, own = _without_index(logits, index)
    below = jnp.log(rest + jnp.exp(own)) - own
    return jnp.where(own == 0, jnp.log1p(rest), below)


@of_indices.defjvp
def _of_indices_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, Any]
) -> tuple[jax.Array, jax.Array]:
    logits, index = primals
    others, rest, own = _without_index(logits, index)
    total = rest + jnp.exp(own)
    slope = jnp.sum(others / total[..., None] * tangents[0], axis=-1)
    return of_indices(logits, index), slope - rest / total * at(tangents[0], index)


@jax.custom_jvp
def of_distributions(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """``sum_c targets_c (log sum_d exp(logits_d) - logits_c)``, in which 0 times inf is 0.

    Args:
        logits: ``(B, ..., K)``, float32 or wider.
        targets: of the same shape and dtype.

    Returns:
        ``(B, ...)``.
    """
    shifted, total = _shifted_and_total(logits)[1:]
    return jnp.sum(jnp.where(targets == 0, 0, targets * (total[..., None] - shifted)), axis=-1)


def _of_distributions_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[Any, Any]
) -> tuple[jax.Array, jax.Array]:
    logits, targets = primals
    exponentials, shifted, total = _shifted_and_total(logits)
    slope: jax.Array = jnp.zeros_like(total)
    if not isinstance(tangents[0], Zero):
        scale = jnp.sum(targets, axis=-1) * jnp.exp(-total)
        slope = slope + jnp.sum((exponentials * scale[..., None] - targets) * tangents[0], axis=-1)
    if not isinstance(tangents[1], Zero):
        logs = jnp.where((targets == 0) & (shifted == -jnp.inf), 0, shifted)
        slope = slope + jnp.sum((total[..., None] - logs) * tangents[1], axis=-1)
    return of_distributions(logits, targets), slope


# Targets are constants as a rule: a pass over them for a slope of 0 would cost as much as the other.
of_distributions.defjvp(_of_distributions_jvp, symbolic_zeros=True)


def at(rows: jax.Array, index: jax.Array) -> jax.Array:
    """The number of each row at its index, ``(B, ..., K)`` and ``(B, ...)``."""
    found: jax.Array = _mapped(lambda row, i: row.at[i].get(mode="promise_in_bounds"), index.ndim)(
        rows, index
    )
    return found


def _mapped(function: Any, times: int) -> Any:
    # Mapped, a partitioned batch stays on its devices; an index into all dimensions may gather it.
    for _ in range(times):
        function = jax.vmap(function)
    return function


def _shift(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits less the largest, and that; one of inf is taken for the largest finite number."""
    largest = _logarithms.largest(logits)
    return _logarithms.below(logits, largest), largest


def _without_index(logits: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Exponentials of the shifted logits with 0 at the index, their sum, and the shifted logit there."""
    shifted, largest = _shift(logits)
    remove = _mapped(lambda row, i: row.at[i].set(0, mode="promise_in_bounds"), index.ndim)
    others = remove(jnp.exp(shifted), index)
    # Picked before it is shifted: the shifted logits need not be in memory.
    own = _logarithms.finite(at(logits, index)) - largest[..., 0]
    return others, jnp.sum(others, axis=-1), own


def _shifted_and_total(logits: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Exponentials of the shifted logits, these, and the logarithm of the sum of those."""
    shifted, _ = _shift(logits)
    return jnp.exp(shifted), shifted, _logarithms.sum_exp(shifted)
