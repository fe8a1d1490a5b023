"""Layers that only rearrange."""

from __future__ import annotations

from axonax.graph._node import Layer
from axonax.graph._where import builder
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
    return Layer(op="flatten", function=layers.flatten, name=name)
