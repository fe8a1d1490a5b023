"""What the tests of this package share."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import pytest

from axonax import optim

# A program that test_meshes.py runs in a process of its own.
collect_ignore = ["meshes.py"]

# JAX up to 0.10 can write kernels without MLIR: of a program of small ones a quarter of the time remains.
OLD = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
QUICK |= OLD if jax.__version_info__ < (0, 11) else {}


@pytest.fixture(scope="session")
def quick() -> Callable[..., Any]:
    """``jax.jit`` that compiles fast, for programs that run too short to be worth optimizing."""
    return functools.partial(jax.jit, compiler_options=QUICK)


@pytest.fixture(scope="session")
def minimize(quick: Callable[..., Any]) -> Callable[..., optim.Result]:
    """``optim.minimize`` within one program that compiles fast."""

    def run(
        objective: Any, x0: Any, method: Any = "lbfgs", *, args: Any = (), **options: Any
    ) -> optim.Result:
        program = quick(lambda x0, args: optim.minimize(objective, x0, method, args=args, **options))
        result = jax.block_until_ready(program(x0, args))
        jax.effects_barrier()
        return result

    return run
