"""Every system call that changes a file of a checkpoint fails once: a whole checkpoint is found after it."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from axonax.loop.checkpoint import _store
from axonax.loop.checkpoint._store import Store

SCRIPT = Path(__file__).parent / "scripts" / "storing.py"
CALLS = (
    "openat,write,writev,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,rmdir,"
    "mkdir,mkdirat,flock,close"
)
FAULTS = ("signal=KILL", "error=ENOSPC", "error=EIO")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def traced(path: Path, step: int, *options: str) -> subprocess.CompletedProcess[str]:
    """What saving prints with its system calls written beside the folder, some of them made to fail."""
    command = ["strace", "-f", "-y", "-qq", "-e", f"trace={CALLS}", *options, "-o", f"{path}.trace"]
    program = [sys.executable, str(SCRIPT), str(path), str(step)]
    return subprocess.run([*command, *program], capture_output=True, text=True, check=False)


def folder(path: Path) -> Path:
    """A folder with the checkpoints 1 and 2, of which the next save prunes one."""
    for step in (0, 1, 2):
        with Store(path, keep=2, asynchronous=False) as store:
            store.save(step, {"state/w": np.full(3, step, np.float32)}, {"step": step}, best=step == 0)
    return path


@functools.cache
def points() -> tuple[tuple[str, int], ...]:
    """The calls of one save with pruning under the folder: each by its name and its number among those."""
    # Once before, so that no bytecode is written in between: it would be counted.
    with tempfile.TemporaryDirectory() as place:
        assert traced(folder(Path(place) / "warm"), 3).returncode == 0
        path = folder(Path(place) / "run")
        assert traced(path, 3).returncode == 0
        lines = Path(f"{path}.trace").read_text().splitlines()
    counts: dict[str, int] = {}
    found = []
    for line in lines:
        match = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if match is None:
            continue
        call = match[1]
        counts[call] = counts.get(call, 0) + 1
        changes = call != "openat" or "O_CREAT" in line or "O_DIRECTORY" in line
        if str(path) in line and changes and call != "close":
            found.append((call, counts[call]))
    return tuple(found)


def survives(path: Path, call: str, number: int, fault: str) -> None:
    """Let one call fail: the old or the new checkpoint is whole, and the next run saves and cleans."""
    folder(path)
    outcome = traced(path, 3, "-e", f"inject={call}:{fault}:when={number}")
    loaded = _store.load(path)
    assert loaded is not None, outcome.stderr
    assert loaded.step in (2, 3)
    np.testing.assert_array_equal(loaded.arrays["state/w"], loaded.step)
    assert loaded.document == {"step": loaded.step}
    with Store(path, keep=2, asynchronous=False) as store:
        store.save(4, {"state/w": np.full(3, 4, np.float32)}, {"step": 4})
        best = store.load(best=True)
    assert best is not None
    assert best.step == 0
    kept = sorted(child.name for child in path.iterdir() if child.name != ".lock")
    # A step whose folder was there when the last of its calls failed is saved again, as its second.
    assert [name.removesuffix(".1") for name in kept] == [f"step_{step:08}" for step in (0, loaded.step, 4)]


@needs_strace
@pytest.mark.slow
def test_a_sample_of_points(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    every = [(call, number, fault) for call, number in points() for fault in FAULTS]
    for number, index in enumerate(rng.choice(len(every), 20, replace=False)):
        survives(tmp_path / f"run_{number}", *every[index])


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_point(fault: str, tmp_path: Path) -> None:
    found = points()
    assert len(found) >= 20
    for number, (call, count) in enumerate(found):
        survives(tmp_path / f"run_{number}", call, count, fault)
