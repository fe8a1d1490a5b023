"""One step of training or evaluation as a pure function: what the factories are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.loop._state import TrainState
from axonax.loop.data._batch import read, rows
from axonax.loop.steps import _signature
from axonax.loop.steps._loss import LossFunction, optional_loss, resolve_loss
from axonax.loop.steps._mean import Mean, batch_mean
from axonax.loop.steps._model import Net, call_init, resolve_model, trained, with_trained
from axonax.loop.steps._optimizer import Updater, resolve_optimizer
from axonax.tensor.contracts import ModelState

PyTree = Any
Outputs = dict[str, Any]
# (model_state, batch, train, key) -> (mean loss, (outputs, model_state with new buffers))
Objective = Callable[[PyTree, Any, bool, Any], tuple[Any, tuple[Outputs, PyTree]]]


class TrainStep(NamedTuple):
    """A training step as two pure functions.

    ``init(key, batch, model_state=None) -> TrainState``;
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
    objective = model_objective(net, resolve_loss(loss, "train_step", loss_options, net))
    return make_train_step(objective, model_init(net), resolve_optimizer(optimizer, "train_step"))


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
    mean = optional_loss(loss, "eval_step", loss_options, net)
    return predict_step(net) if mean is None else objective_step(model_objective(net, mean))


def make_train_step(
    objective: Objective, init: Callable[[Any, Any], PyTree], optimizer: Updater
) -> TrainStep:
    """The training step that descends ``objective``."""

    def start(key: jax.Array, batch: Any, model_state: PyTree = None) -> TrainState:
        init_key, dropout_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        if model_state is None:
            model_state = init(init_key, batch)
        return TrainState(
            model_state=model_state,
            opt_state=optimizer.init(trained(model_state)),
            iteration=jnp.zeros((), jnp.int32),
            key=dropout_key,
        )

    def step(state: TrainState, batch: Any, last: Any = False) -> tuple[TrainState, Outputs]:
        if not isinstance(state, TrainState):
            raise TypeError(f"a training step takes (state, batch), got {type(state).__name__} as the state")
        key = jax.random.fold_in(state.key, state.iteration)

        def value(params: PyTree) -> tuple[Any, tuple[Outputs, PyTree]]:
            return objective(with_trained(state.model_state, params), batch, True, key)

        params = trained(state.model_state)
        (loss, (outputs, model_state)), gradients = jax.value_and_grad(value, has_aux=True)(params)
        params, opt_state = optimizer.apply(
            params,
            gradients,
            state.opt_state,
            value=loss,
            value_fn=lambda params: value(params)[0],
            weight=outputs["loss_weight"],
            flush=last,
        )
        model_state = with_trained(model_state, params)
        return state.replace(
            model_state=model_state, opt_state=opt_state, iteration=state.iteration + 1
        ), outputs

    return TrainStep(start, step)


def model_init(net: Net) -> Callable[[Any, Any], PyTree]:
    """``init(key, batch)`` of a model."""
    return lambda key, batch: net.init(key, read(batch).inputs)


def model_objective(net: Net, loss: LossFunction) -> Objective:
    """The objective of a model and a loss."""

    def objective(
        model_state: PyTree, batch: Any, train: bool, key: Any
    ) -> tuple[Any, tuple[Outputs, PyTree]]:
        parts = read(batch)
        prediction, logits, model_state = net.apply_twofold(model_state, parts.inputs, train=train, key=key)
        mean = loss.mean(parts, prediction, logits)
        outputs = {"y_true": parts.targets, "y_pred": prediction, "weights": parts.weights}
        return mean.value, ({**outputs, **_loss_outputs(mean)}, model_state)

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
        return mean.value, ({**outputs, **_loss_outputs(mean)}, model_state)

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
        prediction, _ = net.apply(model_state, parts.inputs, train=False, key=None)
        return {"y_true": parts.targets, "y_pred": prediction, "weights": parts.weights}

    return step


def _loss_outputs(mean: Mean) -> Outputs:
    return {"loss": mean.value, "loss_total": mean.total, "loss_weight": mean.weight}
