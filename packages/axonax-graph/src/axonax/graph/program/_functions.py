"""From a description to two pure functions: `init` and `apply`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax

from axonax.graph.data._layer import Applied
from axonax.graph.program import _infer, _inputs, _plan, _run
from axonax.graph.program._initial import initial_state
from axonax.graph.program._keys import check_key
from axonax.tensor import activations, trees
from axonax.tensor.contracts import Buildable, Closing, Model, ModelState, Unclosed

_CLOSINGS = {
    "softmax": (activations.softmax, jax.nn.softmax),
    "sigmoid": (activations.sigmoid, jax.nn.sigmoid),
}


class _ClosedModel(Model):
    """A model that ends in a softmax or sigmoid: it is `axonax.tensor.contracts.Closed`."""

    unclosed: Unclosed


def build(model: Applied, *, within: Applied | None = None) -> Model:
    """The model as two pure functions.

    ``init(key, *inputs) -> ModelState`` takes arrays, ``jax.ShapeDtypeStruct``, shapes, or one dict of
    these by input name (nothing, where the declared shapes say it all). The key of each parameter follows
    from its path alone; ``init(..., initial=)`` takes part of the leaves as they are, from a `ModelState` or
    nested dicts. ``apply(state, *inputs, train=False, key=None) -> (prediction, buffers)``.

    Args:
        model: any node.
        within: a whole that ``model`` is part of: the part then has the names of the whole, and fits its
            states.

    Returns:
        `Model(init, apply)`; the same two functions for one node, so that ``jax.jit`` knows them again. If
        the model ends in a softmax (with no option but ``axis``) or sigmoid, it is
        `axonax.tensor.contracts.Closed`: a loop can train it on its logits.

    Raises:
        ValueError: a layer does not fit its input, or two layers have one name.
        TypeError: ``model`` is no node.

    >>> from axonax import graph as nn
    >>> init, apply = nn.build(nn.input("x", (None, 3)) | nn.dense(2))
    >>> state = init(jax.random.key(0))
    >>> state.params["dense_0"]["kernel"].shape
    (3, 2)
    """
    if not isinstance(model, Buildable):
        raise TypeError(f'build: needs a node, such as nn.input("x") | nn.dense(2), got {model!r}')
    if within is None:
        return model.build()
    part = _plan.plan(model, within)
    return functions(part, _infer.declared(part))


def predict(model: Buildable | Model, state: ModelState, *inputs: Any) -> Any:
    """The prediction of a model, not training.

    Args:
        model: a node, or what `build` made of it.
        state: what ``init`` returned, or a trainer.
        *inputs: arrays in the order of the inputs, or one dict by input name.

    Returns:
        the value of ``model``.

    Raises:
        ValueError: the inputs or the state do not fit the model; the text names the layer and its line.
        TypeError: something that is not a model, a state or an array.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(2, kernel_initializer="ones")
    >>> nn.predict(model, nn.build(model).init(jax.random.key(0)), jax.numpy.ones((1, 3)))
    Array([[3., 3.]], dtype=float32)
    """
    if not isinstance(model, Model | Buildable):
        shown = type(model).__name__ if isinstance(model, ModelState) else repr(model)
        raise TypeError(f"predict: needs a node or what build made of one, got {shown}")
    pair = model if isinstance(model, Model) else model.build()
    prediction, _ = pair.apply(state, *inputs)
    return prediction


def functions(plan: _plan.Plan, facts: _infer.Facts) -> Model:
    """The two functions of a plan; ``facts`` are what the declared shapes of its inputs tell."""

    def init(key: Any, *inputs: Any, initial: Any = None) -> ModelState:
        check_key("init", key)
        known = facts if not inputs else _infer.infer(plan, _inputs.bind_abstract(plan, inputs))
        state = initial_state(known, key, initial)
        _announce(plan, state)
        return state

    *body, last = plan.steps
    closing = _closing(last)
    if closing is None:
        return Model(init, _apply(plan))
    model = _ClosedModel(init, _apply(plan))
    model.unclosed = Unclosed(
        apply=_apply(replace(plan, steps=tuple(body))),
        close=lambda logits: _run.execute(last, [logits], _run.Call(variables={}, buffers={})),
        closing=closing,
    )
    return model


def _announce(plan: _plan.Plan, state: ModelState) -> None:
    """Show the first leaves of layers to those who asked for them."""
    asking = [step for step in plan.steps if step.layer.computation.at_init is not None]
    leaves = trees.flatten((state.variables, state.buffers)) if asking else {}
    leaves = {path.split("/", 1)[1]: leaf for path, leaf in leaves.items()}
    for step in asking:
        source = plan.steps[step.sources[0]]
        names = (*source.layer.computation.params, *source.layer.computation.buffers)
        found = {name: leaves[source.leaf(name)] for name in names if name not in source.ties}
        step.layer.computation.at_init(found)  # type: ignore[misc]


def _apply(plan: _plan.Plan) -> Callable[..., tuple[Any, Any]]:
    """The ``apply`` of a plan."""

    def apply(state: ModelState, *inputs: Any, train: bool = False, key: Any = None) -> tuple[Any, Any]:
        if not isinstance(state, ModelState):
            raise TypeError(f"apply: state must be the ModelState of init, got {type(state).__name__}")
        if key is not None:
            check_key("apply", key)
        values = _inputs.bind(plan, inputs)
        variables, buffers = trees.flatten(state.variables), trees.flatten(state.buffers)
        call = _run.Call(variables=variables, buffers=buffers, train=train, key=key)
        prediction = _run.run(plan, values, call)
        if not any(step.layer.computation.buffers for step in plan.steps):
            return prediction, state.buffers
        return prediction, _replaced(state.buffers, call.buffers)

    return apply


def _closing(step: _plan.Step) -> Closing | None:
    """What a step that is the last one closes the model by, if it is an activation with logits."""
    options = {name: value for name, value in step.layer.computation.options.items() if value is not None}
    axis = options.pop("axis", -1)
    if options or not isinstance(axis, int):
        return None
    # By identity: a function of the user need not be hashable, and may compare as it likes.
    function = step.layer.computation.function
    found = (name for name, known in _CLOSINGS.items() if any(each is function for each in known))
    name = next(found, None)
    return None if name is None else Closing(name, axis)


def _replaced(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """``tree`` with new leaves, in its very structure."""
    return jax.tree_util.tree_map_with_path(lambda keys, _: leaves[trees.path(keys)], tree)
