"""Initializers by name, and the gains that go with activations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from axonax.tensor import names
from axonax.tensor.initializers import _distributions, _scaling, _structured
from axonax.tensor.initializers._draw import Initializer

_TABLE: dict[str, Callable[[], Initializer]] = {
    "zeros": _distributions.zeros,
    "ones": _distributions.ones,
    "uniform": _distributions.uniform,
    "normal": _distributions.normal,
    "truncated_normal": _distributions.truncated_normal,
    "variance_scaling": _scaling.variance_scaling,
    "glorot_uniform": _scaling.glorot_uniform,
    "glorot_normal": _scaling.glorot_normal,
    "he_uniform": _scaling.he_uniform,
    "he_normal": _scaling.he_normal,
    "lecun_uniform": _scaling.lecun_uniform,
    "lecun_normal": _scaling.lecun_normal,
    "identity": _structured.identity,
    "dirac": _structured.dirac,
    "orthogonal": _structured.orthogonal,
    "delta_orthogonal": _structured.delta_orthogonal,
    "sparse": _structured.sparse,
}

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2),
    "selu": 3 / 4,
}


def by_name(initializer: str | Initializer) -> Initializer:
    """The initializer of that name with its defaults; a callable is handed back.

    Args:
        initializer: such as ``"glorot_uniform"``, or any ``(key, shape, dtype) -> array``.

    Raises:
        ValueError: an unknown name (the text lists near matches), or neither a name nor a callable.

    >>> by_name("ones")(None, (1,)).tolist()
    [1.0]
    """
    if isinstance(initializer, str):
        return _with_defaults(initializer)
    if callable(initializer):
        return initializer
    shown = f"{initializer!r} of type {type(initializer).__name__}"
    raise ValueError(f"initializer must be a name or a callable (key, shape, dtype) -> array, got {shown}")


@functools.cache
def _with_defaults(name: str) -> Initializer:
    """Models ask for the same few a thousand times; a name that is not known is not kept."""
    return names.lookup(_TABLE, name, "initializer")()


def record(initializer: Any) -> tuple[str, dict[str, Any]] | None:
    """The call that made an initializer: the name of its factory, and all options.

    Args:
        initializer: what a factory of this module handed out.

    Returns:
        ``None`` for any other value: a function of the user, or one of ``jax.nn.initializers``.

    >>> record(_distributions.normal(stddev=0.02))
    ('normal', {'stddev': 0.02, 'mean': 0.0})
    """
    found = getattr(initializer, "record", None)
    return found if isinstance(found, tuple) else None


def available() -> tuple[str, ...]:
    """The names that `by_name` knows, sorted.

    >>> "glorot_uniform" in available()
    True
    """
    return tuple(sorted(_TABLE))


def gain(activation: str, *, negative_slope: float = 0.01) -> float:
    """The factor by which weights before an activation are scaled so that the spread of values is kept.

    ``orthogonal(gain=gain("relu"))``, or ``variance_scaling(scale=gain("relu") ** 2)``.

    Args:
        activation: its name; ``"linear"`` and ``"sigmoid"`` 1, ``"tanh"`` 5/3, ``"relu"`` ``sqrt(2)``,
            ``"leaky_relu"`` ``sqrt(2 / (1 + negative_slope**2))``, ``"selu"`` 3/4.
        negative_slope: of ``"leaky_relu"``.

    Raises:
        ValueError: no gain is known for the name.

    >>> gain("leaky_relu", negative_slope=1.0)
    1.0
    """
    found = names.lookup(_GAINS, activation, "gain")
    return found / math.sqrt(1 + negative_slope**2) if activation == "leaky_relu" else found
