"""Small files that are there whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path


def written_whole(path: Path, content: bytes) -> None:
    """Put a file in the place of what was there; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
