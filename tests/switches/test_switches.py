"""A small program of each package runs clean under every switch of JAX and Python that people debug with.

By day those that only refuse what they see are set together, in few processes; by night each by itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs.py")
MODEL = ("building", "declaring", "training")
REFUSING = (
    "jax_debug_nans=true",
    "jax_numpy_rank_promotion=raise",
    "jax_numpy_dtype_promotion=strict",
    "jax_enable_checks=true",
)
BY_DAY = {
    "refusing, -X dev": (("-X", "dev"), *REFUSING),
    "infinities, -O": (("-O",), "jax_debug_infs=true", *MODEL, "losses"),
    "leaks": ((), "jax_check_tracer_leaks=true", *MODEL),
    "wide, guarded": (
        (),
        "jax_enable_x64=true",
        "jax_threefry_partitionable=false",
        "declaring",
        "optimizers",
        "guarded",
    ),
    "interpreted": ((), "jax_disable_jit=true", "building"),
}
ALONE = (
    *REFUSING,
    "jax_debug_infs=true",
    "jax_check_tracer_leaks=true",
    "jax_enable_x64=true",
    "jax_threefry_partitionable=false",
    "jax_threefry_partitionable=true",
    "jax_disable_jit=true",
)


def run(python: tuple[str, ...], *words: str) -> None:
    command = [sys.executable, "-W", "error", *python, PROGRAMS, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("words", BY_DAY.values(), ids=BY_DAY.keys())
def test_programs_run_clean(words):
    run(*words)


@pytest.mark.slow
@pytest.mark.parametrize("switch", ALONE)
def test_all_programs_run_clean_under_one_switch(switch):
    run((), switch)


@pytest.mark.slow
@pytest.mark.parametrize("python", [("-O",), ("-X", "dev")], ids=" ".join)
def test_all_programs_run_clean_in_python(python):
    run(python)
