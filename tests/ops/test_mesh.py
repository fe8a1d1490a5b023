"""Metrics over eight devices: partitioned by the compiler, and merged shard by shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("mesh.py")
KINDS = ("accuracy", "pearson", "roc_auc")
"""Counts, moments, and ranks: states that merge in three ways"""


def run(*names: str) -> None:
    done = subprocess.run([sys.executable, PROGRAM, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_kinds_of_state_over_a_mesh():
    run(*KINDS)


@pytest.mark.slow
def test_every_metric_over_a_mesh():
    run()
