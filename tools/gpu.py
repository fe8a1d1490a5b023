"""Test and measure on a GPU in one call of at most 8 minutes: integration, steps, ops. No network is needed.

    python3 tools/gpu.py --data mnist.npz

Each part runs in a process of its own, within its share of the time; what did not fit is said. The result,
with the name of the card, goes to benchmarks/results/gpu.md. ``--platform cpu --smoke`` tries the script.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEVICE = """
import json, platform, jax
first = jax.devices()[0]
print(json.dumps([jax.default_backend(), first.device_kind, jax.__version__, platform.python_version()]))
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program of this checkout, how long it may take, and how it is made short to try the script."""

    command: tuple[str, ...]
    seconds: float
    gpu: tuple[str, ...] = ()
    smoke: tuple[str, ...] = ()
    needs_data: bool = False
    last_lines: int | None = None
    """how much of what it prints is kept; all if ``None``"""


PARTS = {
    "integration": Part(
        command=("-m", "pytest", "tests/integration", "-q", "-rfEs", "-p", "no:cacheprovider"),
        seconds=200,
        gpu=("--gpu",),
        smoke=("-k", "misspelt_name"),
        last_lines=30,
    ),
    "steps": Part(
        command=("benchmarks/steps.py", "--batch-sizes", "16", "128", "1024", "--rounds", "3"),
        seconds=90,
        smoke=("--batch-sizes", "32", "--rounds", "1", "--limit", "64"),
        needs_data=True,
    ),
    "ops": Part(
        command=("benchmarks/ops.py", "--rounds", "10", "--seconds", "150"),
        seconds=170,
        smoke=("--rounds", "1", "--only", "bfloat16 layer norm"),
    ),
}


def run(arguments: Sequence[str], seconds: float, environment: dict[str, str]) -> tuple[str, int | None]:
    """What a program of this checkout prints, and its exit status; ``None`` where its time was up."""
    command = [sys.executable, str(ROOT / "tools" / "inplace.py"), *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=seconds)[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[0], None


def measured(
    name: str, options: argparse.Namespace, left: float, environment: dict[str, str]
) -> tuple[str, bool]:
    """The section of a part, and whether it failed."""
    part = PARTS[name]
    if part.needs_data and options.data is None:
        return f"## {name}\n\nLeft out: it needs --data, MNIST as an .npz file.\n", False
    limit = min(part.seconds, left)
    if limit <= 0:
        return f"## {name}\n\nLeft out: no time was left.\n", False
    data = ("--data", str(options.data.resolve())) if part.needs_data else ()
    chosen = (*data, *(part.gpu if options.platform == "gpu" else ()), *(part.smoke if options.smoke else ()))
    start = time.monotonic()
    printed, status = run((*part.command, *chosen), limit, environment)
    spent = time.monotonic() - start
    lines = [line for line in printed.rstrip().splitlines() if not line.startswith("# ")]
    kept = lines[-(part.last_lines or 0) :]
    how = {0: "done", None: f"cut at its limit of {limit:.0f} s"}.get(status, f"FAILED with status {status}")
    body = "\n".join(kept)
    text = f"```text\n{body}\n```" if status or part.last_lines else body
    return f"## {name}\n\n{how}, {spent:.0f} s\n\n{text}\n", bool(status)


def device(environment: dict[str, str], wanted: str) -> str:
    """What is measured, in a line.

    Raises:
        SystemExit: JAX does not compute on the wanted platform.
    """
    printed, status = run(("-c", DEVICE), 120, environment)
    if status != 0:
        raise SystemExit(f"gpu.py: JAX does not start here:\n{printed}")
    backend, kind, jax, python = json.loads(printed.splitlines()[-1])
    if backend != wanted:
        raise SystemExit(
            f"gpu.py: JAX must compute on a {wanted}, got {backend} ({kind}); --platform cpu tries the script"
        )
    return f"{kind}; JAX {jax}, Python {python}; {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"


def main() -> int:
    """Run the parts; returns 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="MNIST as an .npz file, for the steps")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=470, help="for all parts together")
    parser.add_argument("--platform", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--smoke", action="store_true", help="a little of each part, to try the script")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.md")
    options = parser.parse_args()
    if options.data is not None and not options.data.exists():
        parser.error(f"--data: there is no {options.data}")
    start = time.monotonic()
    environment = {"JAX_PLATFORMS": "cpu"} if options.platform == "cpu" else {}
    if options.data is not None:
        environment["AXONAX_MNIST"] = str(options.data.resolve())
    sections = [f"# On a GPU\n\n{device(environment, options.platform)}; `tools/gpu.py`\n"]
    failed = False
    for name in options.parts:
        left = options.seconds - (time.monotonic() - start)
        section, fails = measured(name, options, left, environment)
        print(section, flush=True)
        sections.append(section)
        failed |= fails
        options.out.write_text("\n".join(sections))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
