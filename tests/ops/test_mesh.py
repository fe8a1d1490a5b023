"""Metrics over eight devices: partitioned by the compiler, and merged shard by shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("mesh.py")
KINDS = ("accuracy", "calibration_error", "mean_absolute_error", "minimum", "pearson", "roc_auc", "spearman")
"""One of each kind of state"""


def run(*names: str) -> None:
    done = subprocess.run([sys.executable, PROGRAM, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_kind_of_state_over_a_mesh():
    run(*KINDS)


@pytest.mark.slow
def test_every_metric_over_a_mesh():
    run()
