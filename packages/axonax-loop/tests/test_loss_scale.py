"""Scales of the loss: their own recurrence, and a step that overflows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop import loss_scale

pytestmark = pytest.mark.smoke

X = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
BATCHES = [(X, 2 * X)] * 6
MODEL = (lambda key: {"w": jnp.zeros((1, 1))}, lambda params, x: x @ params["w"])


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def overflowing(y_true: Any, y_pred: Any) -> Any:
    """A loss whose gradient is float16: it overflows from a scale of 2^17 on."""
    return squared(y_true, y_pred.astype(jnp.float16).astype(jnp.float32))


def test_a_dynamic_scale_finds_what_does_not_overflow() -> None:
    fitting = loop.trainer(MODEL, overflowing, optax.sgd(0.1)).ema(0.5)
    scale = loss_scale.dynamic(2.0**20, period=100)
    result = fitting.loss_scale(scale).run(BATCHES * 4)
    extras = result.step_state.extras
    skipped = jax.tree.map(int, extras["skipped"])
    assert skipped["count"] > 0
    assert skipped["first"] == 1
    assert float(extras["loss_scale"].scale) == 2.0 ** (20 - skipped["count"])
    # Steps that overflowed are as if they had not been: no parameters, no average, no count of a schedule.
    plain = fitting.run(BATCHES * 4, steps_per_epoch=24 - skipped["count"])
    np.testing.assert_allclose(result.model_state["w"], plain.model_state["w"], rtol=1e-3)
    np.testing.assert_allclose(
        extras["ema"].average["w"], plain.step_state.extras["ema"].average["w"], rtol=1e-3
    )


def test_an_overflow_does_not_move_a_schedule() -> None:
    optimizer = optax.sgd(lambda count: 0.1 / (1 + count))
    fitting = loop.trainer(MODEL, overflowing, optimizer).loss_scale(loss_scale.dynamic(2.0**20))
    result = fitting.run(BATCHES)
    (count,) = [leaf for leaf in jax.tree.leaves(result.opt_state) if leaf.dtype == jnp.int32]
    assert int(count) == 6 - int(result.step_state.extras["skipped"]["count"])


@pytest.mark.parametrize("scale", ["static", "dynamic", "identity", 64.0])
def test_a_scale_changes_nothing_where_all_is_finite(scale: Any) -> None:
    fitting = loop.trainer(MODEL, squared, optax.adam(0.1))
    plain = fitting.run(BATCHES)
    scaled = fitting.loss_scale(scale).run(BATCHES)
    np.testing.assert_array_equal(plain.model_state["w"], scaled.model_state["w"])
    assert plain.metrics["loss"] == scaled.metrics["loss"]
    assert ("skipped" in scaled.step_state.extras) is (scale != "identity")


def test_division_by_a_scale_beyond_float16() -> None:
    each = loss_scale.static(2.0**17)
    found = each.unscale(jnp.full(2, 32768.0, jnp.float16), each.init())
    assert found.dtype == jnp.float16
    assert found.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: loss_scale.static(float("inf")), r"static: scale must be a finite number above 0, got inf"),
        (lambda: loss_scale.dynamic(-1.0), r"dynamic: init_scale must be a finite number above 0, got -1"),
        (lambda: loss_scale.dynamic(min_scale=0), r"dynamic: min_scale must be a finite number above 0"),
        (lambda: loss_scale.dynamic(factor=1.0), r"dynamic: factor must be a finite number above 1, got 1"),
        (
            lambda: loss_scale.dynamic(period=0),
            r"dynamic: period must be a whole number of at least 1, got 0",
        ),
        (lambda: loss_scale.dynamic(period=True), r"dynamic: period must be a whole number of at least 1"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
