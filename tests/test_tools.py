"""The tools that stand in for an installation and that look at one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SHOW = """
import json
from importlib.metadata import entry_points, version
from importlib.util import find_spec
print(json.dumps({
    "file": find_spec("axonax.tensor").origin,
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


WITHOUT_PEERS = """
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("flax", "keras") else real(name, *rest)
"""


def gpu(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "gpu.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_the_script_for_a_gpu_refuses_a_cpu():
    done = gpu(JAX_PLATFORMS="cpu")
    assert done.returncode == 1
    assert "gpu.py: JAX must compute on a gpu, got cpu (cpu)" in done.stderr


@pytest.mark.slow
def test_the_script_for_a_gpu_needs_no_peer_and_says_what_is_left_out(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_PEERS)
    out = tmp_path / "gpu.md"
    options = ("--platform", "cpu", "--smoke", "--parts", "steps", "ops", "--out", str(out))
    done = gpu(*options, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    text = out.read_text()
    assert text.startswith("# On a GPU\n\ncpu; JAX ")
    assert "## steps\n\nLeft out: it needs --data" in text
    assert "| bfloat16 layer norm 32 x 256 x 512 | with backward |" in text
    assert "Flax" not in text


def loaded(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{Path(path).stem}", ROOT / path)
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules[spec.name]


def test_the_script_for_a_gpu_cuts_a_part_at_its_limit():
    tool = loaded("tools/gpu.py")
    assert tool.run(("-c", "import time; time.sleep(60)"), 1, {})[1] is None
    assert tool.run(("-c", "raise SystemExit(3)"), 60, {}) == ("", 3)


def test_benchmarks_leave_out_rivals_that_are_not_installed(monkeypatch):
    case = loaded("benchmarks/ops_cases/case.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras" else name)
    assert isinstance(case.peer("keras.src").layers.LSTM(3), case.Absent)
    rivals = {"JAX by hand": abs, "Keras": abs, "Flax": abs}
    assert list(case.Case("abs", abs, rivals, ()).present()) == ["JAX by hand", "Flax"]
