"""Activations as layers, by name or as any element-wise function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.layers._builder import check_options, recorded
from axonax.graph.layers._checks import is_array
from axonax.tensor import activations

Activation = str | Callable[..., Any] | Layer


def activation(function: str | Callable[..., Any], *, name: str | None = None, **options: Any) -> Layer:
    """A layer that applies an activation function; by name it is the very layer of the builder of that name.

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
    if isinstance(function, str):
        activations.by_name(function)
        return _BY_NAME[function](name=name, **options)
    return _applied(function, options=options, name=name)


def as_activation(given: Activation | None) -> Layer | None:
    """The layer of a builder's ``activation=``: by name, from a function, or as it is."""
    return given if given is None or isinstance(given, Layer) else activation(given)


def activation_name(given: str | Callable[..., Any]) -> str | Callable[..., Any]:
    """An activation within a layer, as it was given.

    Raises:
        ValueError: an unknown name (the text lists near matches), or neither a name nor a function.
    """
    activations.by_name(given)
    return given


@functools.partial(recorded, op="activation")
def _applied(function: Callable[..., Any], *, options: Mapping[str, Any], name: str | None = None) -> Layer:
    if not callable(function):
        raise ValueError(f"activation: needs a name or a function of an array, got {function!r}")
    title = getattr(function, "__name__", "activation")
    title = title if title.isidentifier() else "activation"
    if options:
        parameters = list(inspect.signature(function).parameters.values())
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            check_options(title, options, [each.name for each in parameters[1:]])
    return replace(computes(function, options=dict(options), bare=True), op=title)


def _named(title: str, hint: str = "") -> Callable[..., Layer]:
    """The builder of an activation, with the options of the function of that name."""
    function = activations.by_name(title)
    known = list(inspect.signature(function).parameters.values())[1:]
    needs = frozenset(each.name for each in known) & {"key"}

    def build(*, name: str | None = None, **options: Any) -> Layer:
        return computes(function, options=options, needs=needs, check=is_array)

    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in known if each.name not in needs]
    name = inspect.Parameter("name", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
    build.__signature__ = inspect.Signature([*keywords, name], return_annotation="Layer")  # type: ignore[attr-defined]
    build.__name__ = build.__qualname__ = title
    build.__doc__ = f"The activation ``{title}`` as a layer, with the options of the function by that name."
    return recorded(build, title, hint)


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
linear = _named("linear", hint="; for a layer of units write dense({})")
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

_BY_NAME: dict[str, Callable[..., Layer]] = {title: globals()[title] for title in activations.available()}
