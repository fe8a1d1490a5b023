"""States of blocks in a row as those of one `repeat`, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from axonax.tensor import names, trees
from axonax.tensor.contracts import ModelState

_PARTS = ("params", "frozen", "buffers")


def stacked_state(state: ModelState, blocks: Sequence[str], *, into: str) -> ModelState:
    """The state of a model with blocks in a row as that of the same model with a `repeat` in their place.

    Args:
        state: of the first model.
        blocks: the paths of the blocks in their order, such as ``["block_0", "block_1"]``.
        into: the path of the repeat with its mark, such as ``"repeat_0[2]"``.

    Returns:
        the state with the leaves of the blocks stacked, and all others as they are.

    Raises:
        ValueError: no leaf below a path, blocks whose leaves differ in path, shape or dtype, or a mark that
            says another number.

    >>> state = ModelState(params={"a": {"bias": jnp.zeros(3)}, "b": {"bias": jnp.ones(3)}})
    >>> stacked_state(state, ["a", "b"], into="repeat_0[2]")
    ModelState
      params
        repeat_0[2]/bias float32[2, 3]
    """
    _check_count("stacked_state", into, len(blocks))

    def change(leaves: dict[str, Any]) -> dict[str, Any]:
        rows = [_below(leaves, block) for block in blocks]
        for block, row in zip(blocks, rows, strict=True):
            unlike = trees.diff(rows[0], row)
            if unlike:
                raise ValueError(f'stacked_state: "{blocks[0]}" and "{block}" differ: {unlike[0]}')
        rest = {path: leaf for path, leaf in leaves.items() if not path.startswith(_heads(blocks))}
        return rest | {f"{into}/{name}": jnp.stack([row[name] for row in rows]) for name in rows[0]}

    return _changed("stacked_state", state, blocks, change)


def unstacked_state(state: ModelState, repeat: str, *, into: Sequence[str]) -> ModelState:
    """The state of a model with a `repeat` as that of the same model with blocks in a row in its place.

    Args:
        state: of the first model.
        repeat: the path of the repeat with its mark, such as ``"repeat_0[2]"``.
        into: the paths of the blocks in their order, such as ``["block_0", "block_1"]``.

    Returns:
        the state with a slice of each stacked leaf for each block, and all others as they are.

    Raises:
        ValueError: no leaf below the path, or a mark that says another number.

    >>> state = ModelState(params={"repeat_0[2]": {"bias": jnp.zeros((2, 3))}})
    >>> unstacked_state(state, "repeat_0[2]", into=["a", "b"])
    ModelState
      params
        a/bias float32[3]
        b/bias float32[3]
    """
    _check_count("unstacked_state", repeat, len(into))

    def change(leaves: dict[str, Any]) -> dict[str, Any]:
        rest = {path: leaf for path, leaf in leaves.items() if not path.startswith(f"{repeat}/")}
        for name, leaf in _below(leaves, repeat).items():
            rest |= {f"{block}/{name}": leaf[place] for place, block in enumerate(into)}
        return rest

    return _changed("unstacked_state", state, [repeat], change)


def _changed(
    who: str, state: ModelState, needed: Sequence[str], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> ModelState:
    parts = {part: trees.flatten(getattr(state, part)) for part in _PARTS}
    known = {path for leaves in parts.values() for path in leaves}
    for each in needed:
        if not any(path.startswith(f"{each}/") for path in known):
            heads = {path.rpartition("/")[0] for path in known}
            raise ValueError(f'{who}: no leaf below "{each}": {names.suggestion(each, heads)}')
    return state.replace(**{part: trees.unflatten(change(leaves)) for part, leaves in parts.items()})


def _below(leaves: dict[str, Any], block: str) -> dict[str, Any]:
    head = f"{block}/"
    return {path.removeprefix(head): leaf for path, leaf in leaves.items() if path.startswith(head)}


def _heads(blocks: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{block}/" for block in blocks)


def _check_count(who: str, path: str, count: int) -> None:
    found = re.search(r"\[(\d+)\]$", path)
    if found is None:
        raise ValueError(f'{who}: "{path}" has no mark such as [{count}] at its end')
    if int(found[1]) != count:
        raise ValueError(f'{who}: "{path}" stands for {found[1]} blocks, got {count}')
