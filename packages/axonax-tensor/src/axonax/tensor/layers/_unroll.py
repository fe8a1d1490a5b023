"""Any cell over a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, PyTree, Shaped

from axonax.tensor.layers._recurrence import Unrolling, kept
from axonax.tensor.layers._recurrent_checks import checked_mask


def unroll(
    cell: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: PyTree[Shaped[ArrayLike, "batch time ..."]],
    *,
    mask: Bool[ArrayLike, "batch time"] | None = None,
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
) -> tuple[PyTree[Shaped[Array, "batch time ..."]], Any]:
    """``carry, y = cell(carry, x)`` for each step of a sequence.

    Bind the parameters of a cell first: ``functools.partial(lstm_cell, params=params)``.

    Args:
        cell: ``(carry, x) -> (carry, y)``, of the arrays of one step: ``(batch, ...)``. The carry keeps its
            shapes and dtypes.
        carry: the first, a tree of arrays ``(batch, ...)``.
        xs: a tree of arrays ``(batch, time, ...)``.
        mask: bool ``(batch, time)`` or none: which steps count. Where one does not, the carry stays as it is
            and the output of the step before comes again; zeros where there was none.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: compute what a step makes on its way anew for its gradient rather than keep it.

    Returns:
        ``(ys, carry)``: the outputs ``(batch, time, ...)`` and the last carry.

    Raises:
        ValueError: axes that do not fit or an unknown mode.

    >>> unroll(lambda total, x: (total + x, total), jnp.zeros(1), jnp.array([[1.0, 2.0, 3.0]]))[0].tolist()
    [[0.0, 1.0, 3.0]]
    """
    shapes = {jnp.shape(leaf)[:2] for leaf in jax.tree.leaves(xs)}
    if len(shapes) != 1 or len(min(shapes)) < 2:
        raise ValueError(f"unroll: xs must be arrays (batch, time, ...) of one length, got {sorted(shapes)}")
    how = Unrolling(reverse=reverse, mode=mode, remat=remat)
    valid = checked_mask("unroll", mask, shapes.pop())
    xs = jax.tree.map(lambda each: jnp.swapaxes(jnp.asarray(each), 0, 1), xs)
    carry = jax.tree.map(jnp.asarray, carry)
    if valid is None:
        last, ys = how.run(cell, carry, xs)
    else:
        (last, _), ys = how.run(_masked(cell), (carry, _nothing(cell, carry, xs)), (xs, valid))
    return jax.tree.map(lambda each: jnp.swapaxes(each, 0, 1), ys), last


def _nothing(cell: Any, carry: Any, xs: Any) -> Any:
    """Outputs of one step, all zero."""
    one = jax.tree.map(lambda each: jnp.zeros(each.shape[1:], each.dtype), xs)
    return jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), jax.eval_shape(cell, carry, one)[1])


def _masked(cell: Any) -> Any:
    def masked(state: Any, step: Any) -> Any:
        x, valid = step
        # What a masked step holds, NaN even, must not reach a gradient.
        x = kept(valid, x, jax.tree.map(jnp.zeros_like, x))
        state = kept(valid, cell(state[0], x), state)
        return state, state[1]

    return masked
