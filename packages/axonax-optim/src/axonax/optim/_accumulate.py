"""One step of an optimizer for several micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import options, whole
from axonax.optim._dtypes import lift
from axonax.optim._rules import extended, transformation, when

PyTree = Any


class AccumulateState(NamedTuple):
    """Micro-batches since the last step, their weight, their weighted sum, and the optimizer's state."""

    micro: jax.Array
    weight: jax.Array
    total: PyTree
    inner: PyTree


@options
def accumulate(inner: Any, steps: int) -> optax.GradientTransformationExtraArgs:
    """A step of ``inner`` after every ``steps`` micro-batches, with the gradient of all of them as one batch.

    ``update`` takes the mean gradient over a micro-batch and, as extra arguments, ``weight`` (how many
    examples or tokens that mean is over; 1 where not given) and ``flush`` (whether to take the step now, at
    the end of an epoch). Between steps the updates are 0. ``inner`` counts its own steps alone: schedules
    and bias corrections are those of the big batch.

    Args:
        inner: an Optax transformation.
        steps: micro-batches a step.

    Returns:
        an Optax transformation; sums are float32 at least.

    Raises:
        ValueError: ``steps`` is not a whole number of at least 1, or ``inner`` no transformation.

    >>> from axonax import optim
    >>> optimizer = accumulate(optim.sgd(1.0), 2)
    >>> state = optimizer.init(jnp.zeros(1))
    >>> first, state = optimizer.update(jnp.array([3.0]), state, weight=1)
    >>> second, state = optimizer.update(jnp.array([6.0]), state, weight=2)
    >>> first.tolist(), second.tolist()
    ([0.0], [-5.0])
    """
    return transformation(_Accumulate(extended("accumulate", inner), whole("accumulate", "steps", steps)))


@dataclass(frozen=True)
class _Accumulate:
    inner: Any
    steps: int

    def init(self, params: PyTree) -> AccumulateState:
        zeros = jax.tree.map(jnp.zeros_like, lift(params))
        return AccumulateState(
            jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), zeros, self.inner.init(params)
        )

    def update(
        self,
        updates: PyTree,
        state: AccumulateState,
        params: PyTree = None,
        *,
        weight: Any = 1.0,
        flush: Any = False,
        **extra: Any,
    ) -> tuple[PyTree, AccumulateState]:
        share = jnp.asarray(weight, jnp.float32)
        gradients = lift(updates, params)
        # A micro-batch that is all padding may have a mean of NaN.
        total = jax.tree.map(
            lambda old, new: old + jnp.where(share > 0, share.astype(old.dtype) * new, 0),
            state.total,
            gradients,
        )
        sum_of_weights = state.weight + share
        full = (state.micro + 1 >= self.steps) | jnp.asarray(flush, bool)
        divisor = jnp.where(sum_of_weights > 0, sum_of_weights, 1)

        def run(inner: PyTree) -> tuple[PyTree, PyTree]:
            mean = jax.tree.map(lambda each: each / divisor.astype(each.dtype), total)
            result: tuple[PyTree, PyTree] = self.inner.update(mean, inner, params, **extra)
            return result

        steps, inner = when(full & (sum_of_weights > 0), run, state.inner)
        target = updates if params is None else params
        steps = jax.tree.map(lambda step, like: jnp.asarray(step, jnp.result_type(like)), steps, target)
        kept = jax.tree.map(lambda each: jnp.where(full, 0, each), total)
        following = AccumulateState(
            jnp.where(full, 0, state.micro + 1), jnp.where(full, 0.0, sum_of_weights), kept, inner
        )
        return steps, following
