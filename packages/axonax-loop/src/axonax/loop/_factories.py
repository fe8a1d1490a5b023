"""The loops to begin with: over any step, a trainer, an evaluator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from axonax.loop._events import callable_name
from axonax.loop._loop import Loop
from axonax.loop._state import State
from axonax.loop.data._batch import read
from axonax.loop.steps import _recipe
from axonax.loop.steps._check import model_check, model_explain
from axonax.loop.steps._descent import Descent
from axonax.loop.steps._facts import Fact, model_fact
from axonax.loop.steps._loss import LossFunction
from axonax.loop.steps._losses import OutputLosses, optional_losses, resolve_losses
from axonax.loop.steps._metrics import part_measures
from axonax.loop.steps._model import Net, resolve_model
from axonax.loop.steps._optimizer import Updater, resolve_optimizer
from axonax.loop.steps._players import (
    check_players,
    players_averaged,
    players_evaluation,
    players_step,
)
from axonax.loop.steps._precision import with_policy
from axonax.loop.steps._recipe import Recipe
from axonax.loop.steps._steps import (
    Objective,
    make_train_step,
    model_init,
    model_objective,
    objective_step,
    predict_step,
    user_init,
    user_objective,
)
from axonax.loop.steps._transforms import Transforms

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
    objective: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None,
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
            is the mean of its batch; one whose parameters are named the other way round, as Optax's
            ``(logits, labels)``, is called that way round. A function gets the predictions as they are,
            unless it declares by `axonax.tensor.contracts.expects` what they must be: then it is treated as
            by its name. Of a model with several outputs a dict by name, or a tuple: each a loss, a pair
            ``(loss, weight)``, or ``None`` to ignore the output. Their weighted sum is trained on, and each
            is reported as ``loss_<name>``.
        optimizer: a name or an Optax pair; a dict of these by patterns of paths (`axonax.tensor.trees`),
            the first that matches decides, ``None`` leaves parameters alone; with several objectives a dict
            by player. To one that takes them go ``value``, ``grad`` and ``value_fn``; to
            one that names them, or whose state has ``extra_arguments`` that do (it may stand deep in an
            ``optax.chain``), ``weight``: what the loss of the batch is a mean over, the sum of the weights,
            else the number of its values; and ``flush``: whether the batch is the last of its epoch.
        loss_options: of a loss by name: ``{"label_smoothing": 0.1}``, ``{"from_logits": True}`` for a model
            whose outputs are logits; with several losses by output: ``{"digit": {...}}``.
        objective: ``objective(model_state, batch) -> loss`` or ``(loss, outputs)``; it may take ``train=``
            and ``key=``. ``outputs`` is a dict for metrics; its ``"buffers"`` replace those of a
            `ModelState`, its ``"weights"`` weigh a loss of one value an example. A dict of objectives is one
            a player: in each step they move in turn, each by its own objective of the states of all,
            ``{"generator": ..., "discriminator": ...}``, which ``init`` returns by player.
        init: ``init(key, batch)`` or ``init(key)``, the first parameters of an objective.
        compile: jit the step and donate the state.

    Raises:
        ValueError: an unknown name or option; the text lists near matches or what to install. Or
            ``from_logits`` with a model that ends in softmax or sigmoid.
        TypeError: an argument is missing or of a type that it cannot be.
    """
    if objective is not None:
        if init is None or optimizer is None or any(each is not None for each in (model, loss, loss_options)):
            raise TypeError(
                "trainer: an objective goes with init= and optimizer=, without a model and a loss"
            )
        _check_callable("trainer", init=init)
        if isinstance(objective, Mapping):
            return _players_trainer(objective, init, optimizer, compile)
        return _objective_trainer(objective, init, optimizer, compile)
    if model is None or loss is None or optimizer is None or init is not None:
        raise TypeError("trainer: pass model, loss and optimizer, or objective=, init= and optimizer=")
    net, updater = resolve_model(model, "trainer"), _optimizer(optimizer)
    mean = resolve_losses(loss, "trainer", loss_options, net)
    return _trainer(
        functools.partial(_model_recipes, net, mean, updater, compile),
        parts=mean.names if isinstance(mean, OutputLosses) else (),
        compile=compile,
        facts=(("model", model_fact(model, net)), ("loss", str(mean)), ("optimizer", updater.name)),
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
    mean = optional_losses(loss, "evaluator", loss_options, net)
    step = predict_step(net) if mean is None else objective_step(model_objective(net, mean))
    check = model_check(net, mean, train=False, compile=compile)
    facts = [("model", model_fact(model, net)), *([("loss", mean)] if mean else [])]
    recipe = _recipe.eval_recipe(step, check, read, tracks_loss=mean is not None)
    parts = mean.names if isinstance(mean, OutputLosses) else ()
    return Loop(
        kind="evaluator", recipe=recipe, metrics=part_measures(parts), compile=compile, facts=tuple(facts)
    )


def _trainer(
    build: Callable[[Transforms], tuple[Recipe, Recipe]],
    *,
    parts: Sequence[str] = (),
    compile: bool,
    facts: tuple[tuple[str, object], ...],
) -> Loop:
    recipe, evaluation = build(Transforms())
    return Loop(
        kind="trainer",
        recipe=recipe,
        evaluation=evaluation,
        metrics=part_measures(parts),
        compile=compile,
        facts=facts,
        build=build,
    )


def _model_recipes(
    net: Net, loss: LossFunction | OutputLosses, updater: Updater, compile: bool, transforms: Transforms
) -> tuple[Recipe, Recipe]:
    """How a model is trained on a loss and evaluated."""
    net = with_policy(net, transforms.precision)
    objective = model_objective(net, loss)
    step = make_train_step(objective, model_init(net), _descent(updater, transforms))
    recipe = _recipe.train_recipe(
        step,
        _flushes(updater, transforms),
        model_check(net, loss, train=True, compile=compile),
        model_explain(net, loss, train=True),
        read,
    )
    look = model_check(net, loss, train=False, look=False, compile=compile)
    return recipe, _recipe.eval_recipe(objective_step(objective), look, read, tracks_loss=True)


def _objective_trainer(function: Any, init: Any, optimizer: Any, compile: bool) -> Loop:
    _check_callable("trainer", objective=function)
    updater, objective = _optimizer(optimizer), user_objective(function)

    def build(transforms: Transforms) -> tuple[Recipe, Recipe]:
        _without_model(transforms)
        step = make_train_step(objective, user_init(init), _descent(updater, transforms))
        evaluation = _recipe.eval_recipe(
            objective_step(objective), _recipe.no_check, _recipe.same, tracks_loss=True
        )
        return _recipe.train_recipe(step, _flushes(updater, transforms)), evaluation

    facts = (("objective", callable_name(function)), ("optimizer", updater.name))
    return _trainer(build, compile=compile, facts=facts)


def _players_trainer(functions: Mapping[str, Any], init: Any, optimizers: Any, compile: bool) -> Loop:
    check_players(functions, optimizers)
    objectives: dict[str, Objective] = {name: user_objective(each) for name, each in functions.items()}
    updaters = {name: resolve_optimizer(optimizers[name], f"trainer: {name}") for name in objectives}

    def build(transforms: Transforms) -> tuple[Recipe, Recipe]:
        _without_model(transforms)
        descents = {name: _descent(each, transforms, f"trainer: {name}") for name, each in updaters.items()}
        evaluation = _recipe.eval_recipe(
            players_evaluation(objectives),
            _recipe.no_check,
            _recipe.same,
            tracks_loss=True,
            evaluated=players_averaged,
        )
        flushes = _players_flush(updaters, transforms)
        return _recipe.train_recipe(players_step(objectives, user_init(init), descents), flushes), evaluation

    facts = tuple(("player", _player_fact(name, each, updaters[name])) for name, each in functions.items())
    return _trainer(build, parts=[f"loss_{name}" for name in objectives], compile=compile, facts=facts)


def _player_fact(name: str, function: Any, updater: Updater) -> Fact:
    return Fact(lambda: f"{name}: {callable_name(function)}, {updater.name}")


def _descent(updater: Updater, transforms: Transforms, who: str = "trainer") -> Descent:
    return Descent(optimizer=updater, transforms=transforms, who=who)


def _flushes(updater: Updater, transforms: Transforms) -> Callable[[Any], bool]:
    return lambda state: transforms.accumulate > 1 or updater.flushes(state.opt_state)


def _players_flush(updaters: Mapping[str, Updater], transforms: Transforms) -> Callable[[Any], bool]:
    def flushes(state: Any) -> bool:
        asked = (each.flushes(state.opt_state[name]) for name, each in updaters.items())
        return transforms.accumulate > 1 or any(asked)

    return flushes


def _without_model(transforms: Transforms) -> None:
    """Raise where a transform needs a model.

    Raises:
        ValueError: a policy of precision is for models.
    """
    if transforms.precision is not None:
        raise ValueError(
            "precision: goes with a model; an objective casts by itself what it computes with, by "
            "policy.cast_compute(...)"
        )


def _optimizer(optimizer: Any) -> Updater:
    return resolve_optimizer(optimizer, "trainer")


def _check_callable(who: str, **functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{who}: {name} must be a function, got {type(function).__name__}")
