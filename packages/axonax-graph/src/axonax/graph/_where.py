"""Where the user wrote a layer, and builders that answer there for what they are given."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from axonax.tensor import names

P = ParamSpec("P")
Result = TypeVar("Result")


def caller() -> str:
    """The innermost line outside of this package on the stack, as ``"train.py:41"``.

    Frames are told apart by their module, so the number of calls in between does not matter.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def _is_ours(frame: FrameType) -> bool:
    """Doctests run under the name of the module that they stand in, but are the user's side."""
    ours = str(frame.f_globals.get("__name__", "")).startswith("axonax.")
    return ours and not frame.f_code.co_filename.startswith("<doctest")


def builder(function: Callable[P, Result]) -> Callable[P, Result]:
    """Make a function that describes a layer refuse nodes and unknown options by name.

    Raises:
        TypeError: an option that the builder does not have (the text lists near matches), or a node where
            the layer's own arguments go (``nn.relu(x)`` for ``x | nn.relu()``).
    """
    name = function.__name__.rstrip("_")
    parameters = inspect.signature(function).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())

    @functools.wraps(function)
    def build(*args: P.args, **kwargs: P.kwargs) -> Result:
        if any(_is_node(value) for value in (*args, *kwargs.values())):
            raise TypeError(f"{name}: got a node where its own arguments go: write x | nn.{name}(...)")
        if not open_ended:
            check_options(name, kwargs, parameters)
        return function(*args, **kwargs)

    return build


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


def _is_node(value: Any) -> bool:
    """By its mark, as this module stands below the nodes."""
    return getattr(type(value), "__axonax_node__", False) is True
