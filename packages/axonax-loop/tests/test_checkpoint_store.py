"""The folder of checkpoints: what is whole, what is damaged, what is kept, who may use it."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from axonax.loop.checkpoint import _folder, _store
from axonax.loop.checkpoint._store import Store, holds_checkpoints, load

ARRAYS = {"state/w": np.arange(6, dtype=np.float32).reshape(2, 3), "state/n": np.int32(7)}


def saved(path: Path, *steps: int, keep: int = 3, best: tuple[int, ...] = ()) -> Path:
    with Store(path, keep=keep) as store:
        for step in steps:
            store.save(step, {**ARRAYS, "state/n": np.int32(step)}, {"step": step}, best=step in best)
    return path


def names(path: Path) -> list[str]:
    return sorted(child.name for child in path.iterdir() if child.name != ".lock")


def test_what_is_saved_comes_back_in_its_dtypes(tmp_path: Path) -> None:
    arrays = {
        **ARRAYS,
        "state/half": jnp.ones((2,), jnp.bfloat16),
        "state/key": jax.random.key(3),
        "state/none": np.zeros((0, 4), np.float32),
        "state/flag": np.array(True),
    }
    document = {"loss": 0.1 + 0.2, "nan": math.nan, "inf": -math.inf, "text": "ä", "list": [1, None, True]}
    with Store(tmp_path / "new" / "run") as store:
        store.save(12, arrays, document)
        assert store.wait()
        loaded = store.load()
    assert loaded is not None
    assert (loaded.step, loaded.path.name) == (12, "step_00000012")
    assert set(loaded.arrays) == set(arrays)
    for name, leaf in arrays.items():
        assert loaded.arrays[name].dtype == leaf.dtype
        if name == "state/key":
            assert (jax.random.key_data(loaded.arrays[name]) == jax.random.key_data(leaf)).all()
        else:
            np.testing.assert_array_equal(loaded.arrays[name], leaf)
    assert math.isnan(loaded.document.pop("nan"))  # type: ignore[attr-defined]
    document.pop("nan")
    assert loaded.document == document


_DTYPES = [np.float32, np.float16, np.int32, np.uint8, np.bool_]
_LEAVES = st.sampled_from(_DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrays=st.dictionaries(st.from_regex(r"[a-z]{1,6}(/[a-z]{1,3})?", fullmatch=True), _LEAVES, max_size=4),
    document=st.dictionaries(st.text(), _JSON, max_size=4),
)
def test_anything_comes_back(arrays: dict[str, Any], document: dict[str, Any]) -> None:
    heads = {name for name in arrays if "/" not in name}
    arrays = {
        name: leaf for name, leaf in arrays.items() if "/" not in name or name.split("/")[0] not in heads
    }
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder), asynchronous=False) as store:
        store.save(0, arrays, document)
        loaded = store.load()
    assert loaded is not None
    assert loaded.document == document
    assert set(loaded.arrays) == set(arrays)
    for name, leaf in arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], leaf)


def test_the_newest_are_kept_and_the_best(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3, 4, 5, 6, keep=2, best=(1, 3))
    assert names(tmp_path) == ["step_00000003", "step_00000005", "step_00000006"]
    with Store(tmp_path, keep=2) as store:
        best, newest = store.load(best=True), store.load()
    assert best is not None
    assert newest is not None
    assert (best.step, newest.step) == (3, 6)
    with Store(tmp_path, keep=1) as store:
        assert store.steps() == [3, 6]


def test_a_save_after_going_back_stays_and_what_was_left_behind_goes(tmp_path: Path) -> None:
    saved(tmp_path, 2, 5, keep=1, best=(2,))
    file = tmp_path / "step_00000005" / _folder.DOCUMENT
    file.write_bytes(file.read_bytes()[:-1])
    with Store(tmp_path, keep=1) as store:
        loaded = store.load()
        assert loaded is not None
        assert loaded.step == 2
        store.save(3, ARRAYS, {"step": 3})
        store.wait()
        assert store.steps() == [2, 3]


def test_a_step_saved_again_takes_the_place_of_the_first_and_stays_the_best(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, best=(2,))
    with Store(tmp_path) as store:
        store.save(2, ARRAYS, {"again": True})
    assert names(tmp_path) == ["step_00000001", "step_00000002.1"]
    with Store(tmp_path) as store:
        best = store.load(best=True)
    assert best is not None
    assert best.document == {"again": True}


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / ".draft-abc").mkdir()
    (tmp_path / ".draft-abc" / "arrays.safetensors").write_bytes(b"half")
    with Store(tmp_path) as store:
        assert store.steps() == [1]
    assert names(tmp_path) == ["step_00000001"]


def test_a_caller_may_go_on_with_its_arrays(tmp_path: Path) -> None:
    array, on_device = np.zeros(3), jnp.zeros(3)
    with Store(tmp_path) as store:
        store.save(1, {"a": array, "b": on_device}, {})
        array += 1
        on_device.delete()
        store.wait()
        loaded = store.load()
    assert loaded is not None
    np.testing.assert_array_equal(loaded.arrays["a"], 0)
    np.testing.assert_array_equal(loaded.arrays["b"], 0)


@pytest.mark.parametrize("name", [_folder.ARRAYS, _folder.DOCUMENT, _folder.MANIFEST])
@pytest.mark.parametrize("how", ["flip", "cut", "longer", "gone"])
def test_damage_anywhere_is_found_and_the_one_before_taken(
    name: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path, 1, 2)
    file = tmp_path / "step_00000002" / name
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    many = rng.choice(len(whole), min(25, len(whole)), replace=False)
    for position in many if how in ("flip", "cut") else [0]:
        spoilt = bytearray(whole)
        if how == "flip":
            spoilt[position] ^= 1 << rng.integers(8)
        elif how == "cut":
            del spoilt[position:]
        elif how == "longer":
            spoilt += b"0"
        file.write_bytes(spoilt) if how != "gone" else file.unlink()
        caplog.clear()
        loaded = load(tmp_path)
        assert loaded is not None
        assert loaded.step == 1, position
        assert f"{file.parent} is damaged, trying the one before: {name}" in caplog.text


def test_all_damaged_is_an_error_and_none_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere") is None
    saved(tmp_path, 1, 2)
    for step in (1, 2):
        (tmp_path / f"step_{step:08}" / _folder.DOCUMENT).write_text("{}")
    with pytest.raises(
        ValueError, match=r"none in .* can be read:\n.*step_00000002: document.json has 2 bytes"
    ):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"00002 is damaged: document.json has 2 bytes, 11 were written"):
        load(tmp_path / "step_00000002")


def test_no_file_outside_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "run", 1)
    secret = tmp_path / "secret"
    document = tmp_path / "run" / "step_00000001" / _folder.DOCUMENT
    secret.write_bytes(document.read_bytes())
    document.unlink()
    document.symlink_to(secret)
    with pytest.raises(ValueError, match="document.json is missing"):
        load(tmp_path / "run")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for make in (Store, load):
        with pytest.raises(ValueError, match="file must be a folder, it is a file"):
            make(tmp_path / "file")
    assert not holds_checkpoints(tmp_path / "file")


def test_one_run_at_a_time_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    hold = "import sys, time; from axonax.loop.checkpoint._lock import Lock; from pathlib import Path\n"
    hold += "Lock(Path(sys.argv[1])).take(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with (
            pytest.raises(ValueError, match=f"in use by another run \\(process {process.pid} on "),
            Store(tmp_path),
        ):
            pass
        process.kill()
    with Store(tmp_path) as store:
        assert store.steps() == []


def test_a_full_disk_is_a_warning_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = [True]
    fsync = os.fsync

    def sync(number: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    saved(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", sync)
    with Store(tmp_path) as store:
        store.save(2, ARRAYS, {})
        assert not store.wait()
        assert store.steps() == [1]
        full[0] = False
    assert names(tmp_path) == ["step_00000001", "step_00000002"]
    assert f"not saved to {tmp_path}, the run goes on: [Errno {errno.ENOSPC}] No space left" in caplog.text


def test_what_cannot_be_written_is_an_error_of_the_next_call(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.save(1, ARRAYS, {"function": print})
        with pytest.raises(TypeError, match="not JSON serializable"):
            store.wait()
        assert names(tmp_path) == []


def test_the_caller_is_not_stopped_by_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = _folder.write_json

    def slow(*arguments: Any) -> None:
        time.sleep(0.3)
        write(*arguments)

    monkeypatch.setattr(_store._folder, "write_json", slow)
    with Store(tmp_path) as store:
        store.save(1, ARRAYS, {})
        assert names(tmp_path)[:1] == [] or names(tmp_path)[0].startswith(".draft")
    assert names(tmp_path) == ["step_00000001"]
