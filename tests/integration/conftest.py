"""Devices and data for the tests across packages."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run on a GPU and compare with the CPU")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--gpu", default=False):
        return
    # Products of float32 in reduced precision would differ from the CPU by 1e-3.
    jax.config.update("jax_default_matmul_precision", "highest")
    if jax.default_backend() != "gpu":
        raise pytest.UsageError(f"--gpu: JAX sees no GPU, its devices are {jax.devices()}")


@pytest.fixture
def precision() -> dict[str, str]:
    """The environment in which another process multiplies as this one does."""
    chosen = jax.config.jax_default_matmul_precision
    return {} if chosen is None else {"JAX_DEFAULT_MATMUL_PRECISION": chosen}


@pytest.fixture
def everywhere(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], Any]:
    """Runs a function on the default device; with ``--gpu`` on the CPU too, to compare."""

    def run(compute: Callable[[], Any]) -> Any:
        result = compute()
        if request.config.getoption("--gpu", default=False):
            with jax.default_device(jax.devices("cpu")[0]):
                expected = compute()
            assert jax.tree.structure(result) == jax.tree.structure(expected)
            for one, two in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
        return result

    return run


class Digits:
    """Scikit-learn's handwritten digits: 1440 to train on, 357 to test on, 64 pixels in [0, 1]."""

    def __init__(self) -> None:
        bundled = pytest.importorskip("sklearn.datasets").load_digits()
        x, y = (bundled.data / 16).astype(np.float32), bundled.target.astype(np.int32)
        self.x_train, self.y_train, self.x_test, self.y_test = x[:1440], y[:1440], x[1440:], y[1440:]


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits()


@pytest.fixture(scope="session")
def mnist_path() -> pathlib.Path:
    """Where the real MNIST is: ``AXONAX_MNIST``, or beside the checkout."""
    path = pathlib.Path(os.environ.get("AXONAX_MNIST", ROOT.parent / "shared" / "data" / "mnist.npz"))
    if not path.exists():
        pytest.skip(f"no MNIST at {path}: set AXONAX_MNIST")
    return path
