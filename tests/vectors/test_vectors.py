"""Every case of the vectors that concerns these packages: passed, or ours by policy."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops import programs
from ops import rows_initializers as draws

from vectors import (
    adapter,
    adapter_optim,
    format,
    outcomes_graph,
    outcomes_loop,
    statements,
    values_graph,
    values_loop,
)
from vectors.policy import Policy, policy_of

CASES = format.cases()
pytestmark = pytest.mark.skipif(not CASES, reason=f"no vectors in {format.FOLDER}: set AXONAX_VECTORS")
PLAIN = values_graph.VALUES.keys() | values_loop.VALUES.keys()
OPERATIONS = [op for op in CASES if adapter.operation(op) or op in PLAIN]
GROUPS = [op for op in CASES if "/" in op]
PASSED, DISPUTED, FAILED = "passed", "disputed", "failed"


def parts(result: Any, case: dict[str, Any]) -> list[Any]:
    """What of a structured result is compared."""
    found = []
    for path in case.get("expect_at", [[]]):
        each = result
        for step in path:
            each = each[step]
        found.append(each)
    return found


def slopes(call: Callable[..., Any], inputs: list[Any], case: dict[str, Any]) -> list[Any]:
    """The gradients that a case asks for."""
    wrt = tuple(case["grad"]["wrt"])
    return list(jax.grad(lambda *xs: jnp.sum(call(*xs, **case["kwargs"])), wrt)(*inputs))


def differences(oracle: Callable[..., Any], inputs: list[Any], case: dict[str, Any]) -> list[Any]:
    """These gradients of an oracle, as central differences in float64."""
    wide, step, found = [np.float64(each) for each in inputs], 1e-6, []
    for place in case["grad"]["wrt"]:
        slope = np.zeros(wide[place].shape)
        for index in np.ndindex(slope.shape):
            for sign in (-1, 1):
                moved = [each.copy() for each in wide]
                moved[place][index] += sign * step
                slope[index] += sign * np.sum(oracle(*moved, **case["kwargs"])) / (2 * step)
        found.append(slope)
    return found


def computed(call: Callable[..., Any], case: dict[str, Any], inputs: list[Any]) -> list[Any]:
    """The results or the gradients that a numeric case asks for."""
    if "grad" in case:
        return slopes(call, inputs, case)
    return parts(call(*inputs, **case["kwargs"]), case)


@functools.cache
def together(op: str) -> dict[str, list[Any]]:
    """What one program gives for the numeric cases of an operation, by id.

    A case that fails in it is left out, to run alone; and so are those in float64.
    """
    call, given, fills = adapter.operation(op), {}, {}
    cases = {each["id"]: each for each in CASES.get(op, ()) if each["kind"] == "numeric"}
    for identity, each in cases.items():
        arrays, fill = programs.traced([format.value(written) for written in each["inputs"]])
        if all(array.dtype != np.float64 for array in arrays):
            given[identity], fills[identity] = arrays, fill

    @programs.quick
    def every(given: dict[str, list[Any]]) -> dict[str, Any]:
        found = {}
        for identity, arrays in given.items():
            with contextlib.suppress(Exception):
                found[identity] = computed(call, cases[identity], fills[identity](arrays))
        return found

    with jax.enable_x64(False):
        return every(given)


def numeric(call: Callable[..., Any], case: dict[str, Any]) -> str:
    expected = [format.value(each) for each in case["expected"]]
    found = together(case["op"]).get(case["id"])
    if found is None:
        found = computed(call, case, [format.value(each) for each in case["inputs"]])
    assert len(found) == len(expected)
    return "; ".join(filter(None, (format.alike(*pair, case) for pair in zip(found, expected, strict=True))))


def valued(call: Callable[..., Any], case: dict[str, Any]) -> str:
    found, expected = call(**case["kwargs"]), case["expected_value"]
    dtype = jnp.dtype(format.DTYPES[expected["dtype"]])
    return (
        ""
        if (list(found.shape), found.dtype) == (expected["shape"], dtype)
        else f"{found.shape} {found.dtype}"
    )


def distributed(call: Callable[..., Any], case: dict[str, Any]) -> str:
    """The variance and the bounds, on a draw of the case's own fans."""
    kwargs, expected = case["kwargs"], case["expected_value"]
    found = np.asarray(call(**kwargs), np.float64)
    size = found.size
    low, high = expected.get("low", -np.inf), expected.get("high", np.inf)
    inside = low - 1e-6 <= found.min() and found.max() <= high + 1e-6
    # The variance of these shapes scatters by 3 sqrt(2 / n) at most.
    near = abs(found.var() / expected["variance"] - 1) <= max(4 * np.sqrt(2 / size), 0.01)
    return "" if inside and near else f"variance {found.var()} in {found.min()} to {found.max()}"


def orthonormal(call: Callable[..., Any], case: dict[str, Any]) -> str:
    found = np.asarray(call(**case["kwargs"]), np.float64)
    if list(found.reshape(-1, found.shape[-1]).shape) != case["expected_value"]["flattened_shape"]:
        return f"shape {found.shape}"
    draws.orthonormal()(found)
    return ""


def raising(call: Callable[..., Any], case: dict[str, Any]) -> str:
    inputs = [format.value(each) for each in case["inputs"]]
    try:
        found = call(*inputs, **case["kwargs"])
    except ValueError:
        return ""
    return f"no error but {found}"


def converging(call: Callable[..., Any], case: dict[str, Any]) -> str:
    (params,) = [format.value(each) for each in case["inputs"]]
    found = adapter_optim.loss_after(case["op"], params, case["steps"], **case["kwargs"])
    return "" if found <= case["expected_value"]["loss_at_most"] else f"a loss of {found}"


CHECKS = {
    "numeric": numeric,
    "value": valued,
    "distribution": distributed,
    "property": orthonormal,
    "raises": raising,
    "convergence": converging,
}


def ours(policy: Policy, call: Callable[..., Any], case: dict[str, Any]) -> str:
    """What is wrong with our value where we differ on purpose."""
    inputs = [format.value(each) for each in case.get("inputs", [])]
    if policy.wide:
        inputs = jax.tree.map(np.float64, inputs)
    exact = {"rtol": 1e-5, "atol": 1e-6, **case}
    if "grad" in case:
        pairs = zip(slopes(call, inputs, case), differences(policy.expected, inputs, case), strict=True)
        return "; ".join(filter(None, (format.near(*pair, exact) for pair in pairs)))
    expected = policy.expected(*inputs, **case["kwargs"])
    if isinstance(expected, type):
        with pytest.raises(expected):
            call(*inputs, **case["kwargs"])
        return ""
    if isinstance(expected, list | dict):
        expected = tuple(parts(expected, case))
    several = expected if isinstance(expected, tuple) else (expected,)
    if case.get("check_dtype"):
        dtypes = [format.DTYPES[each["dtype"]] for each in case["expected"]]
        several = tuple(np.asarray(*pair) for pair in zip(several, dtypes, strict=True))
    pairs = zip(parts(call(*inputs, **case["kwargs"]), case), several, strict=True)
    return "; ".join(filter(None, (format.alike(found, each, exact) for found, each in pairs)))


def outcome(case: dict[str, Any]) -> tuple[str, str]:
    """``(what became of a case, what is wrong with it)``; a case in float64 runs in float64."""
    with jax.enable_x64(format.is_wide(case)):
        return run(case)


def run(case: dict[str, Any]) -> tuple[str, str]:
    call = adapter.operation(case["op"])
    if call is None:
        return FAILED, f"{case['op']} is in no table of the adapter"
    policy = policy_of(case)
    try:
        wrong = CHECKS[case["kind"]](call, case)
    except (TypeError, ValueError, AssertionError) as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong and policy:
        with jax.enable_x64(policy.wide or format.is_wide(case)):
            return DISPUTED, ours(policy, call, case)
    return PASSED, wrong


def related(case: dict[str, Any]) -> tuple[str, str]:
    """The outcome of a relation, for random values of its variables."""
    random = np.random.default_rng(3)
    free = {
        name: random.random(each["shape"]).astype(format.DTYPES[each["dtype"]])
        for name, each in case["vars"].items()
    }
    sides = programs.compiled(lambda free: [evaluate(case[side], free) for side in ("lhs", "rhs")])
    left, right = sides(free)
    return PASSED, format.near(left, np.asarray(right), {"rtol": 1e-5, "atol": 1e-5})


def evaluate(expression: Any, free: dict[str, np.ndarray]) -> Any:
    """The value of one side of a relation."""
    if "var" in expression:
        return free[expression["var"]]
    if "call" in expression:
        call = adapter.operation(expression["call"]["op"])
        assert call is not None, f"{expression['call']['op']} is in no table of the adapter"
        args = [evaluate(each, free) for each in expression["call"]["args"]]
        return call(*args, **expression["call"]["kwargs"])
    if "get" in expression:
        return parts(evaluate(expression["get"]["of"], free), {"expect_at": [expression["get"]["path"]]})[0]
    return format.value(expression)


def stated(case: dict[str, Any]) -> tuple[str, str]:
    """The outcome of a sentence."""
    _, _, name = case["id"].partition("/semantic/")
    area = case["id"].partition("/")[0]
    return statements.outcome(area, name)


def runner(case: dict[str, Any]) -> Callable[[dict[str, Any]], tuple[str, str]]:
    """What says what becomes of a case."""
    if outcomes_graph.concerns(case):
        return outcomes_graph.outcome
    if outcomes_loop.concerns(case):
        return outcomes_loop.outcome
    return {"relation": related, "semantic": stated}.get(case["kind"], outcome)


@functools.cache
def results(name: str) -> list[tuple[str, str, str]]:
    """``(id, what became of it, what is wrong)`` of every case of an operation."""
    found = [(each["id"], *runner(each)(each)) for each in CASES[name]]
    return [(identity, FAILED if wrong else state, wrong) for identity, state, wrong in found]


@pytest.mark.parametrize("op", [*OPERATIONS, *GROUPS])
def test_cases(op, record_property):
    found = results(op)
    record_property("vectors", dict(Counter(state for _, state, _ in found)))
    wrong = [f"{identity}: {text}" for identity, _, text in found if text]
    assert not wrong, "\n".join(wrong)


def test_every_operation_is_in_a_table():
    assert not [op for op in CASES if op not in (*OPERATIONS, *GROUPS)]


def test_every_sentence_is_of_the_vectors():
    """None of those about models is left in a table that nothing asks for."""
    known = {each["id"].replace("/semantic/", "/") for name in GROUPS for each in CASES[name]}
    assert not {*outcomes_graph.PASSING, *outcomes_graph.POLICY, *outcomes_graph.BY_CASES} - known


@pytest.mark.slow
def test_summary():
    """Shown with -s; each case is counted once."""
    counts = {op: Counter(state for _, state, _ in results(op)) for op in CASES}
    areas: dict[str, Counter[str]] = {}
    for op, states in counts.items():
        areas.setdefault(op.replace("/", ".").partition(".")[0], Counter()).update(states)
    total = sum(areas.values(), Counter())
    for area, states in {**areas, "all": total}.items():
        print(f"{area}: {states.total()} cases, " + ", ".join(f"{n} {state}" for state, n in states.items()))
    assert total.total() == sum(map(len, CASES.values()))
    assert not total[FAILED]
