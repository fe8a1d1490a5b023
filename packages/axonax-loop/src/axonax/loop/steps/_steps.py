"""One step of training or evaluation as a pure function: what the factories are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.loop._state import TrainState
from axonax.loop.data._batch import Batch, read, rows
from axonax.loop.steps import _signature
from axonax.loop.steps._descent import Descent, Point
from axonax.loop.steps._loss import LossFunction
from axonax.loop.steps._losses import OutputLosses, optional_losses, resolve_losses
from axonax.loop.steps._mean import Mean, batch_mean
from axonax.loop.steps._metrics import COUNTED
from axonax.loop.steps._model import (
    Net,
    buffers_of,
    call_init,
    resolve_model,
    trained,
    with_buffers,
    with_trained,
)
from axonax.loop.steps._optimizer import resolve_optimizer
from axonax.loop.steps._transforms import Transforms
from axonax.tensor.contracts import ModelState

PyTree = Any
Outputs = dict[str, Any]
# (model_state, batch, train, key) -> (mean loss, (outputs, model_state with new buffers))
Objective = Callable[[PyTree, Any, bool, Any], tuple[Any, tuple[Outputs, PyTree]]]


class TrainStep(NamedTuple):
    """A training step as two pure functions.

    ``init(key, batch, state=None) -> TrainState``, from a model's state or a `TrainState` where one is given;
    ``step(state, batch, last=False) -> (TrainState, outputs)``, where ``outputs`` has ``loss`` and, of a
    model, ``y_true``, ``y_pred`` and ``weights``. ``last``, whether the batch is the last of its epoch,
    reaches optimizers that accumulate batches.
    """

    init: Callable[..., TrainState]
    step: Callable[..., tuple[TrainState, Outputs]]


def train_step(
    model: Any, loss: Any, optimizer: Any, *, loss_options: Mapping[str, Any] | None = None
) -> TrainStep:
    """The step of `trainer`, for a loop of your own; jit it with ``donate_argnums=0``.

    Args:
        model: as for `trainer`.
        loss: as for `trainer`.
        optimizer: as for `trainer`.
        loss_options: as for `trainer`.

    Returns:
        ``(init, step)``. Unlike a trainer it does not look at the first predictions.
    """
    net = resolve_model(model, "train_step")
    objective = model_objective(net, resolve_losses(loss, "train_step", loss_options, net))
    updater = resolve_optimizer(optimizer, "train_step")
    descent = Descent(optimizer=updater, transforms=Transforms(), who="train_step")
    return make_train_step(objective, model_init(net), descent)


def eval_step(
    model: Any, loss: Any = None, *, loss_options: Mapping[str, Any] | None = None
) -> Callable[[PyTree, Any], Outputs]:
    """The step of `evaluator`: ``step(model_state, batch) -> outputs``, with ``train=False``.

    Args:
        model: as for `trainer`.
        loss: a name or function, or ``None``.
        loss_options: as for `trainer`.
    """
    net = resolve_model(model, "eval_step")
    mean = optional_losses(loss, "eval_step", loss_options, net)
    return predict_step(net) if mean is None else objective_step(model_objective(net, mean))


def make_train_step(objective: Objective, init: Callable[[Any, Any], PyTree], descent: Descent) -> TrainStep:
    """The training step that descends ``objective``."""

    def start(key: jax.Array, batch: Any, state: PyTree = None) -> TrainState:
        if isinstance(state, TrainState):
            return state.replace(extras=descent.extras(trained(state.model_state), state.extras))
        init_key, dropout_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        model_state = init(init_key, batch) if state is None else state
        params = descent.cast(trained(model_state))
        opt_state, extras = descent.init(params)
        return TrainState(
            model_state=with_trained(model_state, params),
            opt_state=opt_state,
            iteration=jnp.zeros((), jnp.int32),
            key=dropout_key,
            extras=extras,
        )

    def step(state: TrainState, batch: Any, last: Any = False) -> tuple[TrainState, Outputs]:
        if not isinstance(state, TrainState):
            raise TypeError(f"a training step takes (state, batch), got {type(state).__name__} as the state")
        key = jax.random.fold_in(state.key, state.iteration)

        def value(params: PyTree) -> tuple[Any, tuple[Outputs, PyTree]]:
            model_state = with_trained(state.model_state, params)
            loss, (outputs, model_state) = objective(model_state, batch, True, key)
            return loss, (outputs, buffers_of(model_state))

        point = Point(
            trained(state.model_state), buffers_of(state.model_state), state.opt_state, state.extras
        )
        point, outputs = descent.step(value, point, last=last, iteration=state.iteration)
        return state.replace(
            model_state=with_buffers(with_trained(state.model_state, point.params), point.buffers),
            opt_state=point.opt_state,
            extras=point.extras,
            iteration=state.iteration + 1,
        ), outputs

    return TrainStep(start, step)


def model_init(net: Net) -> Callable[[Any, Any], PyTree]:
    """``init(key, batch)`` of a model."""
    return lambda key, batch: net.init(key, read(batch).inputs)


def model_objective(net: Net, loss: LossFunction | OutputLosses) -> Objective:
    """The objective of a model and a loss, or several."""

    def objective(
        model_state: PyTree, batch: Any, train: bool, key: Any
    ) -> tuple[Any, tuple[Outputs, PyTree]]:
        parts = read(batch)
        prediction, logits, model_state = net.apply_twofold(
            model_state, parts.inputs, train=train, key=key, where=parts.where
        )
        mean, each = loss.means(parts, prediction, logits)
        outputs = _model_outputs(parts, prediction)
        return mean.value, ({**outputs, **loss_outputs(mean, each)}, model_state)

    return objective


def user_objective(function: Callable[..., Any]) -> Objective:
    """The objective of a function ``(model_state, batch)`` that may take ``train`` and ``key`` too."""
    options = _signature.accepted(function, "train", "key")

    def objective(
        model_state: PyTree, batch: Any, train: bool, key: Any
    ) -> tuple[Any, tuple[Outputs, PyTree]]:
        given = {"train": train, "key": key}
        result = function(model_state, batch, **{name: given[name] for name in options})
        loss, outputs = result if isinstance(result, tuple) else (result, {})
        if not isinstance(outputs, Mapping):
            raise TypeError(
                f"objective must return a loss or (loss, dict of outputs), got {type(outputs).__name__}"
            )
        outputs = dict(outputs)
        if "buffers" in outputs and isinstance(model_state, ModelState):
            model_state = model_state.replace(buffers=outputs.pop("buffers"))
        mean = batch_mean(loss, outputs.get("weights"), rows(batch), "objective")
        return mean.value, ({**outputs, **loss_outputs(mean)}, model_state)

    return objective


def user_init(function: Callable[..., PyTree]) -> Callable[[Any, Any], PyTree]:
    """``init(key, batch)`` of a function that takes a key and perhaps the first batch."""
    return lambda key, batch: call_init(function, key, batch)


def objective_step(objective: Objective) -> Callable[[PyTree, Any], Outputs]:
    """The evaluation step of an objective."""
    return lambda model_state, batch: objective(model_state, batch, False, None)[1][0]


def predict_step(net: Net) -> Callable[[PyTree, Any], Outputs]:
    """The evaluation step of a model without a loss."""

    def step(model_state: PyTree, batch: Any) -> Outputs:
        parts = read(batch)
        prediction, _ = net.apply(model_state, parts.inputs, train=False, key=None, where=parts.where)
        return _model_outputs(parts, prediction)

    return step


def loss_outputs(mean: Mean, parts: Mapping[str, Mean] = MappingProxyType({})) -> Outputs:
    """What a step says of its loss, and of the parts that it is the sum of."""
    own = {"loss": mean.value, "loss_total": mean.total, "loss_weight": mean.weight}
    if not parts:
        return own
    return {**own, **{name: each.value for name, each in parts.items()}, "loss_parts": dict(parts)}


def _model_outputs(batch: Batch, prediction: PyTree) -> Outputs:
    outputs = {"y_true": batch.targets, "y_pred": prediction, "weights": batch.weights}
    return outputs if batch.where is None else {**outputs, COUNTED: batch.where}
