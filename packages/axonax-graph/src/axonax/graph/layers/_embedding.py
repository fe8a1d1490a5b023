"""Rows of a table by their numbers, and scores of all its rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import positive
from axonax.tensor import layers


@builder
def embedding(
    vocabulary: int,
    size: int,
    *,
    kernel_initializer: str | Initializer = "uniform",
    name: str | None = None,
) -> Layer:
    """A row of numbers for each integer: ``y = kernel[x]``.

    An integer out of range is an error where the model runs on arrays as it stands, and gives NaN within
    ``jax.jit``, which cannot look.

    Args:
        vocabulary: how many integers there are: those in [0, vocabulary).
        size: of each row.
        kernel_initializer: of ``kernel (vocabulary, size)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from integers ``(...)`` to ``(..., size)``.

    Raises:
        ValueError: a size that is not a positive integer, an unknown initializer.

    >>> from axonax import graph as nn
    >>> model = nn.input("tokens", (None, 12), dtype="int32") | nn.embedding(1000, 64)
    """
    shape = positive("embedding", "vocabulary", vocabulary), positive("embedding", "size", size)
    return computes(
        function=_rows, params={"kernel": param(shape, kernel_initializer)}, check=_check_integers
    )


@builder
def tied_logits(
    vocabulary: int,
    *,
    use_bias: bool = False,
    kernel_initializer: str | Initializer = "uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """Scores of a vocabulary by a kernel that lies as that of `embedding`: ``y = x @ kernel.T + bias``.

    Args:
        vocabulary: the size of the last axis of the output.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (vocabulary, size)``; ``nn.tied(layer)`` takes that of an embedding.
        bias_initializer: of ``bias (vocabulary,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(..., size)`` to ``(..., vocabulary)``.

    Raises:
        ValueError: ``vocabulary`` is not a positive integer, an unknown initializer.

    >>> from axonax import graph as nn
    >>> embed = nn.embedding(1000, 64)
    >>> score = nn.tied_logits(1000, kernel_initializer=nn.tied(embed))
    >>> model = nn.input("tokens", (None, 12), dtype="int32") | embed | nn.dense(64) | score
    """
    vocabulary = positive("tied_logits", "vocabulary", vocabulary)
    params = {"kernel": param(lambda x: (vocabulary, x.shape[-1]), kernel_initializer)}
    if use_bias:
        params["bias"] = param((vocabulary,), bias_initializer)
    return computes(function=layers.tied_logits, params=params, check=_check_features)


def _rows(indices: Any, kernel: Any) -> Any:
    """The rows; integers that can be looked at here and now are."""
    if not isinstance(indices, jax.core.Tracer) and getattr(indices, "is_fully_addressable", True):
        known = np.asarray(indices)
        wrong = known[(known < 0) | (known >= len(kernel))]
        if wrong.size:
            raise ValueError(f"integers must be in [0, {len(kernel)}), got {wrong[0]}")
    return layers.embedding(indices, kernel)


def _check_integers(x: Any) -> str | None:
    if jnp.issubdtype(x.dtype, jnp.integer):
        return None
    return f'needs integers and not {x.dtype.name} (write nn.input(..., dtype="int32"))'


def _check_features(x: Any) -> str | None:
    return None if x.ndim else "needs an input of at least one axis (..., features)"
