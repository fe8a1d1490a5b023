"""The optimizer of a trainer: a name or any pair that follows Optax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from axonax.loop.steps import _signature
from axonax.tensor import plugins
from axonax.tensor.updates import apply_updates, extra_arguments

PyTree = Any
COMMON = ("value", "grad", "value_fn")
# Only for those who ask: a line search hands on to the objective whatever it does not know.
ASKED = ("weight", "flush")


@dataclass(frozen=True, kw_only=True)
class Updater:
    """An optimizer, which extra arguments its update names, and whether it takes any others too."""

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    named: tuple[str, ...]
    takes_any: bool
    name: str

    def extra(self, opt_state: PyTree) -> set[str]:
        """The extra arguments of an update: those that it names, or that ask by name within its state."""
        asked = (*COMMON, *extra_arguments(opt_state)) if self.takes_any else ()
        return {*self.named, *asked}

    def flushes(self, opt_state: PyTree) -> bool:
        """Whether an update is told which batch is the last of its epoch."""
        return "flush" in self.extra(opt_state)

    def apply(
        self,
        params: PyTree,
        gradients: PyTree,
        opt_state: PyTree,
        *,
        value: Any,
        value_fn: Callable[[PyTree], Any],
        weight: Any,
        flush: Any,
    ) -> tuple[PyTree, PyTree]:
        """New parameters and a new state of the optimizer.

        ``weight`` is what the gradient is a mean over, ``flush`` whether the batch ends its epoch.
        """
        known = {"value": value, "grad": gradients, "value_fn": value_fn, "weight": weight, "flush": flush}
        wanted = self.extra(opt_state)
        extra = {name: each for name, each in known.items() if name in wanted}
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
    named = _signature.accepted(update, *COMMON, *ASKED)
    return Updater(init=init, update=update, named=named, takes_any=_signature.takes_any(update), name=name)
