"""The loop that predicts."""

from __future__ import annotations

from typing import Any

from axonax.loop._loop import Loop
from axonax.loop._state import State
from axonax.loop.handlers._collect import NAME, Collect
from axonax.loop.steps._model import resolve_model
from axonax.loop.steps._predict import predict_recipe

PyTree = Any


def predictor(model: Any, *, compile: bool = True) -> Loop:
    """A loop that predicts: ``predictor(model).run(data, model_state).output``.

    The output has the rows of the whole pass, in order, as NumPy arrays in the structure of the model's
    output; they are fetched from the device batch by batch. A smaller last batch is filled up, so that one
    shape is compiled, and the added rows are left out.

    A batch is the inputs alone; or ``(inputs, targets)``, ``(inputs, targets, weights)`` or a dict with these
    keys, of which the inputs are used. A dict with other keys is named inputs. Several positional inputs,
    which would be taken for inputs and targets, are ``{"inputs": (a, b)}``.

    Args:
        model: as for `trainer`; called with ``train=False``. Every leaf of its output has the rows of the
            batch on its leading axis.
        compile: jit the step.

    Raises:
        TypeError: it is none of the kinds of model that a loop takes.

    >>> import jax.numpy as jnp
    >>> double = predictor((lambda key: 2.0, lambda scale, x: {"twice": scale * x}))
    >>> double.run([jnp.arange(2.0), jnp.arange(1.0)], 2.0).output
    {'twice': array([0., 2., 0.], dtype=float32)}
    """
    net = resolve_model(model, "predictor")
    recipe = predict_recipe(net, compile=compile)
    facts = (("model", type(model).__name__),)
    base = Loop(kind="predictor", recipe=recipe, output=_output, compile=compile, facts=facts)
    return base.attach(Collect())


def _output(state: State) -> PyTree:
    return state.memory[NAME].tree
