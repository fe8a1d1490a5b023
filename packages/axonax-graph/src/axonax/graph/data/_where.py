"""Where the user wrote a layer."""

from __future__ import annotations

import os
import sys
from types import FrameType


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
