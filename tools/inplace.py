"""Run Python with Axonax as it stands in this checkout, installing nothing: for machines without a network.

`python3 tools/inplace.py -m pytest tests/integration --gpu` or `python3 tools/inplace.py examples/mnist.py`.
The source folders go on PYTHONPATH; so does build/inplace, where a stub of each distribution's metadata tells
the plugins which names it declares.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_metadata(package: Path, target: Path) -> None:
    """Write the dist-info of a package, as far as importlib.metadata reads it, below ``target``."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    sources = "".join(path.read_text() for path in package.glob("src/axonax/*/_version.py"))
    version = project.get("version") or re.search(r'__version__ = "(.+)"', sources)[1]
    folder = target / f"{project['name'].replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {version}"]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    entries = []
    for group, names in project.get("entry-points", {}).items():
        entries += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items()), ""]
    (folder / "entry_points.txt").write_text("\n".join(entries))


def main(arguments: list[str]) -> int:
    """Run ``python *arguments`` with the checkout in place; returns its exit status."""
    target = ROOT / "build" / "inplace"
    shutil.rmtree(target, ignore_errors=True)
    packages = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml"))
    for package in packages:
        write_metadata(package, target)
    folders = [str(package / "src") for package in packages if (package / "src").is_dir()]
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*folders, str(target), *([inherited] if inherited else [])])
    command = [sys.executable, *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
