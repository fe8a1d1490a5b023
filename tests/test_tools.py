"""The tools that stand in for an installation and that look at one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHOW = """
import json
from importlib.metadata import entry_points, version
import axonax.tensor
print(json.dumps({
    "file": axonax.tensor.__file__,
    "version": version("axonax-optim"),
    "meta": version("axonax"),
    "optimizers": sorted({each.name for each in entry_points(group="axonax.optimizers")}),
}))
"""


def inplace(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "inplace.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""}
    )


def test_inplace_runs_the_checkout():
    done = inplace("-c", SHOW)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert Path(shown["file"]).is_relative_to(ROOT / "packages" / "axonax-tensor" / "src")
    assert (shown["version"], shown["meta"]) == ("0.1.0", "0.1.0")
    assert "adamw" in shown["optimizers"]


def test_inplace_gives_names_without_an_installation():
    """-S leaves site-packages out, so the names can only come from the stubs."""
    names = "from importlib.metadata import entry_points as e; print(len(e(group='axonax.optimizers')))"
    assert int(inplace("-S", "-c", names).stdout) >= 11


def test_inplace_hands_on_the_exit_status():
    assert inplace("-c", "raise SystemExit(7)").returncode == 7


@pytest.mark.parametrize(
    ("arguments", "text"), [(["nonsense"], "unknown parts"), (["tensor"], "installed are")]
)
def test_check_install_tells_what_is_wrong(arguments, text):
    command = [sys.executable, str(ROOT / "tools" / "check_install.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert text in done.stdout
