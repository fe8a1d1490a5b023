"""What an unknown name of the package says: near matches.

The function is set on the package from here, rather than defined there, so that type checkers go on to report
unknown names: they take a module with a ``__getattr__`` of its own to have every name.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from axonax.tensor import names

_PACKAGE = sys.modules[__package__ or ""]


def unknown(name: str) -> NoReturn:
    """Refuse a name that the package has not.

    Raises:
        AttributeError: always; the text lists near matches.

    >>> from axonax import graph as nn
    >>> nn.einsum_dens
    Traceback (most recent call last):
    ...
    AttributeError: axonax.graph has no "einsum_dens": did you mean "einsum_dense"?
    """
    if name.startswith("__"):  # what Python and its tools ask of any module
        raise AttributeError(f"module {_PACKAGE.__name__!r} has no attribute {name!r}")
    known = [each for each in dir(_PACKAGE) if not each.startswith("_")]
    raise AttributeError(
        f'{_PACKAGE.__name__} has no "{name}": {names.suggestion(name, known)}', name=name, obj=_PACKAGE
    )


_PACKAGE.__getattr__ = unknown  # type: ignore[method-assign]
