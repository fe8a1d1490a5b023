"""Turn an Optax factory into a transformation whose hyperparameters live in its state.

``optax.inject_hyperparams`` keeps them in the dtype of the parameters, where ``b2 = 0.999`` becomes 1.0 in
bfloat16. Here they are float32 whatever the parameters are, an override ends when it is set to ``None``,
and the inner transformation computes in float32 at least.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax.optim._checks import allowed_range, number_or_schedule
from axonax.optim._dtypes import (
    check_arrays,
    compute_dtype,
    lift,
    lift_gradients,
    like,
    lower,
    widening,
    widest,
)
from axonax.optim._masks import Mask
from axonax.optim._rules import check_fit, told
from axonax.tensor import trees
from axonax.tensor.updates import LiveState, Signature

PyTree = Any
Factory = Callable[..., optax.GradientTransformation]


def live(
    name: str, factory: Factory, hyperparams: Mapping[str, Any], **static: Any
) -> optax.GradientTransformationExtraArgs:
    """The transformation ``factory(**hyperparams, **static)`` with ``hyperparams`` in its state.

    Transformations that are built alike are equal and hash alike, so a compiled function that takes one
    as a static argument is found again.

    Args:
        name: of the optimizer, for errors.
        factory: scalars and options to an Optax transformation; called anew in every (traced) update.
            With a parameter ``step`` it is told the number of the step (see `uncounted`).
        hyperparams: name to a number or a schedule; each can be read and set in the state.
        **static: options that shape the computation.

    Raises:
        ValueError: a hyperparameter is neither number nor schedule, or lies outside its range.
    """
    sources = tuple(number_or_schedule(name, key, value) for key, value in hyperparams.items())
    ranges = tuple(allowed_range(name, key) for key in hyperparams)
    counted = "step" in inspect.signature(factory).parameters
    masks = {key: Mask(name, key, mask) for key, mask in static.items() if "mask" in key and mask is not None}
    fixed = tuple({**static, **masks}.items())
    rule = _Rule(Signature(name, tuple(hyperparams), ranges), factory, sources, fixed, counted)
    return optax.GradientTransformationExtraArgs(_Init(rule), _Update(rule))


def descend(learning_rate: Any, **directions: Any) -> optax.GradientTransformationExtraArgs:
    """``-learning_rate`` times what the named ``directions`` make of the gradient, in their order."""
    return named(**directions, learning_rate=optax.scale_by_learning_rate(learning_rate))


def named(**parts: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The named ``parts`` one after the other, as one transformation.

    The names are those of the parts of the state, so that a checkpoint reads ``inner/moments/mu/...``; a
    part without a state has none there either: each costs time in every step.
    """
    chain = {name: optax.with_extra_args_support(part) for name, part in parts.items()}

    def init(params: PyTree) -> dict[str, PyTree]:
        states = {name: part.init(params) for name, part in chain.items()}
        return {name: state for name, state in states.items() if not isinstance(state, optax.EmptyState)}

    def update(updates: PyTree, state: dict[str, PyTree], params: PyTree = None, **extra: Any) -> Any:
        following = {}
        for name, part in chain.items():
            updates, new = part.update(updates, state.get(name, optax.EmptyState()), params, **extra)
            if name in state:
                following[name] = new
        return updates, following

    return optax.GradientTransformationExtraArgs(init, update)


def uncounted(part: optax.GradientTransformation, step: Any) -> optax.GradientTransformation:
    """``part`` with ``step`` for the count in its state, which holds ``None`` there: each leaf costs time."""

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, Any]:
        steps, following = part.update(updates, state._replace(count=step), params)
        return steps, following._replace(count=None)

    return optax.GradientTransformation(lambda params: part.init(params)._replace(count=None), update)


@dataclass(frozen=True)
class _Rule:
    """A named factory, its hyperparameters (numbers or schedules) and its static options."""

    signature: Signature
    factory: Factory
    sources: tuple[Any, ...]
    # A mask or a key in it may have no hash.
    static: tuple[tuple[str, Any], ...] = field(hash=False)
    counted: bool

    def values(self, step: jax.Array) -> jax.Array:
        """The hyperparameters at ``step`` without overrides, float32 of shape ``(len(names),)``."""
        if not any(map(callable, self.sources)) and all(isinstance(each, float) for each in self.sources):
            return jnp.asarray(np.array(self.sources, np.float32))
        numbers = [source(step) if callable(source) else source for source in self.sources]
        for name, value in zip(self.signature.names, numbers, strict=True):
            if jnp.shape(value) != ():
                raise ValueError(
                    f"{self.signature.owner}: the schedule of {name} must return a scalar, "
                    f"got shape {jnp.shape(value)}"
                )
        return jnp.stack([jnp.asarray(value, jnp.float32) for value in numbers])

    def inner(self, values: jax.Array, dtype: Any, step: Any) -> optax.GradientTransformationExtraArgs:
        """The Optax transformation with these hyperparameters."""
        scalars = {name: values[index].astype(dtype) for index, name in enumerate(self.signature.names)}
        if self.counted:
            scalars["step"] = step
        return optax.with_extra_args_support(self.factory(**scalars, **dict(self.static)))


@dataclass(frozen=True)
class _Init:
    rule: _Rule

    @widening
    def __call__(self, params: PyTree) -> LiveState:
        """The state for ``params``: moments of zero, no override."""
        _refuse_integers(self.rule.signature.owner, params)
        step = jnp.zeros((), jnp.int32)
        values = self.rule.values(step)
        inner = self.rule.inner(values, widest(params), step).init(lift(params))
        return LiveState(
            step=step,
            numbers=jnp.stack([values, jnp.zeros_like(values)]) if self.rule.sources else None,
            inner=_apart(inner, params),
            signature=self.rule.signature,
        )


@dataclass(frozen=True)
class _Update:
    rule: _Rule

    @widening
    def __call__(
        self, updates: PyTree, state: LiveState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, LiveState]:
        """The updates for these gradients, and the next state."""
        owner = self.rule.signature.owner
        if not isinstance(state, LiveState) or state.signature != self.rule.signature:
            _refuse_state(self.rule, updates if params is None else params, state)
        values = self.rule.values(state.step)
        if state.numbers is not None:
            values = jnp.where(state.is_set, state.values, values)
        gradients = lift_gradients(owner, updates, params)
        transformation = self.rule.inner(values, widest(gradients), state.step)
        wide = None if params is None else lift(params)
        try:
            steps, inner = transformation.update(gradients, state.inner, wide, **extra)
            inner = jax.tree.map(like, inner, state.inner)
        except (TypeError, ValueError):
            _explain(owner, transformation, gradients, state)
            raise
        if _shapes((steps, inner)) != _shapes((gradients, state.inner)):
            _explain(owner, transformation, gradients, state)
        following = LiveState(
            step=optax.safe_increment(state.step),
            numbers=None if state.numbers is None else jnp.stack([values, state.numbers[1]]),
            inner=inner,
            signature=state.signature,
        )
        return lower(steps, updates, params), following


def _apart(state: PyTree, params: PyTree) -> PyTree:
    """``state`` with copies of what ``params`` hold or what it holds twice: both may be donated to a step.

    Weak types become strong, or the second step would compile again.
    """
    seen = {id(leaf) for leaf in jax.tree.leaves(params)}

    def one(leaf: Any) -> Any:
        if id(leaf) in seen:
            return jnp.copy(leaf)
        seen.add(id(leaf))
        return like(leaf, leaf) if getattr(leaf, "weak_type", False) else leaf

    return jax.tree.map(one, state)


def _refuse_integers(name: str, params: PyTree) -> None:
    check_arrays(name, params)
    for path, leaf in trees.flatten(params).items():
        if compute_dtype(leaf) is None:
            raise ValueError(
                f'{name}: parameter "{path}" has dtype {jnp.result_type(leaf)}, and only floating-point '
                "parameters are optimized: keep it out of the parameters (with the buffers or the frozen)"
            )


def _refuse_state(rule: _Rule, tree: PyTree, state: PyTree) -> None:
    lines = trees.diff(jax.eval_shape(_Init(rule), tree), state)
    names = list(state.signature.names) if isinstance(state, LiveState) else []
    listed = "".join(f"\n  {line}" for line in lines)
    raise ValueError(
        f"{rule.signature.owner}: this state belongs to another optimizer: it is {told(state)} with the "
        f"hyperparameters {names}" + (f"; required (first) and given (second) are:{listed}" if lines else "")
    )


def _shapes(tree: PyTree) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _explain(
    name: str, transformation: optax.GradientTransformation, gradients: PyTree, state: LiveState
) -> None:
    """Raise an error that lists the leaves in which the state does not fit the gradients, if any."""
    check_fit(name, jax.eval_shape(transformation.init, gradients), state.inner)
