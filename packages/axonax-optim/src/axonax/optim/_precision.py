"""What rounding does to a number."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def epsilon(array: Any) -> float:
    """The relative spacing of the floating-point numbers of ``array``.

    >>> epsilon(jnp.ones(2, jnp.bfloat16))
    0.0078125
    """
    return float(jnp.finfo(array.dtype).eps)  # type: ignore[no-untyped-call]


def rounding(value: Any) -> Any:
    """How far an objective of about ``value`` may be off: some ten roundings in float32, more in float64."""
    return epsilon(value) ** 0.8 * jnp.abs(value)
