"""What an option of an optimizer may be, and errors that say who, what is required and what came."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import names
from axonax.tensor.updates import Range

Params = ParamSpec("Params")
Result = TypeVar("Result")
Schedule = Callable[[Any], Any]
Number = float | jax.Array


POSITIVE_OR_ZERO = Range(0.0, np.inf)
POSITIVE = Range(0.0, np.inf, open=True)
FINITE = Range(-np.inf, np.inf)
SHARE = Range(0.0, 1.0)
# What a number may be, by its name; after a point, by its owner's; all others are at least 0.
ALLOWED = {
    "scale": FINITE,
    "schedule_free.b1": Range(0.0, 1.0, open=True),
    "prodigy.estim_lr0": POSITIVE,
    "exponential_decay.decay_rate": POSITIVE,
} | dict.fromkeys(("b1", "b2", "b3", "decay", "momentum", "adam_b1", "adam_b2"), SHARE)


class Kind(NamedTuple):
    """What an option that is no number may be, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


def options(factory: Callable[Params, Result]) -> Callable[Params, Result]:
    """``factory``, with errors for an unknown option (near matches) and for one of another kind.

    The kind follows from the annotation; numbers are checked where they are used, each by its range.
    """
    parameters = inspect.signature(factory).parameters
    kinds = {name: _kind(each) for name, each in parameters.items() if each.kind is not each.VAR_POSITIONAL}
    leading = tuple(itertools.takewhile(kinds.__contains__, parameters))

    @functools.wraps(factory)
    def checked(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        for name in kwargs:
            if name not in kinds:
                tail = names.suggestion(name, tuple(kinds))
                raise ValueError(f'{factory.__name__}: unknown option "{name}": {tail}')
        for name, value in (*zip(leading, args, strict=False), *kwargs.items()):
            kind = kinds[name]
            if kind is not None and not kind.holds(value):
                raise ValueError(f"{factory.__name__}: {name} must be {kind.words}, got {value!r}")
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
    allowed = allowed or allowed_range(owner, name)
    if not allowed.holds(float(value)):
        raise ValueError(f"{owner}: {name} must be {allowed}, got {float(value):g}")
    return float(value)


def allowed_range(owner: str, name: str) -> Range:
    """What the number ``name`` of ``owner`` may be, when it is made and when it is set."""
    return ALLOWED.get(f"{owner}.{name}", ALLOWED.get(name, POSITIVE_OR_ZERO))


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
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{owner}: {name} must be a whole number that is known before tracing, got {value}: "
            f'optax.inject_hyperparams takes it by static_args="{name}"'
        )
    if isinstance(value, jax.Array) and value.ndim == 0 and jnp.issubdtype(value.dtype, jnp.integer):
        value = int(value)
    if not is_whole(value) or value < least:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def given(**hyperparams: Any) -> dict[str, Any]:
    """The hyperparameters that are not ``None``: those that the optimizer has at all."""
    return {name: value for name, value in hyperparams.items() if value is not None}


def as_key(key: Any) -> Any:
    """``key``, or the key that a whole number stands for."""
    whole = isinstance(key, int) or (key.ndim == 0 and jnp.issubdtype(key.dtype, jnp.integer))
    return jax.random.key(key) if whole else key


def _kind(parameter: inspect.Parameter) -> Kind | None:
    """The kind of an option by its name or annotation; ``None`` where the factory checks it."""
    annotation = str(parameter.annotation)
    function = "Callable" if annotation.startswith("Callable") else annotation
    return KINDS.get(parameter.name, KINDS.get(function))


def _is_key(value: Any) -> bool:
    """Whether ``value`` is an integer of Python or JAX, a key, or the data of one."""
    if not isinstance(value, jax.Array):
        return type(value) is int
    if value.dtype == np.uint32 and value.ndim == 1:
        return True
    typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return value.ndim == 0 and (typed or jnp.issubdtype(value.dtype, jnp.integer))


def is_flag(value: Any) -> bool:
    """Whether ``value`` is a bool of Python, NumPy or JAX."""
    return isinstance(value, bool) or getattr(value, "dtype", None) == np.dtype(bool)


def _is_mask(value: Any) -> bool:
    """Whether ``value`` is a tree of bools, a function (that may give one) or ``None``."""
    return callable(value) or all(is_flag(leaf) for leaf in jax.tree.leaves(value))


_MASK = Kind(_is_mask, "a tree of bools or a function of the parameters")
_SEQUENCE = Kind(lambda value: isinstance(value, Sequence) and not isinstance(value, str), "a sequence")
KINDS = {
    "mask": _MASK,
    "trust_mask": _MASK,
    "bool": Kind(lambda value: isinstance(value, bool | np.bool_), "True or False"),
    "jax.Array | int": Kind(_is_key, "a key or a whole number"),
    "Number | Schedule": Kind(lambda value: value is not None, "a number or a schedule (step -> number)"),
    "Callable": Kind(callable, "a function"),
    "Mapping[int, float]": Kind(lambda value: isinstance(value, Mapping), "a mapping"),
    "Sequence[int]": _SEQUENCE,
    "Sequence[Number | Schedule]": _SEQUENCE,
}
