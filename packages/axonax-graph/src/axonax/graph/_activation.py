"""Activations as layers, by name or as any element-wise function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from axonax.graph._node import Layer
from axonax.graph._where import builder, check_options
from axonax.tensor import activations

Activation = str | Callable[..., Any] | Layer


@builder
def activation(function: str | Callable[..., Any], *, name: str | None = None, **options: Any) -> Layer:
    """A layer that applies an activation function.

    Args:
        function: a name of `axonax.tensor.activations`, or a function of one array.
        name: the path of the layer; ``None`` numbers it.
        **options: further arguments of the function.

    Returns:
        a layer; the shape stays (but for ``glu`` and its kin).

    Raises:
        ValueError: an unknown name; the text lists near matches.
        TypeError: an option that the function does not have; likewise.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.activation("leaky_relu", negative_slope=0.2)
    """
    found = activations.by_name(function) if isinstance(function, str) else function
    if not callable(found):
        raise ValueError(f"activation: needs a name or a function of an array, got {function!r}")
    title = function if isinstance(function, str) else getattr(found, "__name__", "activation")
    title = title if title.isidentifier() else "activation"
    if options:
        parameters = list(inspect.signature(found).parameters.values())
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            check_options(title, options, [each.name for each in parameters[1:]])
    needs = frozenset({"key"}) if found is activations.gumbel_softmax else frozenset()
    custom = not isinstance(function, str)
    return Layer(op=title, function=found, options=options, needs=needs, custom=custom, name=name)


def as_activation(given: Activation | None) -> Layer | None:
    """The layer of a builder's ``activation=``: by name, from a function, or as it is."""
    return given if given is None or isinstance(given, Layer) else activation(given)


def _named(title: str) -> Callable[..., Layer]:
    build = functools.partial(activation, title)

    def layer(*, name: str | None = None, **options: Any) -> Layer:
        return build(name=name, **options)

    layer.__name__ = layer.__qualname__ = title
    layer.__doc__ = f"The activation ``{title}`` as a layer, with the options of the function by that name."
    return builder(layer)


celu = _named("celu")
elu = _named("elu")
exp = _named("exp")
geglu = _named("geglu")
gelu = _named("gelu")
glu = _named("glu")
gumbel_softmax = _named("gumbel_softmax")
hard_shrink = _named("hard_shrink")
hard_sigmoid = _named("hard_sigmoid")
hard_silu = _named("hard_silu")
hard_swish = _named("hard_swish")
hard_tanh = _named("hard_tanh")
leaky_relu = _named("leaky_relu")
linear = _named("linear")
log_sigmoid = _named("log_sigmoid")
log_softmax = _named("log_softmax")
log_sumexp = _named("log_sumexp")
logsumexp = _named("logsumexp")
mish = _named("mish")
prelu = _named("prelu")
quick_gelu = _named("quick_gelu")
reglu = _named("reglu")
relu = _named("relu")
relu6 = _named("relu6")
selu = _named("selu")
sigmoid = _named("sigmoid")
silu = _named("silu")
soft_shrink = _named("soft_shrink")
softmax = _named("softmax")
softmin = _named("softmin")
softplus = _named("softplus")
softsign = _named("softsign")
sparse_plus = _named("sparse_plus")
sparse_sigmoid = _named("sparse_sigmoid")
sparsemax = _named("sparsemax")
squareplus = _named("squareplus")
standardize = _named("standardize")
swiglu = _named("swiglu")
swish = _named("swish")
tanh = _named("tanh")
tanh_shrink = _named("tanh_shrink")
threshold = _named("threshold")
