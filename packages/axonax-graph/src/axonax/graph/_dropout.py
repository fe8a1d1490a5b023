"""Layers that drop values at random while training."""

from __future__ import annotations

from axonax.graph._checks import fraction
from axonax.graph._node import Layer
from axonax.graph._where import builder
from axonax.tensor import layers


@builder
def dropout(rate: float = 0.5, *, name: str | None = None) -> Layer:
    """Zero a share of the values while training, and scale up the rest; the identity otherwise.

    The mask follows from the ``key`` that ``apply`` is given, the path of the layer and the number of its
    application.

    Args:
        rate: the share that is dropped, in [0, 1].
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer that keeps the shape.

    Raises:
        ValueError: ``rate`` is not in [0, 1].

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dropout(0.5)
    """
    rate = fraction("dropout", "rate", rate)
    needs = frozenset({"key"}) if rate else frozenset()
    return Layer(op="dropout", function=layers.dropout, options={"rate": rate}, needs=needs, name=name)
