"""Scales of the loss, so that gradients in half precision neither vanish nor overflow.

A scale is a value with pure functions: the step multiplies the loss by it, divides the gradients by it, and
tells it whether they were finite. `identity` does nothing, `static` keeps one number, `dynamic` looks for the
largest that does not overflow. NaN counts as overflow. A step that overflows changes neither parameters nor
the optimizer nor averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.tensor import names

PyTree = Any
DEFAULT = 2.0**15
__all__ = ["DynamicState", "LossScale", "StaticState", "dynamic", "identity", "static"]


class StaticState(NamedTuple):
    """The state of a scale that does not change."""

    scale: jax.Array


class DynamicState(NamedTuple):
    """The scale and the finite steps since it last changed."""

    scale: jax.Array
    counter: jax.Array


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """A scale as pure functions.

    ``init() -> state``; ``scale(tree, state)`` multiplies and ``unscale(tree, state)`` divides each leaf;
    ``adjust(state, finite) -> state`` follows a step whose gradients were all ``finite`` or not. ``guards``:
    a step that is not finite is left out.
    """

    init: Callable[[], PyTree]
    scale: Callable[[PyTree, PyTree], PyTree]
    unscale: Callable[[PyTree, PyTree], PyTree]
    adjust: Callable[[PyTree, Any], PyTree]
    name: str
    guards: bool = True


def identity() -> LossScale:
    """No scale; a step that is not finite is taken as any other.

    >>> identity().scale(jnp.float32(3.0), identity().init()).item()
    3.0
    """
    return LossScale(
        init=lambda: (),
        scale=lambda tree, state: tree,
        unscale=lambda tree, state: tree,
        adjust=lambda state, finite: state,
        name="identity",
        guards=False,
    )


def static(scale: float = DEFAULT) -> LossScale:
    """One scale for all steps.

    Args:
        scale: what the loss is multiplied by.

    Raises:
        ValueError: the scale is no finite number above 0.

    >>> each = static(8.0)
    >>> each.unscale(each.scale(jnp.ones(2), each.init()), each.init()).tolist()
    [1.0, 1.0]
    """
    _check("static", "scale", scale)
    return LossScale(
        init=lambda: StaticState(jnp.asarray(scale, jnp.float32)),
        scale=_multiplied,
        unscale=_divided,
        adjust=lambda state, finite: state,
        name=f"static {scale:g}",
    )


def dynamic(
    init_scale: float = DEFAULT, period: int = 2000, factor: float = 2.0, min_scale: float = 1.0
) -> LossScale:
    """A scale that grows after so many finite steps, and shrinks after each that is not.

    Args:
        init_scale: the first scale.
        period: finite steps in a row, in steps, after which the scale is multiplied by ``factor``. A scale
            that would no longer be finite stays.
        factor: what the scale is multiplied by, and divided by after an overflow.
        min_scale: the scale never falls below it.

    Raises:
        ValueError: a number lies outside its range.

    Micikevicius et al., "Mixed precision training", 2018, section 3.2.

    >>> each = dynamic(8.0, period=2)
    >>> state = each.adjust(each.adjust(each.init(), True), True)
    >>> state.scale.item(), each.adjust(state, False).scale.item()
    (16.0, 8.0)
    """
    _check("dynamic", "init_scale", init_scale)
    _check("dynamic", "min_scale", min_scale)
    if not isinstance(period, int) or isinstance(period, bool) or period < 1:
        raise ValueError(f"dynamic: period must be a whole number of at least 1, got {period!r}")
    _check("dynamic", "factor", factor, above=1.0)

    def adjust(state: DynamicState, finite: Any) -> DynamicState:
        full = state.counter >= period - 1
        grown = state.scale * factor
        grown = jnp.where(full & jnp.isfinite(grown), grown, state.scale)
        shrunk = jnp.maximum(state.scale / factor, jnp.float32(min_scale))
        counter = jnp.where(finite & ~full, state.counter + 1, 0)
        return DynamicState(jnp.where(finite, grown, shrunk), counter)

    return LossScale(
        init=lambda: DynamicState(jnp.asarray(init_scale, jnp.float32), jnp.zeros((), jnp.int32)),
        scale=_multiplied,
        unscale=_divided,
        adjust=adjust,
        name=f"dynamic from {init_scale:g}",
    )


def resolve(scale: Any) -> LossScale:
    """The scale of a name, a number (a static one) or a `LossScale`.

    Raises:
        ValueError: an unknown name, or a number that is none above 0.
        TypeError: none of the three.
    """
    if isinstance(scale, LossScale):
        return scale
    if isinstance(scale, str):
        known: dict[str, Callable[[], LossScale]] = {
            "identity": identity,
            "static": static,
            "dynamic": dynamic,
        }
        return names.lookup(known, scale, "loss scale")()
    if isinstance(scale, int | float) and not isinstance(scale, bool):
        return static(scale)
    raise TypeError(f"loss_scale: must be a name, a number or a LossScale, got {type(scale).__name__}")


def _multiplied(tree: PyTree, state: StaticState | DynamicState) -> PyTree:
    return jax.tree.map(lambda leaf: leaf * state.scale.astype(jnp.asarray(leaf).dtype), tree)


def _divided(tree: PyTree, state: StaticState | DynamicState) -> PyTree:
    def divide(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        # A scale may be above the largest number of float16: the division is float32's.
        wide = leaf.astype(_wide(leaf.dtype))
        return (wide / state.scale.astype(wide.dtype)).astype(leaf.dtype)

    return jax.tree.map(divide, tree)


def _wide(dtype: Any) -> Any:
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(dtype, jnp.float32)


def _check(who: str, name: str, value: Any, above: float = 0.0) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= above:
        raise ValueError(f"{who}: {name} must be a finite number above {above:g}, got {value!r}")
