"""What becomes of a case about models: passed, or ours by policy."""

from __future__ import annotations

from typing import Any

from vectors import checks_graph, policy_graph, values_graph
from vectors import statements_graph as graph
from vectors import statements_rewriting as rewriting
from vectors import statements_showing as showing

AREAS = ("models", "display", "mixed_precision")
PASSING = graph.PASSING | rewriting.PASSING | showing.PASSING
POLICY = graph.POLICY | rewriting.POLICY | showing.POLICY
BY_CASES = showing.BY_CASES


def concerns(case: dict[str, Any]) -> bool:
    """Whether a case is about models."""
    return case["id"].partition("/")[0] in AREAS or case.get("op") in values_graph.VALUES


def outcome(case: dict[str, Any]) -> tuple[str, str]:
    """``(what became of a case, what is wrong with it)``."""
    if case["kind"] == "semantic":
        return stated(case["id"].replace("/semantic/", "/"))
    check = checks_graph.CHECKS.get(case["kind"], values_graph.check)
    policy = policy_graph.policy_of(case)
    try:
        wrong = check(case)
    except (TypeError, ValueError, AssertionError) as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong and policy:
        return "disputed", policy.check(case)
    return "passed", wrong


def stated(name: str) -> tuple[str, str]:
    """The outcome of a sentence, by area and name."""
    if name in BY_CASES:
        return "passed", ""
    if name not in PASSING | POLICY:
        return "failed", f"the sentence {name} is in no table"
    (PASSING | POLICY)[name]()
    return ("passed" if name in PASSING else "disputed"), ""
