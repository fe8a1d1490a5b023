"""The optimizer of a trainer: a name, any pair that follows Optax, or several of them by path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.steps import _by_path, _signature
from axonax.loop.steps._facts import Fact
from axonax.loop.steps._leaves import never
from axonax.tensor import plugins
from axonax.tensor.updates import LiveState, apply_updates, extra_arguments, hyperparams

PyTree = Any
COMMON = ("value", "grad", "value_fn")
# Only for those who ask: a line search hands on to the objective whatever it does not know.
ASKED = ("weight", "flush")


@dataclass(frozen=True, kw_only=True)
class Updater:
    """An optimizer, which extra arguments its update names, and whether it takes any others too.

    ``frozen(path, leaf)`` says which parameters it leaves alone: they are not differentiated.
    ``check(params)`` raises where the parameters are none for it.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    named: tuple[str, ...]
    takes_any: bool
    name: object
    frozen: Callable[[str, Any], bool] = never
    check: Callable[[PyTree], None] = lambda params: None

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
    """The optimizer of a name, a pair, or a dict of these by path.

    Raises:
        ValueError: an unknown name; the text lists near matches or what to install.
        TypeError: no pair of functions ``init`` and ``update``.
    """
    if isinstance(optimizer, Mapping):
        return _several(optimizer, who)
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
    return Updater(
        init=init,
        update=update,
        named=named,
        takes_any=_signature.takes_any(update),
        name=Fact(lambda: _described(optimizer, "" if name == type(optimizer).__name__ else name)),
    )


def _several(optimizers: Mapping[Any, Any], who: str) -> Updater:
    """One optimizer that hands each parameter to that of the first pattern that matches its path."""
    members = {
        pattern: None if each is None else resolve_optimizer(each, who)
        for pattern, each in optimizers.items()
    }
    pair = _by_path.Groups(who=who, members=_by_path.labelled(members, who))
    used = [each for each in members.values() if each is not None]
    return Updater(
        init=pair.init,
        update=pair.update,
        named=tuple(dict.fromkeys(name for each in used for name in each.named)),
        takes_any=any(each.takes_any for each in used),
        name=Fact(
            lambda: "; ".join(
                f"{label}: {each.name if each else 'frozen'}" for label, _, each in pair.members
            )
        ),
        frozen=pair.frozen,
        check=pair.check,
    )


def check_hyperparams(opt_state: PyTree, who: str) -> None:
    """Raise where a hyperparameter that can be read is NaN; one under a trace cannot.

    Raises:
        ValueError: one is; the text names it.
    """
    for name, value in _flat(hyperparams(opt_state)):
        if not isinstance(value, jax.core.Tracer) and bool(np.isnan(np.asarray(value)).any()):
            raise ValueError(f"{who}: {name} of the optimizer must be a number, got nan")


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        pair
        for name, value in values.items()
        for pair in (_flat(value) if isinstance(value, Mapping) else [(name, value)])
    ]


def _described(optimizer: Any, name: str) -> str:
    """An optimizer with its hyperparameters where they can be read, else with the names of its parts."""
    try:
        state = optimizer.init({"parameter": jnp.zeros(1)})
    except Exception:
        return name or _parts(optimizer.update)
    owners = [
        each.signature.owner
        for each in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, LiveState))
        if isinstance(each, LiveState)
    ]
    numbers = ", ".join(f"{each}={float(value):.4g}" for each, value in _flat(hyperparams(state)))
    title = name or ", ".join(owners) or _parts(optimizer.update)
    return f"{title}({numbers})" if numbers else title


def _parts(update: Callable[..., Any]) -> str:
    """What an update without a name is made of: ``chain(scale_by_adam, scale_by_learning_rate)``."""
    name: str = getattr(update, "__qualname__", type(update).__name__).partition(".")[0]
    if not inspect.isfunction(update):
        return name
    held = inspect.getclosurevars(update).nonlocals
    inner = held.get("update_fns") or [getattr(held.get("tx"), "update", None)]
    within = ", ".join(_parts(each) for each in inner if each is not None)
    if name == "with_extra_args_support":
        return within or name
    return f"{name}({within})" if within else name
