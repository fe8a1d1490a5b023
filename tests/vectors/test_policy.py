"""Our policy holds for every input, not for those of the stored vectors alone; so does the way they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vectors import test_vectors as vectors

RANDOM = np.random.default_rng(11)
NAMES = {"float32": "f32", "float64": "f64", "float16": "f16"}


def written(value: Any) -> dict[str, Any]:
    """A tensor, or a tree of them, as the vectors have it."""
    if isinstance(value, dict):
        return {"map": {name: written(each) for name, each in value.items()}}
    value = np.asarray(value)
    return {"dtype": NAMES[value.dtype.name], "shape": list(value.shape), "data": value.tolist()}


def case(op: str, inputs: Any, expected: Any, **more: Any) -> dict[str, Any]:
    several = expected if isinstance(expected, list) else [expected]
    given = {"kwargs": {}, "rtol": 1e-5, "atol": 1e-6, **more}
    return {
        "id": op,
        "kind": "numeric",
        "op": op,
        "inputs": [written(each) for each in inputs],
        "expected": [written(each) for each in several],
        **given,
    }


X = (RANDOM.normal(size=(3, 4)) * 4).astype(np.float32)
Y, P = RANDOM.normal(size=(2, 4, 3)).astype(np.float32)
SIGNS = np.sign(Y)
GRADIENTS = RANDOM.normal(size=(9, 2)).astype(np.float32)


def axon_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(0.2 * x + 0.2, 0, 1).astype(x.dtype)


def axon_slope(x: np.ndarray) -> np.ndarray:
    return np.where((0.2 * x + 0.2 > 0) & (0.2 * x + 0.2 < 1), 0.2, 0.0).astype(x.dtype)


def axon_radam(gradients: np.ndarray) -> list[np.ndarray]:
    """With the length by b1: never adaptive here."""
    first, x, passed = np.zeros(2), np.ones(2), []
    for t, gradient in enumerate(gradients, 1):
        first = 0.9 * first + 0.1 * gradient
        x = x - 0.1 * first / (1 - 0.9**t)
        passed.append(x.astype(np.float32))
    return passed


def axon_cosine(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (y * p).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(p, axis=-1)


HUBER = np.where(np.abs(Y - P) <= 1, (Y - P) ** 2 / 2, np.abs(Y - P) - 0.5)
MARGIN = np.logaddexp(0, -SIGNS * P).astype(np.float32)
SUM, MEAN = {"kwargs": {"reduction": "sum"}}, {"kwargs": {"reduction": "mean"}}
SLOPE = {"grad": {"of": "sum", "wrt": [0]}}
OURS = {
    "hard_sigmoid": case("activations.hard_sigmoid", [X], axon_sigmoid(X)),
    "hard_sigmoid, one number": case("activations.hard_sigmoid", [X[0, 0]], axon_sigmoid(X[0, 0])),
    "hard_sigmoid, half": case(
        "activations.hard_sigmoid", [np.float16(X)], axon_sigmoid(np.float16(X)), rtol=5e-3, atol=1e-3
    ),
    "hard_sigmoid, its slope": case("activations.hard_sigmoid", [X], axon_slope(X), **SLOPE),
    "hard_silu": case("activations.hard_silu", [X], X * axon_sigmoid(X)),
    "hard_silu, its slope": case("activations.hard_silu", [X], axon_sigmoid(X) + X * axon_slope(X), **SLOPE),
    "huber": case("losses.huber", [Y, P], HUBER),
    "huber, sum": case("losses.huber", [Y, P], HUBER.sum(), **SUM),
    "soft margin": case("losses.soft_margin", [SIGNS, P], MARGIN.sum(0)),
    "soft margin, mean": case("losses.soft_margin", [SIGNS, P], MARGIN.sum(0).mean(), **MEAN),
    "cosine, mean": case("losses.cosine_similarity", [Y, P], axon_cosine(Y, P).mean(), **MEAN),
    "cosine, sum": case("losses.cosine_similarity", [Y, P], axon_cosine(Y, P).sum(), **SUM),
    "binary, weighted": case(
        "losses.binary_cross_entropy",
        [np.float32(SIGNS > 0), np.float32(1 / (1 + np.exp(-P)))],
        np.float32(0),
        kwargs={"positive_weight": 2.0},
    ),
    "radam": case(
        "optimizers.radam",
        [{"a": np.ones(2, np.float32)}, *({"a": g} for g in GRADIENTS)],
        axon_radam(GRADIENTS),
        kwargs={"learning_rate": 0.1},
        expect_at=[[step, "a"] for step in range(9)],
    ),
    "radam, the update": case(
        "updates.run",
        [{"a": np.ones(2, np.float32)}, *({"a": g} for g in GRADIENTS)],
        [np.ones(2, np.float32), np.ones(2, np.float32), np.ones(2, np.float32), np.float32(9)],
        kwargs={"chain": [{"name": "scale_by_radam", "args": [], "kwargs": {"threshold": 2.0}}]},
        expect_at=[[8, 0, "a"], [8, 1, 0, "mu", "a"], [8, 1, 0, "nu", "a"], [8, 1, 0, "count"]],
    ),
    "belief, the third update": case(
        "updates.run",
        [{"a": np.ones(2, np.float32)}, *({"a": g} for g in GRADIENTS[:3])],
        [np.ones(2, np.float32)],
        kwargs={"chain": [{"name": "scale_by_belief", "args": [], "kwargs": {"b1": 0.5}}]},
        expect_at=[[2, 0, "a"]],
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_by_policy(name):
    assert vectors.outcome(OURS[name]) == (vectors.DISPUTED, "")


def test_axons_form_has_options():
    for op, expected in (("hard_sigmoid", axon_sigmoid(X)), ("hard_silu", X * axon_sigmoid(X))):
        for kwargs in ({"alpha": 0.2, "beta": 0.2}, {"alpha": 0.2}):
            one = case(f"activations.{op}", [X], expected, kwargs=kwargs)
            assert vectors.outcome(one) == (vectors.PASSED, "")


def test_a_policy_does_not_hide_a_fault():
    one = {**OURS["huber, sum"], "op": "losses.log_cosh"}
    assert vectors.outcome(one)[1]
    assert vectors.ours(vectors.policy_of(OURS["huber"]), lambda y, p: y.sum(-1), OURS["huber"])
    slope = OURS["hard_sigmoid, its slope"]
    assert vectors.ours(vectors.policy_of(slope), lambda x: x, slope)


def test_a_case_in_float64_runs_in_float64():
    x = RANDOM.normal(size=5)
    one = case("activations.exp", [x], np.exp(x), rtol=1e-13, atol=0.0, check_dtype=True)
    assert vectors.outcome(one) == (vectors.PASSED, "")
    assert vectors.outcome({**one, **SLOPE}) == (vectors.PASSED, "")
