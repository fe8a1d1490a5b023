"""One function many times over, and values computed anew rather than kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree, Shaped

from axonax.tensor import names

_POLICIES = {
    name: getattr(jax.checkpoint_policies, name)
    for name in (
        "everything_saveable",
        "nothing_saveable",
        "dots_saveable",
        "checkpoint_dots",
        "dots_with_no_batch_dims_saveable",
        "checkpoint_dots_with_no_batch_dims",
    )
}


def repeat(
    function: Callable[[Any, Any, Any], tuple[Any, Any]],
    x: PyTree[Shaped[ArrayLike, "*_"]],
    stacked: PyTree[Shaped[ArrayLike, "times ..."]],
    *,
    times: int,
    unroll: int | bool = 1,
    remat: bool | str | None = None,
) -> tuple[PyTree[Shaped[Array, "*_"]], PyTree[Shaped[Array, "times ..."]]]:
    """``x, output = function(x, stacked[index], index)`` for each index in turn, compiled once.

    Args:
        function: of ``x``, a slice of ``stacked`` and the index; it keeps the structure, shapes and dtypes of
            ``x``.
        x: an array or a tree of arrays.
        stacked: a tree of arrays ``(times, ...)``.
        times: how often, at least 1.
        unroll: how many to write out at a time; ``True`` writes out all of them.
        remat: as for `remat`, of each time alone.

    Returns:
        the last ``x``, and the outputs stacked ``(times, ...)``.

    Raises:
        ValueError: ``times`` or ``unroll`` is below 1, or an unknown policy.

    >>> total, before = repeat(lambda x, y, _: (x + y, x), 0.0, jnp.array([1.0, 2.0, 3.0]), times=3)
    >>> float(total), before.tolist()
    (6.0, [0.0, 1.0, 3.0])
    """
    for name, count in (("times", times), ("unroll", unroll)):
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"repeat: {name} must be an integer of at least 1, got {count!r}")
    straight = unroll is True or unroll >= times
    # Within a loop nothing could merge what is computed anew with what it was before.
    once = rematerialized("repeat", function, remat, prevent_cse=straight)

    def body(x: Any, row: Any) -> Any:
        return once(x, *row)

    rows = (jax.tree.map(jnp.asarray, stacked), jnp.arange(times))
    return jax.lax.scan(body, jax.tree.map(jnp.asarray, x), rows, times, unroll=times if straight else unroll)


def remat(function: Callable[..., Any], policy: str | None = None) -> Callable[..., Any]:
    """A function whose gradient computes anew what it made on its way, rather than keep it.

    Args:
        function: of arrays.
        policy: what is kept after all, by its name in ``jax.checkpoint_policies``: ``"dots_saveable"``,
            ``"dots_with_no_batch_dims_saveable"`` and so on; ``None`` keeps the arguments alone.

    Returns:
        a function of the same arguments and values.

    Raises:
        ValueError: an unknown policy; the text lists near matches.

    >>> float(jax.grad(remat(lambda x: jnp.sin(jnp.sin(x))))(0.0))
    1.0
    """
    return rematerialized("remat", function, policy or True)


def rematerialized(
    who: str, function: Callable[..., Any], policy: bool | str | None, *, prevent_cse: bool = True
) -> Callable[..., Any]:
    """The function under ``jax.checkpoint``, by a policy, by none for ``True``; as it is for ``None``.

    Raises:
        ValueError: an unknown policy; the text lists near matches.
    """
    if policy is None or policy is False:
        return function
    chosen = None if policy is True else names.lookup(_POLICIES, policy, f"{who} policy")
    return jax.checkpoint(function, policy=chosen, prevent_cse=prevent_cse)
