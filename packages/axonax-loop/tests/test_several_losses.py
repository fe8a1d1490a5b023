"""Several losses over the outputs of a model, weighted, each reported by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

RNG = np.random.default_rng(1)
X = RNG.normal(size=(11, 3)).astype(np.float32)
TARGETS = {
    "size": (X @ np.array([1.0, 2.0, 0.0], np.float32))[:, None].astype(np.float32),
    "box": X[:, :2] * 2,
    "note": np.zeros((11, 1), np.float32),
}
WEIGHTS = RNG.uniform(size=11).astype(np.float32)


def init(key: Any) -> dict[str, Any]:
    return {"size": jnp.ones((3, 1)), "box": jnp.ones((3, 2)), "note": jnp.ones((3, 1))}


def apply(params: Any, x: Any) -> dict[str, Any]:
    return {name: x @ kernel for name, kernel in params.items()}


def as_tuple(params: Any, x: Any) -> tuple[Any, ...]:
    return tuple(apply(params, x)[name] for name in ("size", "box", "note"))


def squared(y_true: Any, y_pred: Any) -> Any:
    return ((y_true - y_pred) ** 2).mean(-1)


def absolute(y_true: Any, y_pred: Any) -> Any:
    """One value a number: ``(B, K)``."""
    return abs(y_true - y_pred)


LOSSES = {"size": squared, "box": (absolute, 0.5), "note": None}


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("by_name", [True, False])
def test_the_weighted_sum_and_each_part_are_exact(by_name: bool, weights: Any) -> None:
    order = list(LOSSES)
    losses = LOSSES if by_name else tuple(LOSSES.values())
    targets = TARGETS if by_name else tuple(TARGETS[name] for name in order)
    model = (init, apply if by_name else as_tuple)
    data = loop.arrays(X, targets, weights, batch_size=4)
    # A rate of 0: all batches are seen with the same parameters.
    result = loop.trainer(model, losses, optax.sgd(0.0)).validate(data).run(data)
    seen = apply(init(None), X)
    each = np.ones(11) if weights is None else weights.astype(np.float64)
    size = np.average(np.mean((TARGETS["size"] - seen["size"]) ** 2, -1), weights=each)
    box = np.average(np.mean(abs(TARGETS["box"] - seen["box"]), -1), weights=each)
    first, second = ("loss_size", "loss_box") if by_name else ("loss_0", "loss_1")
    expected = {"loss": size + 0.5 * box, first: size, second: box}
    expected |= {f"validation_{name}": value for name, value in expected.items()}
    assert dict(result.metrics) == pytest.approx(expected, rel=1e-5)


def test_each_trains_its_output_and_none_leaves_one_alone() -> None:
    fitting = loop.trainer((init, apply), LOSSES, optax.adam(0.1))
    result = fitting.run(loop.arrays(X, TARGETS, batch_size=11), epochs=100)
    assert result.metrics["loss_size"] < 0.05
    np.testing.assert_array_equal(result.model_state["note"], init(None)["note"])
    assert "  metric     loss_box" in str(fitting)
    assert "  loss       size: squared, box: 0.5 * absolute" in str(fitting)


def test_weights_by_output() -> None:
    weights = {"size": np.zeros(11, np.float32), "box": np.ones(11, np.float32)}
    fitting = loop.trainer((init, apply), {"size": squared, "box": squared}, optax.sgd(0.0))
    result = fitting.run([(X, TARGETS, weights)])
    assert result.metrics["loss"] == pytest.approx(result.metrics["loss_box"])


def test_an_evaluator_reports_the_parts() -> None:
    result = loop.evaluator((init, apply), LOSSES).run([(X, TARGETS)], init(None))
    assert list(result.metrics) == ["loss", "loss_size", "loss_box"]
    outputs = loop.eval_step((init, apply), LOSSES)(init(None), (X, TARGETS))
    assert float(outputs["loss_size"]) == pytest.approx(result.metrics["loss_size"])


def test_accumulated_they_are_those_of_the_big_batch() -> None:
    fitting = loop.trainer((init, apply), LOSSES, optax.adam(0.1))
    few = fitting.accumulate(3).run(loop.arrays(X, TARGETS, WEIGHTS, batch_size=2), epochs=2)
    big = fitting.run(loop.arrays(X, TARGETS, WEIGHTS, batch_size=6), epochs=2)
    for name in ("size", "box"):
        np.testing.assert_allclose(few.model_state[name], big.model_state[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"boxx": squared}, r'unknown output of the model "boxx": did you mean "box"\?'),
        (
            {"size": (squared, float("inf"))},
            r"the weight of the loss of 'size' must be a finite number, got i",
        ),
        (
            {"size": (squared, "half")},
            r"the weight of the loss of 'size' must be a finite number, got 'half'",
        ),
        ({"size": None}, r"trainer: of several losses at least one must not be None"),
        ([squared, squared], r"2 losses need as many targets, got dict"),
    ],
)
def test_refused_values(losses: Any, message: str) -> None:
    targets = {**TARGETS, "boxx": TARGETS["box"]}
    with pytest.raises(ValueError, match=message):
        loop.trainer((init, apply), losses, optax.sgd(0.1)).run([(X, targets)])


@pytest.mark.parametrize(
    ("model", "targets", "message"),
    [
        (apply, {"box": TARGETS["box"]}, r'unknown target of the batch "size": known are "box"'),
        (apply, TARGETS["box"], r'a loss is for "size", so the targets must be a dict, got ndarray'),
        (lambda params, x: x, TARGETS, r'a loss is for "size", so the outputs must be a dict, got S'),
    ],
)
def test_refused_batches(model: Callable[..., Any], targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loop.trainer((init, model), LOSSES, optax.sgd(0.1)).run([(X, targets)])


def test_refused_types_and_options() -> None:
    with pytest.raises(TypeError, match=r"output 'size': the loss must be a name or a function .*got int"):
        loop.trainer((init, apply), {"size": 3}, optax.sgd(0.1))
    with pytest.raises(TypeError, match=r'loss_options go by output here, as \{"size": \{...\}\}, got float'):
        loop.trainer((init, apply), LOSSES, optax.sgd(0.1), loss_options={"size": 0.1})
    with pytest.raises(ValueError, match=r'loss_options of "sise": did you mean "size"'):
        loop.trainer((init, apply), LOSSES, optax.sgd(0.1), loss_options={"sise": {}})
    with pytest.raises(ValueError, match=r'the name "loss_size" is taken'):
        loop.trainer((init, apply), LOSSES, optax.sgd(0.1)).metric(squared, "loss_size")
