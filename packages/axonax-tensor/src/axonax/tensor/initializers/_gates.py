"""Kernels and biases of several gates in one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from axonax.tensor.initializers._draw import Initializer, Shape, factory
from axonax.tensor.initializers._names import by_name


@factory
def gates(*, parts: Sequence[str | Initializer]) -> Initializer:
    """Equal parts of the last axis, one a gate, each drawn by itself and with fans of its own.

    As the bias of an LSTM (i, f, g, o), ``("zeros", "ones", "zeros", "zeros")`` lets the forget gate start
    open, as others do that add 1 to its terms at each step. ``["orthogonal"] * 4`` makes the recurrent kernel
    of each gate orthogonal.

    Args:
        parts: names of initializers, or initializers, in the order of the gates.

    Raises:
        ValueError: no parts or an unknown name; when called, a last axis that the parts do not divide.

    Source: Jozefowicz et al., An Empirical Exploration of Recurrent Network Architectures (2015).

    >>> gates(parts=("zeros", "ones", "zeros", "zeros"))(None, (8,)).tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    draws = tuple(by_name(each) for each in parts)
    if not draws:
        raise ValueError("gates: parts must name at least one initializer, got none")

    def init(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        if not shape or shape[-1] % len(draws):
            raise ValueError(
                f"gates: the last axis must be {len(draws)} parts of one size, got shape {tuple(shape)}"
            )
        own = (*shape[:-1], shape[-1] // len(draws))
        keys = [None] * len(draws) if key is None else jax.random.split(key, len(draws))
        return jnp.concatenate([draw(each, own, dtype) for draw, each in zip(draws, keys, strict=True)], -1)

    return init
