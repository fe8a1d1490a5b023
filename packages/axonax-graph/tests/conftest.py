"""What the tests of this package share."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import pytest

# JAX up to 0.10 can write kernels without MLIR: of a program of small ones a quarter of the time remains.
OLD = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
QUICK |= OLD if jax.__version_info__ < (0, 11) else {}


@pytest.fixture(scope="session")
def quick() -> Callable[..., Any]:
    """``jax.jit`` that compiles fast, for programs that run too short to be worth optimizing."""
    return functools.partial(jax.jit, compiler_options=QUICK)
