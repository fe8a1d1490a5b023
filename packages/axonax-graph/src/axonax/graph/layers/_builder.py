"""What makes a function a builder of layers: its call is the layer's data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from axonax.graph.data._layer import Applied, Layer
from axonax.graph.data._values import plain
from axonax.tensor import names

P = ParamSpec("P")
L = TypeVar("L")


def builder(function: Callable[P, L]) -> Callable[P, L]:
    """Make a function that returns a layer a builder: the call, with all its arguments, is the layer's data.

    Layers of a builder whose arguments are plain (numbers, text, tuples, dicts) can be written to files, read
    by `loads`, compared, and made anew with other arguments by `replace`.

    Args:
        function: of arguments that a user gives; it returns `layer(...)`. An argument ``name`` is the path of
            the layer.

    Returns:
        a function of the same arguments.

    Raises:
        TypeError: (when called) an option that the builder does not have (the text lists near matches), a
            node where the layer's own arguments go (``nn.relu(x)`` for ``x | nn.relu()``), or a function that
            returns something else.

    >>> from axonax import graph as nn
    >>> @nn.builder
    ... def scale(initializer="ones", *, name=None):
    ...     gain = nn.param(lambda x: x.shape[-1:], initializer)
    ...     return nn.layer(lambda x, gain: x * gain, params={"gain": gain})
    >>> layer = scale("zeros")
    >>> layer.op, layer.arguments
    ('scale', {'initializer': 'zeros'})
    """
    return recorded(function, function.__name__.rstrip("_"))


def joining(function: Callable[P, Any]) -> Callable[P, Any]:
    """A `builder` whose first parameters are ``*nodes``: a call with nodes applies the layer to them."""
    return builder(function)


def recorded(function: Callable[P, L], op: str, hint: str = "", *, model: bool = False) -> Callable[P, L]:
    """A `builder` whose layers are called ``op``.

    ``hint`` ends the error on arguments that do not bind, with those by position in its braces; ``model``
    says that the first argument may be a node: a model within the layer.
    """
    signature = inspect.signature(function)
    known = signature.parameters
    joins = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in known.values())

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Any:
        nodes = _nodes_of(op, args) if joins else ()
        given = () if joins else args
        if not model and any(isinstance(value, Applied) for value in (*given, *kwargs.values())):
            raise TypeError(f"{op}: got a node where its own arguments go: write x | nn.{op}(...)")
        check_options(op, kwargs, known)
        arguments = _bound(op, signature, given, kwargs, hint)
        layer = _layer(op, build, arguments, function(**arguments))  # type: ignore[call-arg]
        return layer(*nodes) if nodes else layer

    build.op = op  # type: ignore[attr-defined]
    return build


def is_builder(value: Any) -> bool:
    """Whether a value is a function that `builder` made."""
    return callable(value) and isinstance(getattr(value, "op", None), str) and not isinstance(value, Layer)


def check_options(name: str, given: Any, known: Any) -> None:
    """Refuse the first option of ``given`` that is not among ``known``.

    Raises:
        TypeError: there is one; the text lists near matches.

    >>> check_options("dense", {"activatoin": "relu"}, {"units": 1, "activation": None})
    Traceback (most recent call last):
    ...
    TypeError: dense: unknown option "activatoin": did you mean "activation"?
    """
    for option in given:
        if option not in known:
            raise TypeError(f'{name}: unknown option "{option}": {names.suggestion(option, known)}')


def _bound(op: str, signature: inspect.Signature, args: Any, kwargs: Any, hint: str) -> dict[str, Any]:
    """All arguments of a call by name, in their plain form, with defaults."""
    try:
        bound = signature.bind(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})
    except TypeError as error:
        raise TypeError(f"{op}: {_counted(str(error), signature, len(args))}{hint.format(*args)}") from None
    bound.apply_defaults()
    many = inspect.Parameter.VAR_POSITIONAL
    return {
        key: value for key, value in bound.arguments.items() if signature.parameters[key].kind is not many
    }


def _counted(text: str, signature: inspect.Signature, count: int) -> str:
    """The text of an error on arguments, with those that are taken by position."""
    if text != "too many positional arguments":
        return text
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    known = [f'"{name}"' for name, each in signature.parameters.items() if each.kind is kind]
    named = f" ({', '.join(known)})" if known else ""
    return f"{text}: takes {len(known)}{named}, got {count}"


def _layer(op: str, build: Callable[..., Layer], arguments: Mapping[str, Any], made: Any) -> Layer:
    """The layer of a call; one that another builder recorded stays as it is."""
    if not isinstance(made, Layer):
        raise TypeError(f"{op}: a builder must return a layer, got {type(made).__name__}")
    fresh = made.builder is None
    if not fresh and not made.computation.bare:
        return made
    rest = dict(arguments)
    name = rest.pop("name", None)
    if made.computation.then is not None and "activation" in rest:
        rest["activation"] = None  # a node of its own, with a record of its own
    title = made.op if fresh and made.op else op
    return replace(made, op=title, arguments=rest, builder=build, name=made.name or name)


def _nodes_of(op: str, given: Iterable[Any]) -> tuple[Any, ...]:
    nodes = tuple(given)
    if len(nodes) == 1 and isinstance(nodes[0], list | tuple):
        nodes = tuple(nodes[0])
    if nodes and not any(isinstance(each, Applied) for each in nodes):
        raise TypeError(f"{op}: takes nodes, or none to make a layer, got {type(nodes[0]).__name__}")
    return nodes
