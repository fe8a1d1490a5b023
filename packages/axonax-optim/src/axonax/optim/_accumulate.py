"""One step of an optimizer for several micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import options, whole
from axonax.optim._dtypes import check_arrays, lift, lift_gradients, lower, narrow, widest
from axonax.optim._rules import check_fit, check_state, extended, transformation, when

PyTree = Any


class AccumulateState(NamedTuple):
    """Micro-batches since the last step, their weight, weighted sums of gradients and values; ``inner``."""

    micro: jax.Array
    weight: jax.Array
    total: PyTree
    value: jax.Array
    inner: PyTree

    @property
    def extra_arguments(self) -> tuple[str, ...]:
        """What a loop is to tell the update, however deep it stands in other transformations."""
        return ("weight", "flush")


@options
def accumulate(inner: Any, steps: int) -> optax.GradientTransformationExtraArgs:
    """A step of ``inner`` after every ``steps`` micro-batches, with the gradient of all of them as one batch.

    ``update`` takes the mean gradient over a micro-batch and, as extra arguments, ``weight`` (how many
    examples or tokens that mean is over; 1 where not given) and ``flush`` (whether to take the step now, at
    the end of an epoch). Between steps the updates are 0. ``inner`` counts its own steps alone: schedules
    and bias corrections are those of the big batch, as are the ``value`` and ``grad`` that it is told.

    What sees every micro-batch stands outside, such as `skip_nonfinite`; clips and averages, which see the
    big batch, stand inside: ``accumulate(chain(clip_by_global_norm(1.0), adam(), ema()), 4)``. A
    ``value_fn`` is the objective of one micro-batch: `sam` goes around, ``sam(inner=...)``.

    Args:
        inner: an Optax transformation.
        steps: micro-batches a step.

    Returns:
        an Optax transformation; sums are float32 at least. An ``inner`` of this package gets their mean as
        it is, any other in the dtypes of the parameters, which its state was made for.

    Raises:
        ValueError: ``steps`` is not a whole number of at least 1, or ``inner`` no transformation; in
            ``update``, ``weight`` is no scalar or below 0, or the state is another optimizer's.

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
        check_arrays("accumulate", params)
        zeros = jax.tree.map(jnp.zeros_like, lift(params))
        none = jnp.zeros((), jnp.float32)
        value = jnp.zeros((), widest(params))
        return AccumulateState(jnp.zeros((), jnp.int32), none, zeros, value, self.inner.init(params))

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
        gradients = lift_gradients("accumulate", updates, params)
        check_state("accumulate", state, AccumulateState)
        check_fit("accumulate", gradients, state.total)
        share, flush = _weight(weight), _scalar("flush", flush, bool)

        def add(old: jax.Array, new: Any) -> jax.Array:
            # A micro-batch that is all padding may have a mean of NaN.
            return old + jnp.where(share > 0, share.astype(old.dtype) * jnp.asarray(new, old.dtype), 0)

        total, value = jax.tree.map(add, (state.total, state.value), (gradients, extra.get("value", 0)))
        weight = state.weight + share
        full = (state.micro + 1 >= self.steps) | flush

        def run(inner: PyTree) -> Any:
            divisor = jnp.where(weight > 0, weight, 1)
            mean = jax.tree.map(lambda each: each / divisor.astype(each.dtype), (total, value))
            big = {name: each for name, each in zip(("grad", "value"), mean, strict=True) if name in extra}
            gradient = narrow(mean[0], updates) if params is None else mean[0]
            return self.inner.update(gradient, inner, params, **{**extra, **big})

        steps, inner = when(full & (weight > 0), run, state.inner)
        sums = AccumulateState(state.micro + 1, weight, total, value, ())
        kept = jax.tree.map(lambda each: jnp.where(full, jnp.zeros_like(each), each), sums)
        return lower(steps, updates, params), kept._replace(inner=inner)


def _weight(weight: Any) -> jax.Array:
    share = _scalar("weight", weight, jnp.float32)
    # To look at an array of JAX would wait for the device.
    if not isinstance(weight, jax.Array) and not weight >= 0:
        raise ValueError(f"accumulate: weight must be at least 0, got {weight}")
    return share


def _scalar(name: str, value: Any, dtype: Any) -> jax.Array:
    if jnp.shape(value) != ():
        raise ValueError(f"accumulate: {name} must be a scalar, got shape {jnp.shape(value)}")
    return jnp.asarray(value, dtype)
