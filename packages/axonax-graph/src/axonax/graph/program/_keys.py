"""Keys by name: each parameter and each random layer draws from its own, whatever else the model holds."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np


def fold_path(key: Any, path: str) -> Any:
    """The key of ``path``: ``key`` with the 64 bits of a stable hash of the path folded in.

    >>> key = jax.random.key(0)
    >>> bool(fold_path(key, "dense_0/kernel") == fold_path(key, "dense_1/kernel"))
    False
    """
    return fold_words(key, words(path))


def words(path: str) -> Any:
    """The 64 bits of a stable hash of the path, as two ``uint32``."""
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return np.frombuffer(digest, dtype=">u4").astype(np.uint32)


def fold_words(key: Any, words: Any) -> Any:
    """``key`` with two words folded in, one after the other."""
    return jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1])


def check_key(who: str, key: Any) -> None:
    """Refuse what is not a PRNG key.

    Raises:
        TypeError: ``key`` is neither a key of ``jax.random.key`` nor one of ``jax.random.PRNGKey``.
    """
    typed = isinstance(key, jax.Array) and jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed and getattr(key, "dtype", None) != np.uint32:
        raise TypeError(f"{who}: key must be a PRNG key such as jax.random.key(0), got {type(key).__name__}")
