"""The one task runner: `nox -s quickstart` is the main job, `nox -s tests` what CI runs; see `nox -l`."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
GROUND = "tensor"
PARTS = ("functional", "graph", "optim", "loop")
PYTHONS = ("3.11", "3.12", "3.13")
OLDEST = PYTHONS[0]
GPU = "--gpu" in sys.argv
WORKERS = ("-n", "2", "--dist", "worksteal")
# Where Python may write no bytecode, each process of a test would compile JAX anew, for seconds.
BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(ROOT / ".nox" / "pycache")}
CACHE = BYTECODE | {
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".nox" / "jax-cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
# Small programs compile in half the time, and round otherwise. JAX up to 0.10 has these flags, the newest for
# Python 3.11; later ones refuse to start with them.
QUICK = {
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
}


def groups(*names: str) -> list[str]:
    """The requirements of dependency groups in the root pyproject."""
    return list(nox.project.dependency_groups(PROJECT, *names))


def editable(*parts: str) -> list[str]:
    """Install options for parts from this checkout: paths alone, so that no index is asked for a sibling."""
    return [option for part in parts for option in ("-e", f"./packages/axonax-{part}")]


def everything() -> list[str]:
    """Install options for all five parts."""
    return editable(GROUND, *PARTS)


def runs(python: str) -> bool:
    """Whether ``python`` starts here: a version manager's shim may be on the path and yet lead nowhere."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def need_uv(session: nox.Session) -> None:
    """End the session unless its environment is uv's."""
    if session.venv_backend != "uv":
        session.error(f'{session.name} needs uv: python3 -m pip install "nox[uv]"')


@nox.session
def quickstart(session: nox.Session) -> None:
    """Train, evaluate, save and load a digit classifier: examples/mnist.py with what you give after --."""
    session.install(*everything(), *groups("examples"))
    session.run("python", "examples/mnist.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests of all packages, docs and examples on the CPU; integration on the newest Python here.

    There alone: on the oldest it runs in `lowest`, and here too if paths or options are given after --.
    """
    session.install(*everything(), *groups("test", "borders"))
    session.run("lint-imports")
    newest = next((version for version in reversed(PYTHONS) if runs(f"python{version}")), None)
    alone = newest is None or session.python == newest or sys.version_info[:2] >= _pair(newest)
    # Fast, but for what looks at rounding; `unit`, `nightly` and integration compile everything as for users.
    quick = QUICK if sys.version_info[:2] < (3, 12) else {}
    elsewhere = [] if alone or session.posargs else ["--ignore=tests/integration"]
    session.run("pytest", *elsewhere, *WORKERS, *session.posargs, env=CACHE | quick)
    if alone:
        session.log("no Python newer than this one is here: the integration tests ran on it alone")
    else:
        session.notify(f"integration-{newest}", posargs=())


def _pair(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


@nox.session(python=PYTHONS)
@nox.parametrize("part", [nox.param(part, id=part) for part in (GROUND, *PARTS)])
def unit(session: nox.Session, part: str) -> None:
    """One package's own tests with only axonax-tensor beside it; on newer Pythons the smoke subset."""
    session.install(*editable(*dict.fromkeys((GROUND, part))), *groups("unit"))
    subset = [] if session.python == OLDEST else ["-m", "smoke"]
    readme = f"tests/test_docs.py::test_blocks_run[packages/axonax-{part}/README.md]"
    session.run("pytest", f"packages/axonax-{part}", *subset, *session.posargs, env=CACHE)
    session.run("pytest", readme, env=CACHE)


@nox.session(python=False if GPU else PYTHONS, venv_backend="none" if GPU else None)
def integration(session: nox.Session) -> None:
    """The packages together, through public names; `-- --gpu` installs nothing and compares with the CPU."""
    if GPU:
        session.run(sys.executable, "tools/inplace.py", "-m", "pytest", "tests/integration", *session.posargs)
        return
    session.install(*everything(), *groups("test"))
    session.run("pytest", "tests/integration", *WORKERS, *session.posargs, env=CACHE)


@nox.session(python=OLDEST, reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """The tests with the oldest version that each package declares of each dependency."""
    need_uv(session)
    session.install("--resolution", "lowest-direct", *everything())
    session.install(*groups("test"))  # what is installed stays: only the tests' own tools are new
    session.run("python", "tools/check_floors.py")
    session.run("pytest", "packages", "tests/integration", *WORKERS, *session.posargs, env=BYTECODE)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build all distributions; install each subset of the four, and the meta-package, in a clean venv."""
    session.install("uv")
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for package in sorted((ROOT / "packages").iterdir()):
        session.run("uv", "build", "--quiet", "--out-dir", str(dist), str(package))
    subsets = [subset for size in range(5) for subset in itertools.combinations(PARTS, size)]
    for subset in subsets:
        try_wheels(session, dist, GROUND, *subset)
    venv = session.create_tmp() + "/all"
    python = interpreter(venv)
    installed = [f"axonax-{part}" for part in (GROUND, *PARTS)]
    session.run("uv", "pip", "uninstall", "--quiet", "--python", python, *installed)
    pip_install(session, python, "--no-index", "--find-links", str(dist), "axonax")
    session.run(python, "tools/check_install.py", "--meta", GROUND, *PARTS, external=True)


def try_wheels(session: nox.Session, dist: Path, *parts: str) -> None:
    """Install the built wheels of ``parts`` in a clean venv and look at what is there."""
    complete = len(parts) == len(PARTS) + 1
    venv = session.create_tmp() + ("/all" if complete else "/some")
    session.run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, venv)
    built = [str(next(dist.glob(f"axonax_{part}-*.whl"))) for part in parts]
    pip_install(session, interpreter(venv), *built)
    session.run(interpreter(venv), "tools/check_install.py", *parts, external=True)


def pip_install(session: nox.Session, python: str, *options: str) -> None:
    """Install with uv into the environment of ``python``."""
    session.run("uv", "pip", "install", "--quiet", "--python", python, *options)


def interpreter(venv: str) -> str:
    """The Python of a virtual environment."""
    return str(Path(venv, "Scripts/python.exe" if os.name == "nt" else "bin/python"))


def pages() -> list[str]:
    """The pages whose code the site shows: 74 columns of it in a window of 1300 pixels."""
    return ["README.md", "docs", *(str(path) for path in sorted(ROOT.glob("packages/*/README.md")))]


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, types, borders between packages, declared dependencies."""
    session.install(*everything(), *groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "format", "--check", "--isolated", "--line-length", "74", *pages())
    session.run("mypy")
    session.run("pyright")
    session.run("lint-imports")
    for part in (GROUND, *PARTS):
        with session.chdir(ROOT / "packages" / f"axonax-{part}"):
            session.run("deptry", "src", "-kf", "axonax", "-pmnm", "axonax-tensor=axonax")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; `-- serve` shows it while you write."""
    session.install(*groups("docs"))
    command = session.posargs or ["build", "--strict"]
    session.run("mkdocs", *command, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark, ours beside its peers; the numbers mean something on a quiet machine only."""
    session.install(*everything(), *groups("bench"))
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        session.run("python", str(script), *session.posargs)


@nox.session(python=OLDEST, venv_backend="venv")
def oracle(session: nox.Session) -> None:
    """Write what torch and Keras give for the table of ops anew and test against it; `-- --check` compares.

    With pip, which finds torch for this Python alone, and several GB of it: no other session installs it.
    """
    session.install(*editable(GROUND, "functional"), *groups("unit"), "torch==2.13.0", "keras==3.15.1")
    session.run("python", "tools/write_fixtures.py", *session.posargs)
    session.run("python", "tools/write_torch_steps.py", *session.posargs)
    session.run("python", "tools/write_torch_layers.py", *session.posargs)
    session.run("python", "tools/write_keras_fixtures.py", *session.posargs)
    session.run("pytest", "tests/ops/test_torch.py", "tests/ops/test_peers.py", env=CACHE)


@nox.session
def nightly(session: nox.Session) -> None:
    """The tests that take minutes; then what `tests` compiles fast of the ops, compiled as for users."""
    session.install(*everything(), *groups("test"))
    nothing_collected = 5
    session.run("pytest", "-m", "slow", *session.posargs, success_codes=[0, nothing_collected])
    if not session.posargs:
        session.run("pytest", "tests/ops", "tests/vectors", *WORKERS, env=CACHE)
