"""Recurrent layers by the step, once and over a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from axonax.tensor import activations
from axonax.tensor.layers._arrays import accumulator
from axonax.tensor.layers._recurrence import Recurrence, Unrolling, added, biased, hidden, run
from axonax.tensor.layers._recurrent_checks import Params, checked_carry, checked_mask, checked_params
from axonax.tensor.precision import promoted

Activation = str | Callable[[jax.Array], jax.Array]


def lstm_step(gate: Activation, activation: Activation) -> Recurrence:
    """The step of an LSTM."""
    return Recurrence(gates=4, states=2, update=lstm_update(gate, activation), arrange=_projected)


def lstm_update(gate: Activation, activation: Activation) -> Callable[..., Any]:
    """The new carry of an LSTM, from the terms of its gates on the last axis."""
    gated, activated = activations.by_name(gate), activations.by_name(activation)

    def update(carry: Any, terms: jax.Array, extra: Any, inner: Any) -> Any:
        i, f, _, o = opened(gated, terms, 4)
        c = f * carry[0] + i * activated(jnp.split(terms, 4, -1)[2])
        return c, o * activated(c)

    return update


def opened(gated: Callable[[jax.Array], jax.Array], terms: jax.Array, parts: int) -> list[jax.Array]:
    """The gate's activation of each part."""
    if gated is activations.sigmoid:
        # One loop over all becomes vector code on a CPU, several within a sum do not: a fifth of a step.
        return jnp.split(gated(terms), parts, -1)
    return [gated(each) for each in jnp.split(terms, parts, -1)]


def rnn_step(activation: Activation) -> Recurrence:
    """The step of a plain recurrent layer."""
    activated = activations.by_name(activation)

    def update(carry: Any, terms: jax.Array, extra: Any, inner: Any) -> Any:
        return activated(terms)

    return Recurrence(gates=1, states=1, update=update, arrange=_projected)


def gru_step(gate: Activation, activation: Activation, reset_after: bool) -> Recurrence:
    """The step of a GRU; without ``reset_after`` the candidate has a product of its own."""
    gated, activated = activations.by_name(gate), activations.by_name(activation)

    def after(carry: Any, terms: jax.Array, extra: Any, inner: Any) -> Any:
        r, z, _ = opened(gated, extra + terms, 3)
        return mixed(carry, z, jnp.split(extra, 3, -1)[2] + r * jnp.split(terms, 3, -1)[2])

    def before(carry: Any, terms: jax.Array, extra: Any, inner: Any) -> Any:
        r, z = opened(gated, terms, 2)
        return mixed(carry, z, extra + (r * carry) @ inner)

    def mixed(carry: Any, z: jax.Array, candidate: jax.Array) -> Any:
        return (1 - z) * activated(candidate) + z * carry

    if reset_after:
        optional = ("bias", "recurrent_bias")
        return Recurrence(gates=3, states=1, update=after, arrange=_gru_after, optional=optional)
    return Recurrence(gates=3, states=1, update=before, arrange=_gru_before)


def _projected(given: dict[str, jax.Array], x: jax.Array) -> tuple[Any, Any]:
    return (given["recurrent_kernel"], given.get("bias"), None), (x @ given["kernel"], None)


def _gru_after(given: dict[str, jax.Array], x: jax.Array) -> tuple[Any, Any]:
    # The candidate needs both products apart.
    weights = (given["recurrent_kernel"], given.get("recurrent_bias"), None)
    return weights, (None, biased(x @ given["kernel"], given.get("bias")))


def _gru_before(given: dict[str, jax.Array], x: jax.Array) -> tuple[Any, Any]:
    kernel, units = given["recurrent_kernel"], given["recurrent_kernel"].shape[0]
    total = biased(x @ given["kernel"], given.get("bias"))
    weights = (kernel[:, : 2 * units], None, kernel[:, 2 * units :])
    return weights, (total[..., : 2 * units], total[..., 2 * units :])


def stepped(op: str, cell: Recurrence, carry: Any, x: ArrayLike, params: Params) -> tuple[Any, jax.Array]:
    """One step over ``(batch, ..., in)``: the carry, and the output."""
    given = checked_params(op, params, cell.gates, cell.optional)
    x = jnp.asarray(x)
    _check_input(op, x, given, 0)
    dtype, wide = _dtypes(x, given)
    (kernel, bias, inner), (slot, extra) = cell.arrange(_cast(given, wide), x.astype(wide))
    leading = jax.tree.leaves((slot, extra))[0].shape[:-1]
    carry = checked_carry(op, carry, _fresh(cell, leading, given, dtype))
    old = _cast(carry, wide)
    terms = biased(added(slot, cell.multiply(hidden(old), kernel)), bias)
    new = cell.update(old, terms, extra, inner)
    return _as(new, carry), hidden(new).astype(dtype)


def sequence(
    op: str, cell: Recurrence, x: ArrayLike, params: Params, carry: Any, mask: Any, how: Unrolling
) -> tuple[jax.Array, Any]:
    """All steps over ``(batch, time, ..., in)``: the outputs, and the last carry."""
    given = checked_params(op, params, cell.gates, cell.optional)
    x = jnp.asarray(x)
    _check_input(op, x, given, 1)
    mask = checked_mask(op, mask, x.shape[:2])
    dtype, wide = _dtypes(x, given)
    x = jnp.swapaxes(x, 0, 1)
    if mask is not None:
        # What a masked step holds, NaN even, must not reach a gradient.
        x = jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x, 0)
    rows = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    weights, xs = cell.arrange(_cast(given, wide), rows.astype(wide))
    xs = jax.tree.map(lambda each: each.reshape(*x.shape[:2], *each.shape[1:]), xs)
    carry = checked_carry(op, carry, _fresh(cell, jax.tree.leaves(xs)[0].shape[1:-1], given, dtype))
    last, ys = run(cell, weights, _cast(carry, wide), xs, mask, how)
    return jnp.swapaxes(ys, 0, 1).astype(dtype), _as(last, carry)


def _check_input(op: str, x: jax.Array, given: dict[str, jax.Array], leading: int) -> None:
    kernel = given["kernel"].shape
    if x.ndim != len(kernel) + leading or x.shape[-1] != kernel[-2]:
        axes = ["batch", *(["time"] if leading else []), *(["*spatial"] if len(kernel) > 2 else []), "in"]
        raise ValueError(f"{op}: input must be ({', '.join(axes)}) for kernel {kernel}, got {x.shape}")


def _dtypes(x: jax.Array, given: dict[str, jax.Array]) -> tuple[jnp.dtype, jnp.dtype]:
    """The dtype of the result, and the one in which steps are computed and carried."""
    dtype = promoted(x.dtype, *(each.dtype for each in given.values()))
    return dtype, accumulator(dtype) or dtype


def _fresh(cell: Recurrence, leading: tuple[int, ...], given: dict[str, jax.Array], dtype: jnp.dtype) -> Any:
    """A carry of zeros."""
    zeros = jnp.zeros((*leading, given["recurrent_kernel"].shape[-2]), dtype)
    return zeros if cell.states == 1 else (zeros,) * cell.states


def _cast(tree: Any, dtype: jnp.dtype) -> Any:
    return jax.tree.map(lambda each: each.astype(dtype), tree)


def _as(tree: Any, like: Any) -> Any:
    """``tree`` in the dtypes of another."""
    return jax.tree.map(lambda each, other: each.astype(other.dtype), tree, like)
