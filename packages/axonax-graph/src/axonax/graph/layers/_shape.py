"""Layers that only rearrange."""

from __future__ import annotations

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.tensor import layers


@builder
def flatten(*, name: str | None = None) -> Layer:
    """All axes but the batch in one.

    Args:
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(batch, ...)`` to ``(batch, features)``.

    >>> from axonax import graph as nn
    >>> model = nn.input("image", (None, 28, 28)) | nn.flatten()
    """
    return computes(function=layers.flatten)
