"""Where our models differ from upstream's on purpose: which cases, why, and what holds instead."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from vectors import checks_graph, format, values_graph
from vectors.checks_graph import Case


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One difference."""

    applies: Callable[[Case], bool]
    """whether a case, as it is written, is one of them"""
    reason: str
    check: Callable[[Case], str]
    """what is wrong with ours, by what we expect instead; ``""`` if nothing is"""


def _shapes(case: Case) -> dict[str, list[int]]:
    """The shape of each input that a case gives, by name."""
    inputs = [each for each in case["model"]["nodes"] if each["op"] == "input"]
    written = case["input"]
    given = written["map"] if "map" in written else {each["args"][0]: written for each in inputs}
    return {name: _shape(each, case) for name, each in given.items()}


def _shape(written: Any, case: Case) -> Any:
    if "var" in written:
        return case["vars"][written["var"]]["shape"]
    return written.get("shape") or written.get("template", {}).get("shape")


def _misdeclared(case: Case) -> bool:
    if "input" not in case or "model" not in case:
        return False
    declared = {
        each["args"][0]: each["kwargs"]["shape"]
        for each in case["model"]["nodes"]
        if each["op"] == "input" and each["kwargs"].get("shape")
    }
    return any(
        name in declared
        and shape
        and any(size not in (None, got) for size, got in zip(declared[name], shape, strict=True))
        for name, shape in _shapes(case).items()
    )


def _refused(message: str) -> Callable[[Case], str]:
    """The model is refused; the case holds where nothing is declared."""

    def check(case: Case) -> str:
        with pytest.raises(ValueError, match=message):
            checks_graph.PROGRAMS[case["kind"]](case, checks_graph.variables(case))
        return checks_graph.CHECKS[case["kind"]](case, shapes=False)

    return check


def _of_one_size(case: Case) -> bool:
    """An input of an open size goes into what fits one size alone."""
    nodes = case.get("model", {}).get("nodes", ())
    open_sizes = any(None in each["kwargs"].get("shape", ()) for each in nodes if each["op"] == "input")
    literal = any(each["op"] == "reshape" and "auto" not in format.value(each["args"][1]) for each in nodes)
    constant = any(each["op"] == "constant" and each["args"][0]["shape"] for each in nodes)
    return open_sizes and (literal or constant)


def _takes_a_record(case: Case) -> bool:
    return _has_op("stack_columns")(case) and "input" in case


def _declared(case: Case) -> str:
    """A container that no input declares is refused; declared it is taken."""
    with pytest.raises(TypeError, match="needs an array, a ShapeDtypeStruct or a shape, got dict"):
        checks_graph.compared(case, {})
    ((name, record),) = case["input"]["map"].items()
    shape = {key: tuple(each["shape"]) for key, each in record["map"].items()}
    changed = copy.deepcopy(case)
    (given,) = [each for each in changed["model"]["nodes"] if each["args"] == [name]]
    given["kwargs"]["shape"] = {"map": {key: list(each) for key, each in shape.items()}}
    return checks_graph.model_output(changed, shapes=True)


def _keeps_a_key(case: Case) -> bool:
    values = case["expected"].get("values", {}) if case["kind"] == "model_init" else {}
    return any("prng_key" in each for each in values.values())


def _stateless(case: Case) -> str:
    return checks_graph.model_init({**case, "expected": {"empty": True}})


def _has_op(op: str, **kwargs: Any) -> Callable[[Case], bool]:
    def applies(case: Case) -> bool:
        nodes = case.get("model", case.get("kwargs", {}).get("model", {})).get("nodes", ())
        return any(each["op"] == op and kwargs.items() <= each["kwargs"].items() for each in nodes)

    return applies


def _without_the_one(case: Case) -> str:
    """Without a bias nothing is added to the forget gate: upstream's formula with a bias of -1 there."""
    changed = copy.deepcopy(case)
    (bias,) = [each for each in changed["rhs"]["call"]["args"] if format.is_tensor(each) and each["shape"]]
    units = bias["shape"][0] // 4
    bias |= {"dtype": "f32", "data": [0.0] * 2 * units + [-1.0] * units + [0.0] * units}
    return checks_graph.relation(changed, shapes=True)


def _value(expected: Callable[[Case], Any]) -> Callable[[Case], str]:
    """Ours is the value that ``expected`` makes of a case."""

    def check(case: Case) -> str:
        found, need = values_graph.value(case), expected(case)
        return "" if found == need else f"{found} for {need}"

    return check


def _without_buffers(case: Case) -> Any:
    """The running statistics are not among the parameters of a row and of the total."""
    found = copy.deepcopy(case["expected_value"])
    for each in found["rows"]:
        statistics = sum(shape[0] for name, shape in each["parameters"].items() if name in ("mean", "var"))
        each["count"] -= statistics
        each["bytes"] -= 4 * statistics
        found["total_parameters"] -= statistics
        found["total_bytes"] -= 4 * statistics
    return found


POLICIES: tuple[Policy, ...] = (
    Policy(
        applies=_misdeclared,
        reason="a declared shape is a promise: what does not fit it is refused",
        check=_refused(r"declared with shape .*, got "),
    ),
    Policy(
        applies=_of_one_size,
        reason="an open size is any size: a layer that only one size fits is refused while it is open",
        check=_refused(r"needs an input with the elements of|agree in all axes but the last"),
    ),
    Policy(
        applies=_takes_a_record,
        reason="an input of a container declares its parts; without a shape it is one array",
        check=_declared,
    ),
    Policy(
        applies=_keeps_a_key,
        reason="keys are an argument of apply: dropout keeps none in the state",
        check=_stateless,
    ),
    Policy(
        applies=_has_op("conv_lstm", use_bias=False),
        reason="the forget gate's 1 is the first value of its bias rather than part of the formula",
        check=_without_the_one,
    ),
    Policy(
        applies=lambda case: case.get("op") == "display.summary" and _has_op("batch_norm")(case),
        reason="running statistics are buffers, which no optimizer trains: they are counted apart",
        check=_value(_without_buffers),
    ),
    Policy(
        applies=lambda case: case.get("op") == "display.readable_size",
        reason="the table shows plain bytes, as upstream's README does: they can be added up",
        check=_value(lambda case: f"{case['kwargs']['bytes']} bytes"),
    ),
    Policy(
        applies=lambda case: case.get("op") == "display.model_state_size",
        reason="a state shows the dtype and shape of each leaf, from which its size follows",
        check=_value(lambda case: f"int8[{case['kwargs']['bytes']}]"),
    ),
    Policy(
        applies=lambda case: case.get("op") == "shapes.spatial_dropout_noise_shape",
        reason="feature maps are dropped whole rather than positions (Tompson et al.; Keras and PyTorch)",
        check=_value(lambda case: [1, 1, 1, 3]),
    ),
)


def policy_of(case: Case) -> Policy | None:
    """The difference that a case is an instance of."""
    return next((each for each in POLICIES if each.applies(case)), None)
