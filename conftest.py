"""Settings of every test in the repository."""

from __future__ import annotations

import jax
import pytest

# A missing axis is a bug far more often than a wish, so library and tests write out which axis is meant.
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Doctests touch every public function, so they belong to the subset that the newer Pythons run."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.smoke)
