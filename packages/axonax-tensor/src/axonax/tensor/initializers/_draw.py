"""What every initializer here is made of: the type, and checks of what it is asked for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp

Shape = Sequence[int]
Initializer = Callable[..., jax.Array]
P = ParamSpec("P")


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """An initializer that knows its call: ``record`` is the name of the factory and all options.

    It is pickled as that call, since the functions that draw are local to their factories.
    """

    draw: Initializer
    factory: Callable[..., Initializer]
    record: tuple[str, dict[str, Any]]

    def __call__(self, key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        """The first values of an array."""
        return self.draw(key, shape, dtype)

    def __reduce__(self) -> Any:
        return functools.partial(self.factory, **self.record[1]), ()


def factory(make: Callable[P, Initializer]) -> Callable[P, Initializer]:
    """Hand out initializers that know their call."""
    parameters = inspect.signature(make).parameters
    defaults = {name: each.default for name, each in parameters.items() if each.default is not each.empty}

    @functools.wraps(make)
    def call(*args: P.args, **kwargs: P.kwargs) -> Initializer:
        initializer = make(*args, **kwargs)
        options = {**defaults, **dict(zip(parameters, args, strict=False)), **kwargs}
        return Made(draw=initializer, factory=call, record=(make.__name__, options))

    return call


def random(name: str, draw: Callable[[Any, Shape, Any], jax.Array], least_axes: int = 0) -> Initializer:
    """``draw`` after checks of the dtype and of the number of axes."""

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"{name}: dtype must be float, got {jnp.dtype(dtype).name}")
        if len(shape) < least_axes:
            raise ValueError(f"{name}: shape must have at least {least_axes} axes, got {tuple(shape)}")
        return draw(key, shape, jnp.dtype(dtype)).astype(dtype)

    return init


def check_not_negative(name: str, option: str, value: float) -> None:
    """Raise a ValueError if ``value`` is negative."""
    if value < 0:
        raise ValueError(f"{name}: {option} must not be negative, got {value}")
