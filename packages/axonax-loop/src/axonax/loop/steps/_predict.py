"""The recipe of a predictor: each step leaves the predictions of its batch in the step state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._state import EvalState, TrainState
from axonax.loop.data._batch import KEYS, Batch, rows
from axonax.loop.data._remainder import Padded
from axonax.loop.steps._metrics import COUNTED
from axonax.loop.steps._model import Net
from axonax.loop.steps._recipe import Recipe, averaged
from axonax.tensor import trees

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class PredictState(EvalState):
    """The step state of a predictor: the model's, the last predictions, and which of their rows count."""

    output: PyTree = None
    counted: Any = None


def inputs_of(batch: Any) -> Batch:
    """The inputs of a batch: the first of a tuple or list, those of a dict that names them, or all of it.

    Raises:
        ValueError: a tuple or list of no or more than three parts.
    """
    if isinstance(batch, Padded):
        return inputs_of(batch.batch)._replace(where=batch.where)
    if isinstance(batch, Mapping):
        named = "inputs" in batch and batch.keys() <= set(KEYS)
        return Batch(batch["inputs"] if named else batch, None)
    if not isinstance(batch, tuple | list):
        return Batch(batch, None)
    if not 1 <= len(batch) <= len(KEYS):
        raise ValueError(
            "a batch must be inputs, (inputs, targets), (inputs, targets, weights) or a dict, "
            f"got {len(batch)} parts"
        )
    return Batch(batch[0], None)


def predict_recipe(net: Net, *, compile: bool) -> Recipe:
    """The recipe of a predictor, which needs the state of a model to start from, as an evaluator's does."""

    def predict(model_state: PyTree, batch: Batch) -> PyTree:
        return net.apply(model_state, batch.inputs, train=False, key=None, where=batch.where)[0]

    def start(key: jax.Array, batch: Any, state: PyTree) -> PredictState:
        model_state = state.model_state if isinstance(state, EvalState) else state
        if isinstance(state, TrainState):
            model_state = averaged(state)
        if not compile:
            return PredictState(model_state=model_state)
        parts = inputs_of(batch)
        shapes = jax.eval_shape(predict, model_state, parts)
        count = rows(parts.inputs)
        check_output(shapes, count)
        output = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return PredictState(model_state=model_state, output=output, counted=jnp.ones(count, bool))

    def update(carry: PyTree, batch: Any, constant: PyTree) -> tuple[PyTree, dict[str, Any]]:
        parts = inputs_of(batch)
        prediction = predict(constant, parts)
        whole = jnp.ones(rows(parts.inputs), bool) if parts.where is None else parts.where
        outputs = {"y_pred": prediction, "weights": None}
        return (prediction, whole), outputs if parts.where is None else {**outputs, COUNTED: parts.where}

    return Recipe(
        start=start,
        update=update,
        split=lambda state: ((state.output, state.counted), state.model_state),
        join=lambda carry, constant: PredictState(model_state=constant, output=carry[0], counted=carry[1]),
        view=inputs_of,
        needs_state=True,
        pads=True,
        fuses=False,
    )


def check_output(output: PyTree, count: int) -> None:
    """Raise unless every leaf has the rows of the batch.

    Raises:
        ValueError: one has not; the text names it.
    """
    for name, leaf in trees.flatten(output).items():
        if np.shape(leaf)[:1] != (count,):
            raise ValueError(
                f"predictor: {name or 'the output'} must have the {count} rows of the batch on its leading "
                f"axis, got shape {np.shape(leaf)}"
            )
