"""Every example runs from start to end on small data, and says what it reached beside something else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
LAST = {
    "gan": r"generated +are [\d.]+ from .*of a Gaussian +are [\d.]+ from .*real, not seen",
    "language": r"the gpt needs [\d.]+ nats for each of \d+ .*counts of pairs need [\d.]+",
    "lora": r"beside \d+ frozen ones \(which have not moved\).*same predictions, to \de-\d",
    "mnist": r"reads [\d.]+% of \d+ test images.*logistic regression on \d+ of these images reads",
    "resnet": r"the residual network reads [\d.]+% of \d+ test images; .*reads [\d.]+%",
    "siamese": r"finds which is which [\d.]+% of the time.*pixels themselves does [\d.]+%",
    "tabular": r"the network +[\d.]+\n.*gradient boosting +[\d.]+\n.*at best +[\d.]+",
    "vae": r"takes at most [\d.]+ nats: .*by +[\d.]+",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_smoke(path, tmp_path):
    command = [sys.executable, str(path), "--smoke"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(LAST[path.stem], done.stdout, re.DOTALL), done.stdout[-2000:]
