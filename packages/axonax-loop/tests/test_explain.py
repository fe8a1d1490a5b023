"""A batch whose loss is not finite is shown to what knows what labels and inputs may be."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop._state import EvalState
from axonax.loop.steps._explain import explain
from axonax.loop.steps._losses import resolve_losses
from axonax.loop.steps._model import resolve_model

X = np.ones((4, 3), np.float32)
MODEL = (lambda key: {"w": jnp.ones((3, 2))}, lambda params, x: jax.nn.softmax(x @ params["w"]))
NET = resolve_model(MODEL, "test")
SHAPES = jax.ShapeDtypeStruct((4, 2), jnp.float32)


def loss_of(given: Any) -> Any:
    return resolve_losses(given, "test", None, NET)


def hidden(y_true: Any, y_pred: Any) -> Any:
    return y_pred.sum(-1)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ((X, np.array([0, 1, 1, 0])), None),
        (
            (np.where(np.eye(4, 3) == 1, np.nan, X), np.zeros(4)),
            "inputs of the batch holds nan at [0, 0], 3",
        ),
        ((X, np.array([0, 1, np.inf, 0])), "targets of the batch holds inf at [2], 1 such numbers in all"),
        ((X, np.zeros(4), np.array([1, np.nan, 1, 1])), "weights of the batch holds nan at [1], 1 such"),
        (({"a": X.astype(jnp.bfloat16) * np.nan}, np.zeros(4)), "inputs/a of the batch holds nan at [0, 0]"),
    ],
)
def test_what_is_not_finite(batch: Any, text: str | None) -> None:
    found = explain(batch, SHAPES, loss_of(hidden))
    assert found is None if text is None else found is not None and found.startswith(text)


def test_a_trainer_offers_it() -> None:
    recipe = loop.trainer(MODEL, hidden, optax.sgd(0.1)).recipe
    state = EvalState(model_state=MODEL[0](None))
    assert recipe.explain((X * np.nan, np.zeros(4)), state, ()) == (
        "inputs of the batch holds nan at [0, 0], 12 such numbers in all"
    )
    assert loop.loop(lambda count, batch: count, init=lambda: 0).recipe.explain(1, 2) is None


def test_a_population_shows_the_batch_to_one_of_its_members() -> None:
    fitting = loop.trainer(MODEL, hidden, optax.sgd(0.1)).vmap(2)
    state = fitting.run([(X, np.zeros(4))]).step_state
    assert fitting.recipe.explain((X, np.zeros(4)), state) is None
    assert str(fitting.recipe.explain((X, np.full(4, np.inf)), state)).startswith(
        "targets of the batch holds inf"
    )
