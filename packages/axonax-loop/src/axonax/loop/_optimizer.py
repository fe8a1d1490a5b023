"""The optimizer of a trainer: a name or any pair that follows Optax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from axonax.loop import _signature
from axonax.tensor import plugins
from axonax.tensor.updates import apply_updates

PyTree = Any
COMMON = ("value", "grad", "value_fn")


@dataclass(frozen=True, kw_only=True)
class Updater:
    """An optimizer, and which of ``value``, ``grad``, ``value_fn`` and ``weight`` its update takes."""

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    extra: tuple[str, ...]
    name: str

    def apply(
        self,
        params: PyTree,
        gradients: PyTree,
        opt_state: PyTree,
        *,
        value: Any,
        value_fn: Callable[[PyTree], Any],
        weight: Any,
    ) -> tuple[PyTree, PyTree]:
        """New parameters and a new state of the optimizer; ``weight``: what the gradient is a mean over."""
        known = {"value": value, "grad": gradients, "value_fn": value_fn, "weight": weight}
        extra = {name: known[name] for name in self.extra}
        updates, opt_state = self.update(gradients, opt_state, params, **extra)
        return apply_updates(params, updates), opt_state


def resolve_optimizer(optimizer: Any, who: str) -> Updater:
    """The optimizer of a name or pair.

    Raises:
        ValueError: an unknown name; the text lists near matches or what to install.
        TypeError: no pair of functions ``init`` and ``update``.
    """
    name = type(optimizer).__name__
    if isinstance(optimizer, str):
        name = optimizer
        optimizer = plugins.resolve("optimizer", optimizer)()
    init, update = getattr(optimizer, "init", None), getattr(optimizer, "update", None)
    if not callable(init) or not callable(update):
        called = f"; call it first: {optimizer.__name__}(...)" if hasattr(optimizer, "__name__") else ""
        raise TypeError(
            f"{who}: the optimizer must be a name or an Optax pair (init, update), got {name}{called}"
        )
    common = COMMON if _signature.takes_any(update) else _signature.accepted(update, *COMMON)
    # A line search hands on to the objective whatever it does not know.
    weight = _signature.accepted(update, "weight")
    return Updater(init=init, update=update, extra=(*common, *weight), name=name)
