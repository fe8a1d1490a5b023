"""Compiled programs kept in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from axonax import loop

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
# JAX tells by an event which programs it found; the second process must compile none.
PROGRAM = """
import sys
import jax, jax.monitoring
from axonax import loop
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.jit(lambda x: x + 1)(1.0)  # compiled before there is a cache
events.clear()
folder = loop.cache(*sys.argv[1:])
loop.loop(lambda total, batch: total + batch.sum(), init=lambda batch: 0.0).run([jax.numpy.ones(3)])
count = lambda name: events.count("/jax/compilation_cache/" + name)
print(folder, count("cache_hits"), count("cache_misses"))
"""


@pytest.fixture(autouse=True)
def _as_before():
    before = {name: getattr(jax.config, name) for name in NAMES}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def started(*arguments: str, **environment: str) -> tuple[str, int, int]:
    """The folder, hits and misses of a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=clean | environment,
    )
    folder, hits, misses = done.stdout.split()
    return folder, int(hits), int(misses)


def test_a_second_process_compiles_nothing(tmp_path):
    folder, hits, misses = started(str(tmp_path / "programs"))
    assert (folder, hits) == (str(tmp_path / "programs"), 0)
    assert misses > 0
    assert started(str(tmp_path / "programs"))[1:] == (misses, 0)


def test_the_default_is_what_jax_was_told(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "told"))
    assert loop.cache() == tmp_path / "told"
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0
    assert jax.config.jax_persistent_cache_min_entry_size_bytes == -1


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "caches"}, Path("caches/axonax/jax")),
        ("linux", {"XDG_CACHE_HOME": ""}, Path("home/.cache/axonax/jax")),
        ("darwin", {}, Path("home/Library/Caches/axonax/jax")),
        ("win32", {"LOCALAPPDATA": "local"}, Path("local/axonax/jax")),
    ],
)
def test_the_users_folder(monkeypatch, platform, environment, folder):
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert loop.cache() == folder.absolute()


def test_a_file_is_refused(tmp_path):
    file = tmp_path / "programs"
    file.touch()
    with pytest.raises(ValueError, match=r"^cache: path must be a folder, got the file .*programs$"):
        loop.cache(file)
