"""The borders between the packages, from outside: what an import loads."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from axonax import tensor

PARTS = ("tensor", "functional", "graph", "optim", "loop")
PLUGINS = "from axonax.tensor import plugins"
STATEMENTS = (
    *(f"import axonax.{part}" for part in PARTS),
    f"import axonax.loop; {PLUGINS}",
    f"{PLUGINS}; plugins.resolve('metric', 'accuracy')",
)
# JAX, which all of them load, is loaded once: each statement runs in a fork of its own.
PROGRAM = """
import json, os, sys, warnings
import jax
for statement in sys.argv[1:]:
    child = os.fork()
    if not child:
        warnings.simplefilter("error")
        exec(statement)
        print(json.dumps(sorted(sys.modules)), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"this failed: {statement}")
"""


@functools.cache
def loaded(*statements: str) -> dict[str, set[str]]:
    """The modules that an interpreter with JAX holds after each of the statements."""
    command = [sys.executable, "-c", PROGRAM, *statements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return {each: set(json.loads(line)) for each, line in zip(statements, lines, strict=True)}


def loaded_by(statement: str) -> set[str]:
    """The modules that an interpreter with JAX holds after ``statement``."""
    return loaded(*(STATEMENTS if statement in STATEMENTS else (statement,)))[statement]


@pytest.mark.parametrize("part", PARTS)
def test_importing_a_part_imports_no_sibling(part):
    ours = {name for name in loaded_by(f"import axonax.{part}") if name.startswith("axonax.")}
    assert {name.split(".")[1] for name in ours} <= {part, "tensor"}


@pytest.mark.parametrize("part", PARTS)
def test_importing_a_part_imports_no_field_of_another(part):
    fields = {
        "optax": {"optim"},
        "rich": set(),
        "flax": set(),
        "equinox": set(),
        "orbax": set(),
        "sklearn": set(),
    }
    heads = {name.split(".")[0] for name in loaded_by(f"import axonax.{part}")}
    assert not [field for field, owners in fields.items() if field in heads and part not in owners]


def test_a_name_of_a_sibling_loads_its_owner_only_when_asked():
    assert "axonax.functional" not in loaded_by(f"import axonax.loop; {PLUGINS}")
    assert "axonax.functional" in loaded_by(f"{PLUGINS}; plugins.resolve('metric', 'accuracy')")


def test_one_import_of_tensor_gives_all_of_its_parts():
    modules = Path(importlib.util.find_spec("axonax.tensor").origin).parent.glob("[!_]*")
    parts = {path.stem for path in modules if path.suffix in ("", ".py")}
    assert {"activations", "layers", "files"} <= parts
    loaded = loaded_by("import axonax.tensor")
    assert parts == {name.removeprefix("axonax.tensor.") for name in loaded if _is_part(name)}
    for part in parts:
        assert getattr(tensor, part) is importlib.import_module(f"axonax.tensor.{part}")


def _is_part(name: str) -> bool:
    return (
        name.startswith("axonax.tensor.") and name.count(".") == 2 and not name.split(".")[2].startswith("_")
    )
