"""What a loop says of its model, found out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from axonax.loop.steps._model import Net, trained
from axonax.tensor import trees
from axonax.tensor.contracts import Buildable

_LONGEST = 120  # letters
_NAMES = 6


class Fact:
    """A text that is made when it is shown, once."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make, self._made = make, ""

    def __str__(self) -> str:
        self._made = self._made or self._make()
        return self._made

    def __repr__(self) -> str:
        return str(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def model_fact(model: Any, net: Net) -> Fact:
    """A model in one line: its name, and of one that builds itself its parameters."""
    return Fact(lambda: _name(model) + (_parameters(net) if isinstance(model, Buildable) else ""))


def _name(model: Any) -> str:
    """A model's own line where it has one, else its class or the names of its functions."""
    if isinstance(model, tuple) and len(model) == 2:
        names = [getattr(each, "__qualname__", type(each).__name__) for each in model]
        kind = type(model).__name__ if type(model) is not tuple else ""
        return f"{kind}({', '.join(name.rpartition('.')[2] for name in names)})"
    own = " ".join(repr(model).split())
    return type(model).__name__ if " object at 0x" in own or len(own) > _LONGEST else own


def _parameters(net: Net) -> str:
    """How many parameters there are, and what holds them; nothing where shapes of inputs are missing."""
    try:
        params = trained(jax.eval_shape(net.init_function, jax.random.key(0)))
    except Exception:
        return ""
    tops = list(dict.fromkeys(path.partition("/")[0] for path in trees.flatten(params)))
    more = f" and {len(tops) - _NAMES} more" if len(tops) > _NAMES else ""
    return f", {trees.size(params):,} parameters in {', '.join(tops[:_NAMES])}{more}" if tops else ""
