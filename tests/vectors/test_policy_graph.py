"""Our policy on models holds for cases that are not stored too, and hides no fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vectors import outcomes_graph, policy_graph
from vectors.test_policy import written


def node(number: int, op: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"id": f"n{number}", "op": op, "args": list(args), "kwargs": kwargs}


def model(op: str, *args: Any, shape: Any, **kwargs: Any) -> dict[str, Any]:
    """One layer on one input."""
    nodes = [node(0, "input", "x", shape=shape), node(1, op, {"node": "n0"}, *args, **kwargs)]
    return {"nodes": nodes, "output": {"node": "n1"}}


def relation(held: dict[str, Any], shape: Any, rhs: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "models/by hand",
        "kind": "relation",
        "model": held,
        "vars": {"x0": {"shape": shape, "dtype": "f32"}},
        "input": {"var": "x0"},
        "params": {"init_params": True},
        "mode": "inference",
        "relation": "equal",
        "rhs": rhs,
        **more,
    }


def call(op: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"call": {"op": op, "args": [{"var": "x0"}, *args], "kwargs": kwargs}}


def init(held: dict[str, Any], shape: Any, **expected: Any) -> dict[str, Any]:
    return {
        "id": "models/by hand",
        "kind": "model_init",
        "model": held,
        "vars": {"x0": {"shape": shape, "dtype": "f32"}},
        "input": {"var": "x0"},
        "mode": "train",
        "expected": expected,
    }


def value(op: str, expected: Any, **kwargs: Any) -> dict[str, Any]:
    return {
        "id": "by hand",
        "kind": "value",
        "op": op,
        "inputs": [],
        "kwargs": kwargs,
        "expected_value": expected,
    }


def record(ignore: str, expected: list[float]) -> dict[str, Any]:
    columns = {name: written(np.float32([[number]])) for number, name in enumerate("abc")}
    nodes = [node(0, "input", "x"), node(1, "stack_columns", {"node": "n0"}, ignore=[ignore])]
    return {
        "id": "models/by hand",
        "kind": "model_output",
        "model": {"nodes": nodes, "output": {"node": "n1"}},
        "input": {"map": {"x": {"map": columns}}},
        "params": {"init_params": True},
        "mode": "inference",
        "expected": {"value": written(np.float32([[expected]]))},
    }


def reshaped(shape: list[int], rhs: Any) -> dict[str, Any]:
    return relation(model("reshape", {"tuple": shape}, shape=[None, 6]), [1, 6], rhs)


def statistics(count: int) -> dict[str, Any]:
    """The summary of a batch norm of three channels, with so many parameters and four bytes for each."""
    kinds = {name: [3] for name in ("gamma", "beta", "mean", "var")}
    rows = [
        {"name": "x", "op": "input", "output_shape": [2, 3], "parameters": {}, "count": 0, "bytes": 0},
        {"name": "batch_norm_0", "op": "batch_norm", "output_shape": [2, 3], "parameters": kinds}
        | {"count": count, "bytes": 4 * count},
    ]
    expected = {"rows": rows, "total_parameters": count, "total_bytes": 4 * count}
    return value("display.summary", expected, model=model("batch_norm", shape=None), input_shape=[2, 3])


def convolutional(bias: float) -> dict[str, Any]:
    """A layer without a bias, beside the formula with one of this value at the forget gate."""
    state = written(np.zeros((1, 1, 2, 3, 3), np.float32))
    held = [{"param": ["c", "input_kernel"]}, {"param": ["c", "hidden_kernel"]}]
    biases = written(np.repeat(np.float32([0, 0, bias, 0]), 2))
    args = [{"tuple": [state, state]}, written(np.float32(0)), *held, biases]
    rhs = {"call": {"op": "layers.conv_lstm", "args": [{"var": "x0"}, *args], "kwargs": {}}}
    nodes = model("conv_lstm", 2, shape=[None, 4, 1, 3, 3], use_bias=False, name="c")
    return relation(nodes, [1, 4, 1, 3, 3], rhs)


KEY = {"dropout_0/key": {"prng_key": 0}}
SHAPE = "shapes.spatial_dropout_noise_shape"
OURS = {
    "a shape": relation(model("relu", shape=[None, 3]), [1, 2], call("activations.relu")),
    "a literal reshape": reshaped([2, 3], call("nx.reshape", {"tuple": [2, 3]})),
    "a key": init(model("dropout", shape=[None, 2]), [1, 2], values=KEY),
    "a record": record("a", [1, 2]),
    "a gate": convolutional(0),
    "statistics": statistics(12),
    "whole maps": value(SHAPE, [2, 4, 4, 1], input_shape=[1, 28, 28, 3], channels="last"),
    "bytes": value("display.readable_size", "2.00 kilobytes", bytes=2000),
    "a leaf": value("display.model_state_size", "2.00 KB", bytes=2000),
}
FAULTS = {
    "a shape": relation(model("relu", shape=[None, 3]), [1, 2], call("activations.tanh")),
    "a literal reshape": reshaped([2, 3], call("nx.reshape", {"tuple": [3, 2]})),
    "a key": init(model("dense", 2, shape=[None, 2]), [1, 2], values=KEY),
    "a record": record("a", [1, 3]),
    "statistics": statistics(13),
}


def test_every_policy_is_tried():
    tried = [policy_graph.policy_of(case) for case in OURS.values()]
    assert {id(each) for each in tried} == {id(each) for each in policy_graph.POLICIES}


@pytest.mark.parametrize("name", OURS)
def test_ours_by_policy(name):
    assert outcomes_graph.outcome(OURS[name]) == ("disputed", "")


@pytest.mark.parametrize("name", FAULTS)
def test_a_policy_does_not_hide_a_fault(name):
    assert outcomes_graph.outcome(FAULTS[name])[1]
