"""Many runs as one program: the members of a population take each batch together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._state import EvalState, PopulationState
from axonax.loop.steps._recipe import Recipe
from axonax.tensor.updates import with_hyperparams

PyTree = Any


@dataclass(frozen=True, kw_only=True)
class Members:
    """Who the members are: their keys, and the hyperparameters in which they differ, one value each."""

    keys: jax.Array
    hyperparams: Mapping[str, np.ndarray]

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.keys.shape[0])


def resolve_members(keys: Any, hyperparams: Mapping[str, Any]) -> Members:
    """The members of a number, of seeds or of keys, and of lists of hyperparameters.

    Raises:
        ValueError: none, or lists of different length.
        TypeError: ``keys`` is none of the three.
    """
    values = {name: np.asarray(value, np.float32) for name, value in hyperparams.items()}
    if isinstance(keys, int) and not isinstance(keys, bool):
        keys = range(keys)
    if isinstance(keys, jax.Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        found = keys
    elif isinstance(keys, Sequence) and all(isinstance(each, int) for each in keys):
        found = jax.vmap(jax.random.key)(jnp.asarray(list(keys), jnp.uint32))
    else:
        raise TypeError(f"vmap: keys must be a number of members, seeds or keys, got {type(keys).__name__}")
    if found.ndim != 1 or found.shape[0] < 1:
        raise ValueError(f"vmap: needs at least one member in one dimension, got shape {found.shape}")
    for name, value in values.items():
        if value.shape != found.shape:
            raise ValueError(
                f"vmap: {name} must have one value for each of {found.shape[0]} members, got {value.shape}"
            )
    return Members(keys=found, hyperparams=values)


def population_recipe(inner: Recipe, members: Members) -> Recipe:
    """The recipe of a trainer for all members at once; one that is not active stays what it is."""

    def start(key: jax.Array, batch: Any, state: PyTree) -> PopulationState:
        if isinstance(state, PopulationState):
            return state
        every = jax.vmap(lambda own: inner.start(own, batch, state))(members.keys)
        if members.hyperparams:
            chosen = {name: jnp.asarray(value) for name, value in members.hyperparams.items()}
            opt_state = jax.vmap(lambda one, values: with_hyperparams(one, **values))(every.opt_state, chosen)
            every = every.replace(opt_state=opt_state)
        return PopulationState(members=every, active=jnp.ones(members.count, bool))

    def update(carry: PyTree, batch: Any, constant: PyTree, *last: Any) -> tuple[PyTree, Any]:
        old, active = carry
        new, outputs = jax.vmap(lambda one: inner.update(one, batch, constant, *last))(old)

        def kept(after: jax.Array, before: jax.Array) -> jax.Array:
            return jnp.where(active.reshape(active.shape + (1,) * (after.ndim - 1)), after, before)

        # Another pass over all leaves only where a member is out.
        every = jax.lax.cond(active.all(), lambda: new, lambda: jax.tree.map(kept, new, old))
        return (every, active), outputs

    def split(state: PopulationState) -> tuple[PyTree, PyTree]:
        carry, constant = inner.split(state.members)
        return (carry, state.active), constant

    return replace(
        inner,
        start=start,
        update=update,
        split=split,
        join=lambda carry, constant: PopulationState(members=inner.join(carry[0], constant), active=carry[1]),
        check=lambda batch, state: inner.check(batch, member(state.members, 0)),
        explain=lambda batch, state, metrics=(): inner.explain(batch, member(state.members, 0), metrics),
        flushes=lambda state: inner.flushes(member(state.members, 0)),
        refit=None,
        members=members.count,
    )


def population_evaluation(inner: Recipe, count: int) -> Recipe:
    """The recipe that evaluates all members at once."""

    def start(key: jax.Array, batch: Any, state: PyTree) -> EvalState:
        if isinstance(state, EvalState):
            return state
        model_state = jax.vmap(lambda one: inner.start(key, batch, one).model_state)(state.members)
        return EvalState(model_state=model_state)

    def update(carry: PyTree, batch: Any, constant: PyTree) -> tuple[PyTree, Any]:
        def one(model_state: PyTree) -> Any:
            return inner.update((), batch, inner.split(EvalState(model_state=model_state))[1])[1]

        return (), jax.vmap(one)(constant)

    return replace(
        inner,
        start=start,
        update=update,
        split=lambda state: ((), state.model_state),
        join=lambda carry, constant: EvalState(model_state=constant),
        check=lambda batch, state: inner.check(batch, EvalState(model_state=member(state.model_state, 0))),
        members=count,
    )


@dataclass(frozen=True, kw_only=True)
class Each:
    """A measure of every member: its values have the members on the leading axis."""

    measure: Any
    count: int

    @property
    def name(self) -> str:
        """That of the measure."""
        return str(self.measure.name)

    def init(self, outputs: Mapping[str, Any]) -> PyTree:
        """The accumulators of no batches."""
        one = self.measure.init(jax.tree.map(_shape_of_one, dict(outputs)))
        return jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], self.count, axis=0), one)

    def update(self, state: PyTree, outputs: Mapping[str, Any]) -> PyTree:
        """The accumulators with one more batch."""
        return jax.vmap(self.measure.update)(state, dict(outputs))

    def compute(self, state: PyTree) -> PyTree:
        """The values of all batches."""
        return jax.vmap(self.measure.compute)(state)

    def check_labels(self, state: PyTree, outputs: Mapping[str, Any], targets: PyTree) -> None:
        """As of the measure."""
        shapes = jax.tree.map(_shape_of_one, dict(outputs))
        self.measure.check_labels(member(state, 0), shapes, targets)


def member(tree: PyTree, index: int) -> PyTree:
    """What is one member's of a tree with the members on the leading axis.

    Args:
        tree: a ``step_state.members``, a ``model_state`` or any other result of a population.
        index: which, from 0.
    """
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _shape_of_one(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)  # type: ignore[no-untyped-call]
