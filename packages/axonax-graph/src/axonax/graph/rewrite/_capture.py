"""Values within a model, and gradients with respect to them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import param
from axonax.graph.layers._builder import recorded
from axonax.graph.layers._combining import container
from axonax.graph.nodes._node import Node
from axonax.graph.rewrite._nodes import rewrite_nodes
from axonax.graph.rewrite._pin import check_node, pin
from axonax.graph.rewrite._select import Patterns, select_nodes
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState

_ROOM = "gradients_at"


def capture(model: Node, patterns: Patterns) -> Node:
    """A model of the values of some nodes of a model, which fits its state.

    Args:
        model: any node.
        patterns: of names of nodes (a layer's second application is ``dense_0@1``): globs, compiled regular
            expressions, predicates ``(name, node) -> bool``.

    Returns:
        a node whose value is a dict by name, in the order of the graph. What none of them needs is no part of
        it, inputs included.

    Raises:
        ValueError: a pattern selects no node; the text lists near names.
        TypeError: no node.

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> state = nn.build(model).init(jax.random.key(0))
    >>> inner = nn.capture(model, ["dense_0", "relu_0"])
    >>> values = nn.predict(inner, state, jax.numpy.ones((1, 3)))
    >>> {name: value.shape for name, value in values.items()}
    {'dense_0': (1, 4), 'relu_0': (1, 4)}
    """
    check_node("capture", model)
    captured: Node = container(select_nodes("capture", pin(model), patterns))
    return captured


def gradients_at(
    model: Node, patterns: Patterns
) -> Callable[[Callable[[Any], Any]], Callable[..., dict[str, Any]]]:
    """Gradients of a function of the prediction with respect to values within a model.

    ``nn.gradients_at(model, patterns)(loss)(state, *inputs)`` is the gradient of ``loss(prediction)`` at each
    node that a pattern selects.

    Args:
        model: any node.
        patterns: of names of nodes, as for `capture`; inputs are nodes too.

    Returns:
        a function of a loss, which gives a function ``(state, *inputs, train=False, key=None)`` to a dict of
        gradients by name, each of the shape and dtype of the value.

    Raises:
        ValueError: a pattern selects no node (the text lists near names), or (when called) a value is not one
            array of floats.
        TypeError: no node.

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dense(2)
    >>> state = nn.build(model).init(jax.random.key(0))
    >>> gradients = nn.gradients_at(model, ["relu_0", "x"])(lambda y: y.sum())
    >>> {name: each.shape for name, each in gradients(state, jax.numpy.ones((1, 3))).items()}
    {'x': (1, 3), 'relu_0': (1, 4)}
    """
    check_node("gradients_at", model)
    pinned = pin(model)
    nodes = select_nodes("gradients_at", pinned, patterns)
    chosen, watched = list(nodes), container((pinned, nodes))  # with all inputs, in the order of the model

    def of(loss: Callable[[Any], Any]) -> Callable[..., dict[str, Any]]:
        def gradients(state: ModelState, *inputs: Any, train: bool = False, key: Any = None) -> Any:
            look = functools.partial(watched.build().apply, train=train, key=key)
            (_, shapes), _ = jax.eval_shape(look, state, *inputs)
            values = {name: shapes[name] for name in chosen}
            apply = _shifted_at(pinned, values).build().apply
            zeros = {
                str(place): {"shift": jnp.zeros(values[name].shape, values[name].dtype)}
                for place, name in enumerate(chosen)
            }

            def total(zeros: Any) -> Any:
                full = state.replace(params=trees.merge(state.params, {_ROOM: zeros}))
                return loss(apply(full, *inputs, train=train, key=key)[0])

            found = jax.grad(total)(zeros)
            return {name: found[str(place)]["shift"] for place, name in enumerate(chosen)}

        return gradients

    return of


def _shifted_at(model: Node, values: Mapping[str, Any]) -> Node:
    """The model with a parameter added to each of these values: its gradient is that of the value."""
    layers = {}
    for place, (name, value) in enumerate(values.items()):
        if not hasattr(value, "dtype") or not jnp.issubdtype(value.dtype, jnp.floating):
            came = trees.describe(value) if hasattr(value, "dtype") else type(value).__name__
            raise ValueError(f'gradients_at: the value of "{name}" must be an array of floats, got {came}')
        layers[name] = _shift(dtype=value.dtype, name=f"{_ROOM}/{place}")

    def at(name: str, node: Node) -> Any:
        if name not in layers:
            return None
        return lambda *parents, **named: node.over((*parents, *named.values())) | layers[name]

    shifted: Node = rewrite_nodes(model, at)
    return shifted


@functools.partial(recorded, op="shift")
def _shift(*, dtype: str, name: str | None = None) -> Layer:
    return computes(_shifted, params={"shift": param(_shape, "zeros", dtype=dtype)}, casts=False)


def _shifted(x: Any, *, shift: Any) -> Any:
    return operator.add(x, shift)


def _shape(x: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = x.shape
    return shape
