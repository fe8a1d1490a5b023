"""Settings of every test in the repository."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

PACKAGES = Path(__file__).parent / "packages"
MAPPINGS = Path("/proc/self/maps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Doctests touch every public function, so they belong to the subset that the newer Pythons run."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.smoke)


def pytest_collection_finish() -> None:
    """Tracing makes many objects that live: looking through them all the time takes a tenth of it."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let go of compiled programs once a module leaves more than a process can go on with.

    Until then the next modules call them again: most are single steps that every test takes.
    """
    if (nextitem is None or nextitem.path != item.path) and crowded():
        jax.clear_caches()


def crowded() -> bool:
    """Whether a good part of the mappings of memory is taken, of which Linux allows a process 65,530.

    Each compiled program takes a few. Where they cannot be counted, they may be too many.
    """
    return not MAPPINGS.exists() or MAPPINGS.read_bytes().count(b"\n") > 20_000


@pytest.fixture(autouse=True)
def _rank_promotion(request: pytest.FixtureRequest) -> Iterator[None]:
    """In a package's own tests arrays of unequal rank do not mix unless the code says which axis is meant.

    Integration tests and documentation are written as users write, and call other libraries.
    """
    ours = request.path.is_relative_to(PACKAGES) and request.path.suffix == ".py"
    with jax.numpy_rank_promotion("raise" if ours else "allow"):
        yield
