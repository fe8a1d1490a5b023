"""Logarithms of probabilities and of sums of exponentials, exact at the edges."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from axonax.functional import _examples
from axonax.functional.losses import _reduction


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def floored(probabilities: jax.Array, floor: float) -> jax.Array:
    """``log(max(p, floor))`` with the slope ``1 / max(p, floor, 2**-100)``.

    The slope goes on below the floor, where a confidently wrong prediction needs it; its bound leaves room
    for weights and loss scales, whose overflow would come out of a softmax as NaN.
    """
    return jnp.log(jnp.maximum(probabilities, floor))


@floored.defjvp
def _floored_jvp(
    floor: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    bounded = _reduction.clip(primals[0], max(floor, 2.0**-100), jnp.inf)
    return floored(primals[0], floor), tangents[0] / bounded


@jax.custom_jvp
def sigmoids(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``log sigmoid(x)`` and ``log sigmoid(-x)``."""
    common = jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return jnp.minimum(logits, 0) - common, jnp.minimum(-logits, 0) - common


@sigmoids.defjvp
def _sigmoids_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    log_p, log_q = sigmoids(primals[0])
    return (log_p, log_q), (jnp.exp(log_q) * tangents[0], -jnp.exp(log_p) * tangents[0])


def shifted(logits: jax.Array) -> jax.Array:
    """Logits less the largest of the last dimension; one of inf is taken for the largest finite number."""
    return below(logits, largest(logits))


def largest(logits: jax.Array) -> jax.Array:
    """The largest of the last dimension, ``(B, ..., 1)``, finite if it is inf; a constant to the gradient."""
    return finite(jnp.max(jax.lax.stop_gradient(logits), axis=-1, keepdims=True, initial=-jnp.inf))


def finite(logits: jax.Array) -> jax.Array:
    """Logits of which inf is the largest finite number."""
    return jnp.minimum(logits, float(_examples.limits(logits.dtype).max))


@jax.custom_jvp
def below(logits: jax.Array, largest: jax.Array) -> jax.Array:
    """Logits less the largest; inf less the largest finite number is 0."""
    # A bound of 0 on the difference would halve the slope of the largest where a scan is differentiated
    # twice: JAX takes the second derivative from here, not from the rule.
    return finite(logits) - largest


@below.defjvp
def _below_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # An infinite logit has a slope too.
    return below(*primals), tangents[0] - tangents[1]


def log_softmax(logits: jax.Array) -> jax.Array:
    """The logarithms of the probabilities, over the last dimension."""
    below = shifted(logits)
    return below - sum_exp(below)[..., None]


@jax.custom_jvp
def sum_exp(shifted: jax.Array) -> jax.Array:
    """``log sum_c exp(shifted_c)`` over the last dimension, whose largest number is 0.

    As ``log(1 + rest)``, right to a few ulp also where one class is nearly certain: a loss of 1e-9 is not 0.
    """
    exponentials = jnp.exp(shifted)
    total = jnp.sum(exponentials, axis=-1)
    # The largest may be next to 1 rather than 1: fused loops compute logits again, and round them otherwise.
    rest = jnp.sum(exponentials - jnp.floor(exponentials + 0.5), axis=-1)
    # How many were rounded up to 1. Without a choice in between, a CPU's library computes all in one loop.
    ones = jnp.floor(total - rest + 0.5)
    return jnp.log1p(rest + (ones - 1))


@sum_exp.defjvp
def _sum_exp_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # The primal leaves the largest out of the sum, its derivative must not.
    total = sum_exp(primals[0])
    exponentials = jnp.exp(primals[0])
    softmax = exponentials / jnp.sum(exponentials, axis=-1, keepdims=True)
    return total, jnp.sum(softmax * tangents[0], axis=-1)
