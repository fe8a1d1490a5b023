"""What a user's function can be called with, found out once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from axonax.tensor import names


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The parameters of a function by name; ``None`` where Python cannot tell."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def accepted(function: Callable[..., Any], *wanted: str) -> tuple[str, ...]:
    """Those of ``wanted`` that ``function`` has as parameters of their own (``**kwargs`` does not count)."""
    known = parameters(function) or {}
    fits = {name for name, each in known.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
    return tuple(name for name in wanted if name in fits)


def takes_any(function: Callable[..., Any]) -> bool:
    """Whether a function has ``**kwargs``."""
    return any(each.kind is each.VAR_KEYWORD for each in (parameters(function) or {}).values())


def check_options(who: str, function: Callable[..., Any], options: Iterable[str], taken: int = 0) -> None:
    """Raise unless ``function`` has all ``options``, beside its first ``taken`` parameters.

    Raises:
        ValueError: it has not; the text lists near matches.
    """
    known = parameters(function)
    if known is None or takes_any(function):
        return
    for option in options:
        if option not in list(known)[taken:]:
            raise ValueError(
                f'{who} has no option "{option}": {names.suggestion(option, list(known)[taken:])}'
            )


def fits(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with ``count`` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True
