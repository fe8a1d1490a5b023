"""Look at an environment from inside: are exactly the named parts of Axonax there, whole and nothing stray?

Run by the wheels session: `python tools/check_install.py [--meta] tensor optim`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

PARTS = ("tensor", "functional", "graph", "optim", "loop")


def stray_files(part: str) -> list[str]:
    """Files of the part's distribution outside its own folders."""
    own = (f"axonax/{part}/", f"axonax_{part}-")
    files = importlib.metadata.files(f"axonax-{part}") or []
    return [str(file) for file in files if not str(file).startswith(own)]


def lacking_files(part: str) -> list[str]:
    """What the part's distribution must carry and does not."""
    files = [str(file) for file in importlib.metadata.files(f"axonax-{part}") or []]
    needed = (f"axonax/{part}/__init__.py", f"axonax/{part}/py.typed", "licenses/LICENSE")
    return [name for name in needed if not any(file.endswith(name) for file in files)]


def missing_owner(parts: list[str]) -> list[str]:
    """A name whose owner is not here must say what to install."""
    owners = {"functional": ("loss", "categorical_cross_entropy"), "optim": ("optimizer", "adamw")}
    found = []
    for owner, (kind, name) in owners.items():
        try:
            importlib.import_module("axonax.tensor.plugins").resolve(kind, name)
        except ValueError as error:
            if owner in parts or f"pip install axonax-{owner}" not in str(error):
                found.append(f'{kind} "{name}": {error}')
        else:
            if owner not in parts:
                found.append(f'{kind} "{name}" was found without axonax-{owner}')
    return found


def faults(parts: list[str], meta: bool) -> list[str]:
    """Everything wrong with the environment, a line each."""
    found = []
    for part in parts:
        importlib.import_module(f"axonax.{part}")
        version = importlib.import_module(f"axonax.{part}._version").__version__
        if importlib.metadata.version(f"axonax-{part}") != version:
            found.append(f"axonax.{part}.__version__ is not the version of its distribution")
        found += [f"axonax-{part} ships {file}" for file in stray_files(part)]
        found += [f"axonax-{part} lacks {file}" for file in lacking_files(part)]
        entries = importlib.metadata.distribution(f"axonax-{part}").entry_points
        found += [
            f"axonax-{part}: {entry.name} is not callable" for entry in entries if not callable(entry.load())
        ]
    namespace = [Path(folder) for folder in importlib.import_module("axonax").__path__]
    there = {entry.name for folder in namespace for entry in folder.iterdir()} - {"__pycache__"}
    if there != set(parts):
        found.append(f"axonax/ holds {sorted(there)}, wanted {sorted(parts)}")
    found += missing_owner(parts)
    names = {each.metadata["Name"] for each in importlib.metadata.distributions()}
    ours = {name for name in names if name.startswith("axonax")}
    wanted = {f"axonax-{part}" for part in parts} | ({"axonax"} if meta else set())
    if ours != wanted:
        found.append(f"installed are {sorted(ours)}, wanted {sorted(wanted)}")
    return found


def main(arguments: list[str]) -> int:
    """Print the faults, or one line that all is well."""
    meta = "--meta" in arguments
    parts = [part for part in arguments if part != "--meta"]
    unknown = set(parts) - set(PARTS)
    if unknown:
        print(f"unknown parts {sorted(unknown)}: known are {list(PARTS)}")
        return 2
    found = faults(parts, meta)
    print("\n".join(found) if found else f"whole: {' '.join(parts)}{' and the meta-package' if meta else ''}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
