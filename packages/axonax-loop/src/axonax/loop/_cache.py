"""Compiled programs that the next process finds again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache


def cache(path: str | os.PathLike[str] | None = None) -> Path:
    """Keep what JAX compiles in a folder, so that the same program starts in a fraction of the time.

    It turns on JAX's persistent compilation cache for this process, for small programs too, which JAX by
    itself leaves out. Call it once, at the start. A program is found again if its code, the shapes of its
    arrays, the device and the version of JAX are the same; the results do not change. Nothing is ever removed
    from the folder: delete it whenever you like.

    Args:
        path: the folder, made when something is compiled. By default the one that JAX was told of already
            (``JAX_COMPILATION_CACHE_DIR``), else ``axonax/jax`` in the user's folder of caches.

    Returns:
        the folder.

    Raises:
        ValueError: ``path`` is a file.
    """
    config: Any = jax.config
    if path is None:
        path = config.jax_compilation_cache_dir or _users() / "axonax" / "jax"
    folder = Path(path).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"cache: path must be a folder, got the file {folder}")
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        config.update(name, value)
    # JAX decides at the first compilation whether there is a cache, and where.
    untyped: Any = compilation_cache
    untyped.reset_cache()
    return folder


def _users() -> Path:
    """Where programs of this user keep what they can make anew."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(name) or Path.home() / ".cache")
