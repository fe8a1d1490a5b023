"""What recurrent layers check of their parameters, carries and masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

Params = Mapping[str, ArrayLike]
_NEEDED = ("kernel", "recurrent_kernel")


def checked_params(op: str, params: Params, gates: int, optional: tuple[str, ...]) -> dict[str, jax.Array]:
    """The arrays that are there, with the axes of units checked against each other."""
    given = {name: jnp.asarray(each) for name, each in params.items() if each is not None}
    if not set(_NEEDED) <= set(given) <= {*_NEEDED, *optional}:
        raise ValueError(
            f"{op}: params must have kernel and recurrent_kernel, and may have "
            f"{', '.join(optional)}, got {', '.join(sorted(given)) or 'none'}"
        )
    held, recurrent = given["kernel"].shape, given["recurrent_kernel"].shape
    units = recurrent[-2] if len(recurrent) > 1 else 0
    fits = len(held) == len(recurrent) and held[-1:] == recurrent[-1:] == (gates * units,)
    if not fits:
        raise ValueError(
            f"{op}: kernel must be (..., in, {gates} units) and recurrent_kernel (..., units, {gates} units)"
            f", got {held} and {recurrent}"
        )
    for name in optional:
        if name in given and given[name].shape != held[-1:]:
            raise ValueError(f"{op}: {name} must be {held[-1:]}, got {given[name].shape}")
    return given


def checked_mask(op: str, mask: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
    """A mask of booleans ``(batch, time)``, with time in front."""
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    if mask.shape != shape or mask.dtype != bool:
        raise ValueError(f"{op}: mask must be bool {shape}, (batch, time), got {mask.dtype} {mask.shape}")
    return jnp.swapaxes(mask, 0, 1)


def checked_carry(op: str, carry: Any, like: Any) -> Any:
    """A carry of the structure and shapes of ``like``; that itself where there is none."""
    if carry is None:
        return like
    carry = jax.tree.map(jnp.asarray, carry)
    found, needed = ([each.shape for each in jax.tree.leaves(tree)] for tree in (carry, like))
    if found != needed or isinstance(carry, tuple) != isinstance(like, tuple):
        kind = "a tuple of arrays" if isinstance(like, tuple) else "one array"
        raise ValueError(f"{op}: carry must be {kind}, {needed}, got {type(carry).__name__}, {found}")
    return carry
