"""The loops to begin with: over any step, a trainer, an evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from axonax.loop._events import callable_name
from axonax.loop._loop import Loop
from axonax.loop._state import State
from axonax.loop.data._batch import read
from axonax.loop.steps import _recipe
from axonax.loop.steps._check import model_check
from axonax.loop.steps._loss import optional_loss, resolve_loss
from axonax.loop.steps._model import resolve_model
from axonax.loop.steps._optimizer import Updater, resolve_optimizer
from axonax.loop.steps._steps import (
    make_train_step,
    model_init,
    model_objective,
    objective_step,
    predict_step,
    user_init,
    user_objective,
)

PyTree = Any


def loop(
    step: Callable[[PyTree, Any], PyTree],
    *,
    init: Callable[..., PyTree],
    output: Callable[[State], Any] | None = None,
    compile: bool = True,
) -> Loop:
    """A loop over any step.

    Args:
        step: ``step(step_state, batch) -> step_state``.
        init: the first state, from the first batch: ``init(batch)``, ``init(key, batch)`` or ``init()``.
        output: what ``result.output`` is, as a function of the last `State`.
        compile: jit the step and donate the state; ``False`` for steps that JAX cannot trace.

    Raises:
        TypeError: one of the functions is not callable.

    >>> import jax.numpy as jnp
    >>> total = loop(lambda total, batch: total + batch.sum(), init=lambda batch: 0.0)
    >>> float(total.run([jnp.ones(3), jnp.ones(3)]).step_state)
    6.0
    """
    _check_callable("loop", step=step, init=init)
    if output is not None:
        _check_callable("loop", output=output)
    return Loop(
        kind="loop",
        recipe=_recipe.plain_recipe(step, init),
        output=output,
        compile=compile,
        facts=(("step", callable_name(step)),),
    )


def trainer(
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    *,
    loss_options: Mapping[str, Any] | None = None,
    objective: Callable[..., Any] | None = None,
    init: Callable[..., PyTree] | None = None,
    compile: bool = True,
) -> Loop:
    """A loop that trains: ``trainer(model, loss, optimizer)`` or ``trainer(objective=, init=, optimizer=)``.

    A batch is ``(inputs, targets)``, ``(inputs, targets, weights)`` or a dict with those keys; with an
    objective it is whatever the objective takes. The loss of an epoch is the exact weighted mean of all its
    examples.

    A loss by name that takes ``from_logits`` is taken of the logits of a model that offers them, as a graph
    that ends in softmax or sigmoid does; metrics and outputs see its predictions. Where a loss by name needs
    probabilities and gets the predictions, those of the first batch must be probabilities.

    Args:
        model: anything with ``.build()``, a `Model`, or ``(init, apply)``. Where ``init(key, inputs)``
            returns a `ModelState`, ``apply(state, inputs)`` returns ``(prediction, buffers)``; any other
            pytree is all parameters, and ``apply`` returns the prediction alone. ``train=`` and ``key=``
            go to an ``apply`` that has such parameters. Inputs in a tuple are passed one by one, in a dict
            as one dict.
        loss: a name, or a function ``(y_true, y_pred)`` that returns one value an example, or a scalar that
            is the mean of its batch. A function gets the predictions as they are, unless it declares by
            `axonax.tensor.contracts.expects` what they must be: then it is treated as by its name.
        optimizer: a name or an Optax pair; to one that takes them go ``value``, ``grad`` and ``value_fn``; to
            one that names them, or whose state has ``extra_arguments`` that do (it may stand deep in an
            ``optax.chain``), ``weight``: what the loss of the batch is a mean over, the sum of the weights,
            else the number of its values; and ``flush``: whether the batch is the last of its epoch.
        loss_options: of a loss by name: ``{"label_smoothing": 0.1}``, ``{"from_logits": True}`` for a model
            whose outputs are logits.
        objective: ``objective(model_state, batch) -> loss`` or ``(loss, outputs)``; it may take ``train=``
            and ``key=``. ``outputs`` is a dict for metrics; its ``"buffers"`` replace those of a
            `ModelState`, its ``"weights"`` weigh a loss of one value an example.
        init: ``init(key, batch)`` or ``init(key)``, the first parameters of an objective.
        compile: jit the step and donate the state.

    Raises:
        ValueError: an unknown name or option; the text lists near matches or what to install. Or
            ``from_logits`` with a model that ends in softmax or sigmoid.
        TypeError: an argument is missing or of a type that it cannot be.
    """
    if objective is not None:
        return _objective_trainer(objective, init, optimizer, (model, loss, loss_options), compile)
    if model is None or loss is None or optimizer is None or init is not None:
        raise TypeError("trainer: pass model, loss and optimizer, or objective=, init= and optimizer=")
    net, updater = resolve_model(model, "trainer"), _optimizer(optimizer)
    mean = resolve_loss(loss, "trainer", loss_options, net)
    model_loss = model_objective(net, mean)
    step = make_train_step(model_loss, model_init(net), updater)
    return Loop(
        kind="trainer",
        recipe=_recipe.train_recipe(step, updater, model_check(net, mean, train=True, compile=compile), read),
        evaluation=_recipe.eval_recipe(
            objective_step(model_loss),
            model_check(net, mean, train=False, look=False, compile=compile),
            read,
            tracks_loss=True,
        ),
        compile=compile,
        facts=(("model", type(model).__name__), ("loss", str(mean)), ("optimizer", updater.name)),
    )


def evaluator(
    model: Any, loss: Any = None, *, loss_options: Mapping[str, Any] | None = None, compile: bool = True
) -> Loop:
    """A loop that evaluates: ``evaluator(model).metric("accuracy").run(data, model_state).metrics``.

    Args:
        model: as for `trainer`; called with ``train=False``.
        loss: a name or function whose exact mean is reported as ``"loss"``; ``None`` for none.
        loss_options: as for `trainer`.
        compile: jit the step.

    Raises:
        ValueError: an unknown name of a loss, or an option that it does not have.
        TypeError: no model, or no loss.
    """
    net = resolve_model(model, "evaluator")
    mean = optional_loss(loss, "evaluator", loss_options, net)
    step = predict_step(net) if mean is None else objective_step(model_objective(net, mean))
    check = model_check(net, mean, train=False, compile=compile)
    facts = (("model", type(model).__name__), *([("loss", str(mean))] if mean else []))
    recipe = _recipe.eval_recipe(step, check, read, tracks_loss=mean is not None)
    return Loop(kind="evaluator", recipe=recipe, compile=compile, facts=facts)


def _objective_trainer(
    function: Callable[..., Any], init: Any, optimizer: Any, others: tuple[Any, ...], compile: bool
) -> Loop:
    if init is None or optimizer is None or any(each is not None for each in others):
        raise TypeError("trainer: an objective goes with init= and optimizer=, without a model and a loss")
    _check_callable("trainer", objective=function, init=init)
    updater = _optimizer(optimizer)
    objective = user_objective(function)
    step = make_train_step(objective, user_init(init), updater)
    return Loop(
        kind="trainer",
        recipe=_recipe.train_recipe(step, updater),
        evaluation=_recipe.eval_recipe(
            objective_step(objective), _recipe.no_check, _recipe.same, tracks_loss=True
        ),
        compile=compile,
        facts=(("objective", callable_name(function)), ("optimizer", updater.name)),
    )


def _optimizer(optimizer: Any) -> Updater:
    return resolve_optimizer(optimizer, "trainer")


def _check_callable(who: str, **functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{who}: {name} must be a function, got {type(function).__name__}")
