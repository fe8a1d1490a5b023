"""A model as the loop calls it, whatever it came as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop.steps import _signature
from axonax.loop.steps._depends import depends
from axonax.tensor.contracts import Buildable, Closed, ModelState, Unclosed

PyTree = Any
# (state, inputs, *, train, key, where=None) -> (prediction or logits, the state with its new buffers)
Apply = Callable[..., tuple[PyTree, PyTree]]


@dataclass(frozen=True, kw_only=True)
class Net:
    """A model's ``init`` and its ``apply``, and the latter up to the logits where the model offers it."""

    init_function: Callable[..., PyTree]
    apply: Apply
    unclosed: Unclosed | None = None

    def init(self, key: jax.Array, inputs: PyTree) -> PyTree:
        """A fresh state: from the key alone where ``init`` takes nothing else."""
        arguments = positional(jax.tree.map(jnp.asarray, inputs))
        return call_init(self.init_function, key, *arguments)

    def apply_twofold(
        self, state: PyTree, inputs: PyTree, *, train: bool, key: Any, where: Any = None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """The prediction, the logits behind it (``None`` where they are not offered), and the new state."""
        if self.unclosed is None:
            prediction, state = self.apply(state, inputs, train=train, key=key, where=where)
            return prediction, None, state
        logits, state = self.unclosed.apply(state, inputs, train=train, key=key, where=where)
        return self.unclosed.close(logits), logits, state


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
    unclosed = None
    if isinstance(model, Closed):
        unclosed = model.unclosed
        if not isinstance(unclosed, Unclosed):
            raise TypeError(
                f"{who}: unclosed of the model must be an Unclosed, got {type(unclosed).__name__}"
            )
        unclosed = unclosed._replace(apply=_threaded(unclosed.apply))
    return Net(init_function=init, apply=_threaded(apply), unclosed=unclosed)


def _threaded(function: Callable[..., Any]) -> Apply:
    """The ``apply`` of a model in one form: with those of ``train``, ``key`` and ``where`` that it takes.

    Raises:
        TypeError: the state is a ModelState and ``function`` does not return ``(prediction, buffers)``.
        ValueError: rows that do not count would change its buffers.
    """
    options = _signature.accepted(function, "train", "key", "where")

    def apply(
        state: PyTree, inputs: PyTree, *, train: bool, key: Any, where: Any = None
    ) -> tuple[PyTree, PyTree]:
        given = {"train": train, "key": key} | ({} if where is None else {"where": where})
        chosen = {name: given[name] for name in options if name in given}
        result = function(state, *positional(inputs), **chosen)
        if not isinstance(state, ModelState):
            return result, state
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                "apply must return (prediction, buffers) for a model whose state is a ModelState, "
                f"got {type(result).__name__}"
            )
        prediction, buffers = result
        if train and where is not None and "where" not in options:
            _check_statistics(lambda given: function(state, *positional(given), **chosen)[1], inputs)
        return prediction, state.replace(buffers=buffers)

    return apply


def _check_statistics(buffers: Callable[[PyTree], PyTree], inputs: PyTree) -> None:
    """Raise if the buffers that a model gives depend on the rows of the batch.

    Raises:
        ValueError: they do.
    """
    if depends(buffers, inputs):
        raise ValueError(
            'remainder="mask": the model changes its buffers by the rows of the batch, as by batch '
            "statistics, and its apply takes no where=, so that rows which do not count would count there: "
            'use remainder="keep" or "drop", or a model (init, apply) whose apply takes where= (B,)'
        )


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


def buffers_of(state: PyTree) -> PyTree:
    """The part of a model's state that ``apply`` changes."""
    return state.buffers if isinstance(state, ModelState) else ()


def with_buffers(state: PyTree, buffers: PyTree) -> PyTree:
    """The state with that part replaced."""
    return state.replace(buffers=buffers) if isinstance(state, ModelState) else state
