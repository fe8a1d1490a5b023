"""A model under a policy: its parameters kept in one dtype, computed with in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax

from axonax.loop.steps._model import Apply, Net, trained, with_trained
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy

PyTree = Any


def with_policy(net: Net, policy: Policy | None) -> Net:
    """The model whose parameters and inputs are cast to compute, and whose predictions are cast back.

    Buffers, such as running statistics, stay in their dtypes.
    """
    if policy is None:
        return net

    def init(*arguments: Any) -> PyTree:
        state = net.init(arguments[0], arguments[1:])
        return with_trained(state, policy.cast_params(trained(state)))

    unclosed = net.unclosed
    if unclosed is not None:
        unclosed = unclosed._replace(apply=_computing(unclosed.apply, policy))
    return replace(net, init_function=init, apply=_computing(net.apply, policy), unclosed=unclosed)


def _computing(apply: Callable[..., tuple[PyTree, PyTree]], policy: Policy) -> Apply:
    def computed(state: PyTree, inputs: PyTree, **mode: Any) -> tuple[PyTree, PyTree]:
        prediction, new = apply(_cast(state, policy), policy.cast_compute(inputs), **mode)
        if isinstance(state, ModelState):
            state = state.replace(buffers=jax.tree.map(_as, new.buffers, state.buffers))
        return policy.cast_output(prediction), state

    return computed


def _cast(state: PyTree, policy: Policy) -> PyTree:
    if not isinstance(state, ModelState):
        return policy.cast_compute(state)
    return state.replace(params=policy.cast_compute(state.params), frozen=policy.cast_compute(state.frozen))


def _as(new: Any, old: Any) -> Any:
    return new.astype(old.dtype) if hasattr(new, "astype") and hasattr(old, "dtype") else new
