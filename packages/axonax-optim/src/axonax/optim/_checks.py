"""What an option of an optimizer may be, and errors that say who, what is required and what came."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import names

Params = ParamSpec("Params")
Result = TypeVar("Result")
Schedule = Callable[[Any], Any]
Number = float | jax.Array


class Range(NamedTuple):
    """The finite numbers from ``low`` (allowed) to ``high`` (not allowed)."""

    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.low):
            return "finite"
        return f"in [{self.low:g}, {self.high:g})" if np.isfinite(self.high) else f"at least {self.low:g}"

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the range; NaN does not."""
        return bool(np.isfinite(value)) and self.low <= value < self.high


POSITIVE_OR_ZERO = Range(0.0, np.inf)
FINITE = Range(-np.inf, np.inf)
SHARE = Range(0.0, 1.0)
ALLOWED = {"scale": FINITE} | dict.fromkeys(
    ("b1", "b2", "b3", "decay", "momentum", "adam_b1", "adam_b2"), SHARE
)


def options(factory: Callable[Params, Result]) -> Callable[Params, Result]:
    """``factory``, with an error that lists near matches where an option is unknown."""
    known = tuple(inspect.signature(factory).parameters)

    @functools.wraps(factory)
    def checked(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        for name in kwargs:
            if name not in known:
                tail = names.suggestion(name, known)
                raise ValueError(f'{factory.__name__}: unknown option "{name}": {tail}')
        return factory(*args, **kwargs)

    return checked


def number(owner: str, name: str, value: Any, allowed: Range | None = None) -> Any:
    """``value`` as a Python number; a traced scalar stays as it is.

    Raises:
        ValueError: ``value`` is not a scalar number, or lies outside what ``name`` may be.
    """
    if not is_number(value):
        raise ValueError(f"{owner}: {name} must be a number, got {value!r}")
    if np.shape(value) != ():
        raise ValueError(f"{owner}: {name} must be a scalar, got shape {np.shape(value)}")
    if isinstance(value, jax.core.Tracer):
        return value
    allowed = allowed or ALLOWED.get(name, POSITIVE_OR_ZERO)
    if not allowed.holds(float(value)):
        raise ValueError(f"{owner}: {name} must be {allowed}, got {float(value):g}")
    return float(value)


def number_or_schedule(owner: str, name: str, value: Any) -> Any:
    """``value`` as a Python number, a traced scalar or a schedule.

    Raises:
        ValueError: it is none of them, or lies outside what ``name`` may be.
    """
    if callable(value):
        return value
    if not is_number(value):
        raise ValueError(f"{owner}: {name} must be a number or a schedule (step -> number), got {value!r}")
    return number(owner, name, value)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number or an array of them (``bool`` is not)."""
    if type(value) in (float, int):
        return True
    if not isinstance(value, (int, float, np.ndarray, np.generic, jax.Array)):
        return False
    dtype = jnp.result_type(value)
    return bool(jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer))


def is_whole(value: Any) -> bool:
    """Whether ``value`` is an integer (``bool`` is not)."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole(owner: str, name: str, value: Any, least: int = 1) -> int:
    """``value`` as an integer of at least ``least``.

    Raises:
        ValueError: it is not one.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def given(**hyperparams: Any) -> dict[str, Any]:
    """The hyperparameters that are not ``None``: those that the optimizer has at all."""
    return {name: value for name, value in hyperparams.items() if value is not None}
