"""What transforms keep is saved: a run stopped at any step and resumed ends in the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop

RNG = np.random.default_rng(3)
X = RNG.normal(size=(10, 3)).astype(np.float32)
X[4] = np.nan
Y = np.nan_to_num(X).sum(-1).astype(np.float32)
DATA = loop.arrays(X, Y, batch_size=2, shuffle=True)


def trainer() -> loop.Loop:
    model = (lambda key: {"w": jnp.ones(3), "b": jnp.zeros(())}, lambda p, x: x @ p["w"] + p["b"])
    schedule = optax.linear_schedule(0.1, 0.01, 8)
    fitting = loop.trainer(
        model,
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
        {"b": optax.sgd(0.1), "**": optax.adam(schedule)},
    )
    scale = loop.loss_scale.dynamic(2.0**10, period=3)
    return fitting.accumulate(2).clip(norm=1.0).ema(0.9).loss_scale(scale).skip_nonfinite()


def halt(state: loop.State) -> Any:
    return loop.control(loop.HALT_LOOP, state)


def equal(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if jnp.issubdtype(mine.dtype, jax.dtypes.prng_key):
            mine, theirs = jax.random.key_data(mine), jax.random.key_data(theirs)  # noqa: PLW2901
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("step", [1, 4, 5, 7])
def test_resume_at_a_step(tmp_path: Path, step: int) -> None:
    whole = trainer().run(DATA, epochs=2)
    assert int(whole.step_state.extras["skipped"]["count"]) == 2
    stopped = trainer().checkpoint(tmp_path).on("iteration_completed", halt, once=step)
    assert stopped.run(DATA, epochs=2).iteration == step
    resumed = trainer().checkpoint(tmp_path).run(DATA, epochs=2, resume=True)
    equal(resumed.step_state, whole.step_state)
    assert resumed.metrics == whole.metrics
