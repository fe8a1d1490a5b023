"""The loop over time that all recurrent layers share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor import names
from axonax.tensor.layers._arrays import along

_MODES = {"scan": True, "static": False}
# From so many terms on, keeping what an update makes on its way costs more than making it again.
_MANY = 2**20


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """What a layer does at each step.

    ``carry = update(carry, terms, extra, inner)``, ``terms = slot + multiply(hidden(carry), kernel) + bias``
    """

    gates: int
    """how many times the units the kernels put out"""
    states: int
    """parts of the carry"""
    update: Callable[[Any, jax.Array, Any, Any], Any]
    arrange: Callable[[dict[str, jax.Array], jax.Array], tuple[Any, Any]]
    """``((kernel, bias or None, inner), (slots or None, extra))`` of the parameters and ``x``, over a leading
    axis"""
    multiply: Callable[[jax.Array, jax.Array], jax.Array] = jnp.matmul
    """bilinear, over a leading axis"""
    optional: tuple[str, ...] = ("bias",)
    """parameters that there may be, all of the kernel's last axis"""


def hidden(carry: Any) -> jax.Array:
    """What of a carry is put out: all of it, or its last part."""
    found: jax.Array = carry[-1] if isinstance(carry, tuple) else carry
    return found


@dataclass(frozen=True, kw_only=True)
class Unrolling:
    """How the steps are run."""

    reverse: bool = False
    mode: str = "scan"
    remat: bool = False

    def __post_init__(self) -> None:
        names.lookup(_MODES, self.mode, "mode")

    def run(self, body: Callable[..., Any], carry: Any, xs: Any) -> Any:
        """`jax.lax.scan`, or the same written out."""
        body = jax.checkpoint(body, prevent_cse=False) if self.remat else body
        steps = range(jax.tree.leaves(xs)[0].shape[0])
        if _MODES[self.mode] or not steps:
            return jax.lax.scan(body, carry, xs, reverse=self.reverse)
        ys = []
        for step in reversed(steps) if self.reverse else steps:
            carry, y = body(carry, jax.tree.map(lambda each, step=step: each[step], xs))
            ys.append(y)
        ordered = ys[::-1] if self.reverse else ys
        return carry, jax.tree.map(lambda *each: jnp.stack(each), *ordered)

    def run_ahead(self, body: Callable[..., Any], carry: Any, xs: Any) -> Any:
        """The same as `run`, each step fetching what the next one reads.

        XLA on a CPU reads a scan's input within the loop over its elements, which then is not vector code.
        """
        steps = jax.tree.leaves(xs)[0].shape[0]
        if not steps:
            return self.run(body, carry, xs)
        at, shift = (steps - 1, 1) if self.reverse else (0, -1)

        def fetching(carry: Any, following: Any) -> Any:
            own, x = carry
            own, y = body(own, x)
            return (own, following), y

        first = jax.tree.map(lambda each: each[at], xs)
        ahead = jax.tree.map(lambda each: jnp.roll(each, shift, 0), xs)
        (carry, _), ys = self.run(fetching, (carry, first), ahead)
        return carry, ys


def biased(terms: jax.Array, bias: jax.Array | None) -> jax.Array:
    """``terms`` plus a bias on its last axis, if there is one."""
    return terms if bias is None else terms + along(bias, terms.ndim)


def added(slot: jax.Array | None, product: jax.Array) -> jax.Array:
    """``slot + product``, if there is a slot."""
    return product if slot is None else slot + product


def kept(mask: jax.Array, new: Any, old: Any) -> Any:
    """``new`` for the examples of a step that count, ``old`` for the others."""

    def choose(one: jax.Array, other: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(choose, new, old)


def run(
    cell: Recurrence, weights: Any, carry: Any, xs: Any, mask: jax.Array | None, how: Unrolling
) -> tuple[Any, Any]:
    """All steps.

    A scan's reverse pass adds up the gradient of a kernel step by step: as many narrow products, and
    additions, as there are steps. But a move of the kernel moves the terms as moving the slots by
    ``multiply(hidden, moved kernel)`` does. So the derivative is that of the loop with its kernel fixed,
    moved there, and its transpose gives the kernel's gradient as one product over all steps.

    Args:
        cell: the step.
        weights: ``(kernel, bias or None, inner)``.
        carry: the first.
        xs: ``(slots or None, extra)`` with time in front.
        mask: ``(time, batch)`` or none.
        how: direction and mode.

    Returns:
        the last carry, and the output after each step.
    """

    def loop(weights: Any, carry: Any, xs: Any, mask: Any, *, over: Callable[..., Any]) -> Any:
        kernel, bias, inner = weights
        count = jax.tree.leaves(xs)[0].size
        update = jax.checkpoint(cell.update, prevent_cse=False) if count >= _MANY else cell.update

        def body(carry: Any, x: Any) -> Any:
            (slot, extra), valid = x
            terms = added(slot, cell.multiply(hidden(carry), kernel))
            new = update(carry, biased(terms, bias), extra, inner)
            new = new if valid is None else kept(valid, new, carry)
            return new, hidden(new)

        return over(body, carry, (xs, mask))

    if how.mode == "static":
        written_out: tuple[Any, Any] = loop(weights, carry, xs, mask, over=how.run)
        return written_out
    whole = jax.custom_jvp(functools.partial(loop, over=how.run_ahead))

    @whole.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        (kernel, bias, inner), carry, xs, mask = primals
        (d_kernel, d_bias, d_inner), d_carry, (d_slots, d_extra), _ = tangents

        def fixed(inner: Any, carry: Any, xs: Any) -> Any:
            return loop((kernel, bias, inner), carry, xs, mask, over=how.run)

        slots, extra = xs
        if slots is None:
            shape = jax.eval_shape(cell.multiply, hidden(carry), kernel)
            slots = jnp.zeros((len(extra), *shape.shape), shape.dtype)
        (last, ys), linear = jax.linearize(fixed, inner, carry, (slots, extra))
        first = hidden(carry)[None]
        before = jnp.concatenate([ys[1:], first] if how.reverse else [first, ys[:-1]])[: len(ys)]
        by_kernel = cell.multiply(_rows(before), d_kernel).reshape(slots.shape)
        moved = added(d_slots, by_kernel)
        return (last, ys), linear(d_inner, d_carry, (biased(moved, d_bias), d_extra))

    result: tuple[Any, Any] = whole(weights, carry, xs, mask)
    return result


def _rows(x: jax.Array) -> jax.Array:
    """Time and batch as one axis."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
