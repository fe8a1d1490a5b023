"""Functions that look at a value while a model runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.data._layer import Applied, Layer, computes
from axonax.graph.layers._builder import recorded
from axonax.graph.nodes._node import Node
from axonax.tensor import names

_EVENTS = ("forward", "backward", "initialize")
_MODES = {"both": (False, True), "train": (True,), "predict": (False,)}


def hook(
    node: Node,
    function: Callable[[Any], Any],
    *,
    on: str | tuple[str, ...] = "forward",
    mode: str = "both",
    name: str | None = None,
) -> Node:
    """A node with the same value, at which a function is called for its side effects.

    The calls are made while the model runs, compiled or not (``jax.debug.callback``), in no order;
    ``jax.effects_barrier()`` waits for them. They change neither value nor gradient.

    Args:
        node: whose value is looked at.
        function: called with the value on ``"forward"``, with the gradient of the value on ``"backward"``,
            and on ``"initialize"`` with the first leaves of the layer of ``node``, a dict by name.
        on: one or more of these.
        mode: ``"train"`` or ``"predict"`` to be called only then, ``"both"`` always.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a node.

    Raises:
        TypeError: no node or no function.
        ValueError: an unknown event or mode, or ``"initialize"`` where the layer has no leaves.

    >>> import jax
    >>> from axonax import graph as nn
    >>> seen = []
    >>> model = nn.hook(nn.input("x", (None, 3)) | nn.dense(2), lambda y: seen.append(y.shape)) | nn.relu()
    >>> state = nn.build(model).init(jax.random.key(0))
    >>> _ = nn.predict(model, state, jax.numpy.ones((5, 3)))
    >>> jax.effects_barrier()
    >>> seen
    [(5, 2)]
    """
    if not isinstance(node, Applied):
        raise TypeError(f"hook: needs a node, got {type(node).__name__}")
    computation = node.layer.computation
    layer = hook_layer(function, on=on, mode=mode, name=name)
    if layer.computation.at_init is not None and not {**computation.params, **computation.buffers}:
        raise ValueError(f'hook: on "initialize" needs a layer with parameters, got {node.layer!r}')
    hooked: Node = layer(node)
    return hooked


@functools.partial(recorded, op="hook")
def hook_layer(
    function: Callable[[Any], Any], *, on: str | tuple[str, ...], mode: str, name: str | None = None
) -> Layer:
    """The layer of a hook."""
    if not callable(function) or isinstance(function, Applied | Layer):
        raise TypeError(f"hook: needs a function of a value, got {function!r}")
    events = (on,) if isinstance(on, str) else tuple(on)
    if not events:
        raise ValueError("hook: needs an event, got none")
    for event in events:
        if event not in _EVENTS:
            raise ValueError(f'hook: unknown event "{event}": {names.suggestion(str(event), _EVENTS)}')
    modes = names.lookup(_MODES, mode, "mode of a hook")
    return computes(
        _handed_on,
        options={"function": function, "events": events, "modes": modes},
        needs=frozenset({"train"}),
        check=_needs_floats if "backward" in events else None,
        bare=True,
        casts=False,
        at_init=functools.partial(jax.debug.callback, function) if "initialize" in events else None,
    )


def _handed_on(value: Any, *, function: Any, events: Any, modes: Any, train: bool) -> Any:
    if train not in modes:
        return value
    if "forward" in events:
        jax.debug.callback(function, value)
    return _watched(function)(value) if "backward" in events else value


def _watched(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The identity, which shows its gradient to a function."""

    def shown(_: Any, gradient: Any) -> Any:
        jax.debug.callback(function, gradient)
        return (gradient,)

    identity = jax.custom_vjp(lambda value: value)
    identity.defvjp(lambda value: (value, None), shown)
    return identity


def _needs_floats(value: Any) -> str | None:
    floats = all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(value))
    return None if floats else 'on "backward" needs floats'
