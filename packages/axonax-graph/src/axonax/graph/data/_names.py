"""Names of layers, which become paths."""

from __future__ import annotations

import re

_SEGMENT = r'(?!\.\.?(?:/|$))[^/*@"\[\]\x00-\x1f\x7f]+'
_NAME = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_LONGEST = 500


def check_name(op: str, name: object) -> None:
    """Refuse a name that could not be a path, or that would read as a pattern or an application.

    Raises:
        ValueError: it is not one or more segments joined by ``/``, none of them ``.`` or ``..``, without
            ``* @ [ ]``, quotes and control characters, or longer than 500 characters.

    >>> check_name("dense", "encoder/first")
    >>> check_name("dense", "../first")
    Traceback (most recent call last):
    ...
    ValueError: dense: name must be text without * @ [ ] " and without empty segments, got '../first'
    """
    if not isinstance(name, str) or len(name) > _LONGEST or not _NAME.fullmatch(name):
        shown = repr(name) if len(repr(name)) < 80 else f"{repr(name)[:60]}... ({len(str(name))} characters)"
        raise ValueError(f'{op}: name must be text without * @ [ ] " and without empty segments, got {shown}')
