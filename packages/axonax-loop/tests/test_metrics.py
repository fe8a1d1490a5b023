"""Metrics are exact over a pass whatever its batches, and reset each epoch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.steps._mean import add_mean, batch_mean, compute_mean, empty_mean, mean_metric
from axonax.tensor.contracts import Metric

RNG = np.random.default_rng(1)
TRUE = RNG.normal(size=37).astype(np.float32)
PRED = RNG.normal(size=37).astype(np.float32)
WEIGHTS = RNG.uniform(size=37).astype(np.float32)

IDENTITY = (lambda key, x: {"shift": jnp.zeros(())}, lambda params, x: x + params["shift"])


def absolute(y_true: Any, y_pred: Any) -> Any:
    return abs(y_true - y_pred)


def squares() -> Metric:
    """A metric in which the order of batches and square root show: the root of the mean square."""
    return Metric(
        init=lambda y_true, y_pred: {"sum": jnp.zeros(()), "n": jnp.zeros((), jnp.int32)},
        update=lambda state, y_true, y_pred, *, weights=None, where=None: {
            "sum": state["sum"] + ((y_true - y_pred) ** 2).sum(),
            "n": state["n"] + y_true.shape[0],
        },
        merge=None,
        compute=lambda state: jnp.sqrt(state["sum"] / state["n"]),
        name="rmse",
    )


@pytest.mark.parametrize("size", [5, 37])
def test_a_ragged_last_batch_does_not_matter(size: int) -> None:
    evaluator = (
        loop.evaluator(IDENTITY, absolute)
        .metric(absolute)
        .metric(squares())
        .metric(squares() * 2.0, "double")
    )
    metrics = evaluator.run(loop.arrays(PRED, TRUE, batch_size=size), {"shift": jnp.zeros(())}).metrics
    mean = np.abs(TRUE.astype(float) - PRED).mean()
    root = np.sqrt(((TRUE.astype(float) - PRED) ** 2).mean())
    assert dict(metrics) == pytest.approx(
        {"loss": mean, "absolute": mean, "rmse": root, "double": 2 * root}, rel=1e-6
    )


def test_weights() -> None:
    metrics = (
        loop.evaluator(IDENTITY, absolute)
        .metric(absolute)
        .run(loop.arrays(PRED, TRUE, WEIGHTS, batch_size=5), {"shift": jnp.zeros(())})
        .metrics
    )
    expected = np.average(np.abs(TRUE.astype(float) - PRED), weights=WEIGHTS)
    assert dict(metrics) == pytest.approx({"loss": expected, "absolute": expected}, rel=1e-6)


def test_reset_each_epoch_and_no_lag() -> None:
    seen: list[float] = []
    data = [(PRED[:8], TRUE[:8]), (PRED[8:16], TRUE[8:16])]
    trainer = loop.trainer(IDENTITY, absolute, optax.sgd(0.0))
    trainer.on("iteration_completed", lambda state: seen.append(state.metrics["loss"])).run(data, epochs=2)
    first, both = np.abs(TRUE - PRED)[:8].mean(), np.abs(TRUE - PRED)[:16].mean()
    assert seen == pytest.approx([first, both, first, both], rel=1e-6)


def test_fields_and_transform() -> None:
    def step(state: Any, batch: Any) -> Any:
        return {"total": state["total"] + batch.sum(), "batch": batch}

    base = loop.loop(step, init=lambda batch: {"total": 0.0, "batch": batch})
    base = base.metric(lambda batch: batch * 2, "twice", fields=["batch"])
    base = base.metric(
        lambda a, b: a - b, "zero", transform=lambda outputs: (outputs["batch"], outputs["batch"])
    )
    metrics = base.run([TRUE[:4], TRUE[4:8]]).metrics
    assert dict(metrics) == pytest.approx({"twice": 2 * TRUE[:8].mean(), "zero": 0.0}, rel=1e-5)


def test_integers_stay_integers_and_arrays_arrays() -> None:
    count = Metric(
        init=lambda y_true, y_pred: jnp.zeros(2, jnp.int32),
        update=lambda state, y_true, y_pred, *, weights=None, where=None: state + y_true.shape[0],
        merge=None,
        compute=lambda state: {"rows": state[0], "pair": state},
    )
    value = (
        loop.evaluator(IDENTITY)
        .metric(count, "count")
        .run([(PRED, TRUE)], {"shift": jnp.zeros(())})
        .metrics["count"]
    )
    assert value["rows"] == 37
    assert isinstance(value["rows"], int)
    np.testing.assert_array_equal(value["pair"], [37, 37])


def test_a_long_sum_keeps_its_digits_under_jit() -> None:
    values = np.full(200_000, 0.1, np.float32)

    @jax.jit
    def total(values: Any) -> Any:
        def body(state: Any, value: Any) -> Any:
            return add_mean(state, batch_mean(value[None], None, 1, "test")), None

        return compute_mean(jax.lax.scan(body, empty_mean(), values)[0])

    assert float(total(values)) == np.float32(0.1)


def test_infinity_is_reported_as_infinity() -> None:
    state = add_mean(empty_mean(), batch_mean(jnp.array([1.0, jnp.inf]), None, 2, "test"))
    assert float(compute_mean(add_mean(state, batch_mean(jnp.ones(1), None, 1, "test")))) == np.inf


def test_rows_of_weight_zero_do_not_count_even_as_nan() -> None:
    mean = batch_mean(jnp.array([1.0, jnp.nan]), jnp.array([2.0, 0.0]), 2, "test")
    assert [float(part) for part in mean] == [1.0, 2.0, 2.0]
    nothing = batch_mean(jnp.ones(2), jnp.zeros(2), 2, "test")
    assert float(nothing.value) == 0.0


def test_values_with_more_axes_share_the_weight_of_their_row() -> None:
    values = RNG.normal(size=(4, 3)).astype(np.float32)
    mean = batch_mean(jnp.asarray(values), jnp.asarray(WEIGHTS[:4]), 4, "test")
    expected = np.average(values, weights=np.repeat(WEIGHTS[:4, None], 3, axis=1))
    assert float(mean.value) == pytest.approx(expected, rel=1e-5)


def test_plain_functions_merge() -> None:
    metric = mean_metric(absolute, "absolute")
    assert metric.merge is not None
    parts = [
        metric.update(metric.init(TRUE, PRED), TRUE[part], PRED[part])
        for part in (slice(0, 30), slice(30, 37))
    ]
    assert float(metric.compute(metric.merge(*parts))) == pytest.approx(np.abs(TRUE - PRED).mean(), rel=1e-6)


def test_half_precision_losses_are_summed_in_float32() -> None:
    mean = batch_mean(jnp.full(4096, 0.1, jnp.bfloat16), None, 4096, "test")
    assert mean.value.dtype == jnp.float32
    assert float(mean.value) == pytest.approx(float(jnp.bfloat16(0.1)), rel=1e-6)
