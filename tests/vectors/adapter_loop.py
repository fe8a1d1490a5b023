"""The scales of a loss in the names of the vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop import loss_scale

OURS = {"min_loss_scale": "min_scale"}


def made(kind: str, kwargs: dict[str, Any]) -> loss_scale.LossScale:
    given = {OURS.get(name, name): value for name, value in kwargs.items()}
    if kind == "static":
        given = {"scale" if name == "init_scale" else name: value for name, value in given.items()}
    return getattr(loss_scale, kind)(**given)


def named(state: Any) -> dict[str, Any]:
    return {"loss_scale" if name == "scale" else name: value for name, value in state._asdict().items()}


def init(kind: str) -> Callable[..., Any]:
    return lambda **kwargs: named(made(kind, kwargs).init())


def scale(kind: str) -> Callable[..., Any]:
    def call(tree: Any, **kwargs: Any) -> Any:
        each = made(kind, kwargs)
        return each.scale(tree, each.init())

    return call


def adjust(kind: str) -> Callable[..., Any]:
    """Axon's adjustment of gradients: unscaled, with the new state."""

    def call(tree: Any, **kwargs: Any) -> Any:
        each = made(kind, kwargs)
        state = each.init()
        return each.unscale(tree, state), named(each.adjust(state, finite(tree)))

    return call


def run(*trees: Any, **kwargs: Any) -> list[Any]:
    """The states after gradients that come one after the other."""
    each = made("dynamic", kwargs)
    state, found = each.init(), []
    for tree in trees:
        state = each.adjust(state, finite(tree))
        found.append((tree, named(state)))
    return found


def finite(tree: Any) -> Any:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def run_by_hand(
    *trees: Any, init_scale: float, period: int, factor: float = 2.0, min_loss_scale: float = 1.0
) -> list[Any]:
    """What a scale that takes NaN for an overflow comes to."""
    scale, counter, found = np.float32(init_scale), 0, []
    for tree in trees:
        if not np.isfinite(tree).all():
            scale, counter = np.float32(max(scale / factor, min_loss_scale)), 0
        elif counter == period - 1:
            scale, counter = np.float32(scale * factor), 0
        else:
            counter += 1
        found.append((tree, {"loss_scale": scale, "counter": np.int32(counter)}))
    return found


OPERATIONS: dict[str, Callable[..., Any]] = {
    **{f"loss_scale.{kind}.init": init(kind) for kind in ("static", "dynamic")},
    **{f"loss_scale.{kind}.scale": scale(kind) for kind in ("identity", "dynamic")},
    **{f"loss_scale.{kind}.adjust": adjust(kind) for kind in ("static", "dynamic")},
    "loss_scale.dynamic.run": run,
}
