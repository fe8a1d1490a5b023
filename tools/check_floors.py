"""Look whether every dependency of the installed parts of Axonax stands at the floor that they declare.

Run by the lowest session, whose tests would prove nothing had an installer moved a version up.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions, version

FLOOR = re.compile(r"([\w.-]+)[^;]*>=([\d.]+)")


def floors() -> dict[str, set[str]]:
    """The declared floors by dependency, the parts themselves aside."""
    found: dict[str, set[str]] = {}
    for each in distributions():
        if each.metadata["Name"].startswith("axonax-"):
            for match in filter(None, map(FLOOR.match, each.requires or [])):
                found.setdefault(match[1], set()).add(match[2])
    return {name: numbers for name, numbers in found.items() if not name.startswith("axonax-")}


def main() -> int:
    """Print each dependency with what is installed, and fail where that is none of its floors."""
    raised = 0
    for name, numbers in sorted(floors().items()):
        installed = version(name)
        fits = any(f"{installed}.".startswith(f"{number}.") for number in numbers)
        raised += not fits
        print(f"{name} {installed}{'' if fits else f': its floor is {sorted(numbers)}'}")
    return 1 if raised else 0


if __name__ == "__main__":
    sys.exit(main())
