"""Layers that drop values at random while training."""

from __future__ import annotations

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import fraction
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
    return computes(function=layers.dropout, options={"rate": rate}, needs=needs)
