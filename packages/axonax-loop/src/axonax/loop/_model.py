"""A model as the loop calls it, whatever it came as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop import _signature
from axonax.tensor.contracts import Buildable, ModelState

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class Net:
    """A model's two functions, and which of ``train`` and ``key`` its ``apply`` takes."""

    init_function: Callable[..., PyTree]
    apply_function: Callable[..., Any]
    options: tuple[str, ...]

    def init(self, key: jax.Array, inputs: PyTree) -> PyTree:
        """A fresh state: from the key alone where ``init`` takes nothing else."""
        arguments = positional(jax.tree.map(jnp.asarray, inputs))
        return call_init(self.init_function, key, *arguments)

    def apply(self, state: PyTree, inputs: PyTree, *, train: bool, key: Any) -> tuple[PyTree, PyTree]:
        """The prediction, and the state with its new buffers.

        Raises:
            TypeError: the state is a ModelState and ``apply`` does not return ``(prediction, buffers)``.
        """
        given = {"train": train, "key": key}
        result = self.apply_function(
            state, *positional(inputs), **{name: given[name] for name in self.options}
        )
        if not isinstance(state, ModelState):
            return result, state
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                "apply must return (prediction, buffers) for a model whose state is a ModelState, "
                f"got {type(result).__name__}"
            )
        prediction, buffers = result
        return prediction, state.replace(buffers=buffers)


def resolve_model(model: Any, who: str) -> Net:
    """The model as the loop calls it.

    Raises:
        TypeError: it is none of the kinds of model that a loop takes.
    """
    if isinstance(model, Buildable) and not isinstance(model, type):
        model = model.build()
    if not (isinstance(model, tuple) and len(model) == 2 and all(map(callable, model))):
        raise TypeError(
            f"{who}: the model must have .build(), or be a Model or a pair (init, apply) of functions, "
            f"got {type(model).__name__}"
        )
    init, apply = model
    return Net(init_function=init, apply_function=apply, options=_signature.accepted(apply, "train", "key"))


def call_init(init: Callable[..., PyTree], key: jax.Array, *arguments: PyTree) -> PyTree:
    """``init(key, *arguments)``, or ``init(key)`` where it takes no more.

    Raises:
        TypeError: it takes neither.
    """
    if _signature.fits(init, 1 + len(arguments)):
        return init(key, *arguments)
    if _signature.fits(init, 1):
        return init(key)
    raise TypeError(f"init must take (key) or (key and {len(arguments)} inputs)")


def positional(inputs: PyTree) -> tuple[PyTree, ...]:
    """The inputs as positional arguments: a tuple spread out, a dict and all else as one."""
    return inputs if type(inputs) is tuple else (inputs,)


def trained(state: PyTree) -> PyTree:
    """The part of a model's state that is trained."""
    return state.params if isinstance(state, ModelState) else state


def with_trained(state: PyTree, params: PyTree) -> PyTree:
    """The state with its trained part replaced."""
    return state.replace(params=params) if isinstance(state, ModelState) else params
