"""What becomes of a case about loops: passed, or ours by policy."""

from __future__ import annotations

from typing import Any

from vectors import statements_running as running
from vectors import values_loop


def concerns(case: dict[str, Any]) -> bool:
    """Whether a case is about loops."""
    return case["id"].partition("/")[0] == "loop"


def outcome(case: dict[str, Any]) -> tuple[str, str]:
    """``(what became of a case, what is wrong with it)``."""
    if case["kind"] == "semantic":
        return stated(case["id"].rpartition("/")[2])
    found, expected = values_loop.VALUES[case["op"]](case)
    wrong = "" if found == expected else f"{found} is not {expected}"
    return ("disputed" if values_loop.disputed(case) else "passed"), wrong


def stated(name: str) -> tuple[str, str]:
    """The outcome of a sentence, by its name."""
    if name in running.BY_CASES:
        return "passed", ""
    tables = {"passed": running.PASSING, "disputed": running.POLICY}
    for state, table in tables.items():
        held = {each.__name__: each for each in table}
        if name in held:
            held[name]()
            return state, ""
    return "failed", f"the sentence loop/{name} is in no table"
