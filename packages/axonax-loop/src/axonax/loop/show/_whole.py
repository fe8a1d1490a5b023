"""Small files that are there whole or not at all."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

LOGGER = logging.getLogger("axonax.loop")


def written_whole(path: Path, content: bytes) -> None:
    """Put a file in the place of what was there; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def tried(who: str, path: Path, content: bytes) -> None:
    """The same for a run that goes on without it: a full or read-only disk is a warning."""
    try:
        written_whole(path, content)
    except OSError as error:
        LOGGER.warning("%s: %s could not be written: %s", who, path, error)
