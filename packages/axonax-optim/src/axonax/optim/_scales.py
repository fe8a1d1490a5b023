"""The directions that optimizers are made of, each with its numbers live in its state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, as_key, number, options
from axonax.optim._clips import stateless_of
from axonax.optim._live import live, uncounted
from axonax.optim._norms import over, tree_norms
from axonax.optim._slices import by_slice

PyTree = Any


@options
def scale(factor: Number | Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiply by ``factor``, live in the state as ``scale``.

    >>> update = scale(-0.5)
    >>> update.update(jnp.array([2.0]), update.init(jnp.zeros(1)))[0].tolist()
    [-1.0]
    """
    return live("scale", _scale, {"scale": factor})


@options
def scale_by_schedule(schedule: Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiply by ``schedule(step)``, steps counted from 0; live in the state as ``scale``.

    Raises:
        ValueError: ``schedule`` is no function.

    >>> update = scale_by_schedule(lambda step: 1.0 + step)
    >>> update.update(jnp.array([2.0]), update.init(jnp.zeros(1)))[0].tolist()
    [2.0]
    """
    if not callable(schedule):
        raise ValueError(f"scale_by_schedule: schedule must be a function of the step, got {schedule!r}")
    return live("scale_by_schedule", _scale, {"scale": schedule})


@options
def scale_by_learning_rate(learning_rate: Number | Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiply by ``-learning_rate``, a number or a schedule.

    >>> update = scale_by_learning_rate(0.5)
    >>> update.update(jnp.array([2.0]), update.init(jnp.zeros(1)))[0].tolist()
    [-1.0]
    """
    return live("scale_by_learning_rate", _negative, {"learning_rate": learning_rate})


@options
def scale_by_adam(
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 1e-15,
    *,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """The direction of `adam`; its state is ``count``, ``mu`` and ``nu``.

    >>> update = scale_by_adam()
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    1.0
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return live("scale_by_adam", optax.scale_by_adam, numbers, nesterov=nesterov)


@options
def scale_by_amsgrad(
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_adam` that divides by the largest second moment so far.

    Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018, algorithm 2.

    >>> update = scale_by_amsgrad()
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    1.0
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return live("scale_by_amsgrad", optax.scale_by_amsgrad, numbers)


@options
def scale_by_belief(
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 0.0,
    eps_root: Number | Schedule = 1e-16,
    *,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """The direction of `adabelief`.

    >>> update = scale_by_belief()
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    1.111
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return live("scale_by_belief", optax.scale_by_belief, numbers, nesterov=nesterov)


@options
def scale_by_radam(
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 0.0,
    threshold: Number | Schedule = 5.0,
    *,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """The direction of `radam`.

    >>> update = scale_by_radam()
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    3.0
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "threshold": threshold}
    return live("scale_by_radam", rectified, numbers, nesterov=nesterov)


@options
def scale_by_yogi(
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-3,
    eps_root: Number | Schedule = 0.0,
    *,
    initial_accumulator_value: float = 1e-6,
) -> optax.GradientTransformationExtraArgs:
    """The direction of `yogi`.

    ``initial_accumulator_value`` is fixed when the state is made.

    >>> update = scale_by_yogi()
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    1.0
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    start = number("scale_by_yogi", "initial_accumulator_value", initial_accumulator_value)
    return live("scale_by_yogi", optax.scale_by_yogi, numbers, initial_accumulator_value=start)


@options
def scale_by_rms(
    decay: Number | Schedule = 0.9, eps: Number | Schedule = 1e-8, *, initial_scale: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Divide by the root of a running mean of squares: the direction of `rmsprop`.

    ``initial_scale`` is fixed when the state is made.

    >>> update = scale_by_rms(0.75)
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    2.0
    """
    start = number("scale_by_rms", "initial_scale", initial_scale)
    return live("scale_by_rms", optax.scale_by_rms, {"decay": decay, "eps": eps}, initial_scale=start)


@options
def scale_by_stddev(
    decay: Number | Schedule = 0.9, eps: Number | Schedule = 1e-8, *, initial_scale: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Divide by a running standard deviation: the direction of `rmsprop` with ``centered``.

    ``initial_scale`` is fixed when the state is made.

    >>> update = scale_by_stddev(0.5)
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    2.0
    """
    start = number("scale_by_stddev", "initial_scale", initial_scale)
    return live("scale_by_stddev", optax.scale_by_stddev, {"decay": decay, "eps": eps}, initial_scale=start)


@options
def scale_by_rss(
    initial_accumulator_value: float = 0.1, eps: Number | Schedule = 1e-7
) -> optax.GradientTransformationExtraArgs:
    """Divide by the root of the sum of squares so far: the direction of `adagrad`.

    ``initial_accumulator_value`` is fixed when the state is made.

    >>> update = scale_by_rss(0.0)
    >>> round(float(update.update(jnp.array([3.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    1.0
    """
    start = number("scale_by_rss", "initial_accumulator_value", initial_accumulator_value)
    return live("scale_by_rss", optax.scale_by_rss, {"eps": eps}, initial_accumulator_value=start)


@options
def scale_by_sign() -> optax.GradientTransformationExtraArgs:
    """The sign of each element.

    Bernstein et al., "signSGD: compressed optimisation for non-convex problems", 2018, algorithm 1.

    >>> update = scale_by_sign()
    >>> update.update(jnp.array([3.0, -2.0]), update.init(jnp.zeros(2)))[0].tolist()
    [1.0, -1.0]
    """
    return live("scale_by_sign", optax.scale_by_sign, {})


@options
def scale_by_trust_ratio(
    min_norm: Number | Schedule = 0.0,
    *,
    trust_coefficient: Number | Schedule = 1.0,
    eps: Number | Schedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Scale each leaf by ``trust_coefficient * |params| / (|g| + eps)``; by 1 where a norm is 0.

    Args:
        min_norm: norms count as at least this.
        trust_coefficient: the share of the parameter's norm that a step has.
        eps: added to the norm of the update.

    You et al., "Large batch optimization for deep learning", 2020, algorithm 2.

    >>> update, params = scale_by_trust_ratio(), jnp.array([3.0, 4.0])
    >>> update.update(jnp.array([0.0, 2.0]), update.init(params), params)[0].tolist()
    [0.0, 5.0]
    """
    numbers = {"min_norm": min_norm, "trust_coefficient": trust_coefficient, "eps": eps}
    return live("scale_by_trust_ratio", trust_ratio, numbers)


@options
def scale_by_param_block_norm(min_scale: Number | Schedule = 1e-3) -> optax.GradientTransformationExtraArgs:
    """Scale each leaf by the norm of its parameter, or by ``min_scale`` where that is more.

    >>> update, params = scale_by_param_block_norm(), jnp.array([3.0, 4.0])
    >>> update.update(jnp.array([0.0, 2.0]), update.init(params), params)[0].tolist()
    [0.0, 10.0]
    """
    return live("scale_by_param_block_norm", _param_block_norm, {"min_scale": min_scale})


@options
def trace(decay: Number | Schedule = 0.9, *, nesterov: bool = False) -> optax.GradientTransformationExtraArgs:
    """A running sum ``t = g + decay * t``; with ``nesterov`` ``g + decay * t`` once more.

    >>> update = trace(0.9, nesterov=True)
    >>> round(float(update.update(jnp.array([1.0]), update.init(jnp.zeros(1)))[0][0]), 3)
    1.9
    """
    return live("trace", optax.trace, {"decay": decay}, nesterov=nesterov)


@options
def add_decayed_weights(
    weight_decay: Number | Schedule = 0.0, mask: Any = None
) -> optax.GradientTransformationExtraArgs:
    """Add ``weight_decay * params``; only where a ``mask`` (see `adamw`) is true.

    >>> update, params = add_decayed_weights(0.5), jnp.array([4.0])
    >>> update.update(jnp.array([1.0]), update.init(params), params)[0].tolist()
    [3.0]
    """
    return live("add_decayed_weights", optax.add_decayed_weights, {"weight_decay": weight_decay}, mask=mask)


@options
def add_noise(
    eta: Number | Schedule = 0.01, gamma: Number | Schedule = 0.55, key: jax.Array | int = 0
) -> optax.GradientTransformationExtraArgs:
    """Add Gaussian noise of variance ``eta / t^gamma``: that of `noisy_sgd`.

    >>> update = add_noise(0.0)
    >>> update.update(jnp.array([1.0]), update.init(jnp.zeros(1)))[0].tolist()
    [1.0]
    """
    return live("add_noise", noise, {"eta": eta, "gamma": gamma}, key=key)


def rectified(*, threshold: Any, **moments: Any) -> Any:
    """``optax.scale_by_radam`` with a threshold that counts as more than 4.

    At a length of 4 the rectification is 0 and below it the root of a negative number.
    """
    above = jnp.maximum(threshold, jnp.nextafter(jnp.asarray(4, threshold.dtype), jnp.inf))
    return optax.scale_by_radam(threshold=above, **moments)


def trust_ratio(min_norm: Any = 0.0, trust_coefficient: Any = 1.0, eps: Any = 0.0) -> Any:
    """``optax.scale_by_trust_ratio`` with norms that neither overflow nor underflow."""

    def rescale(updates: PyTree, params: PyTree) -> PyTree:
        if params is None:
            raise ValueError("scale_by_trust_ratio: update needs params, got None")
        lengths = tree_norms({"param": params, "update": updates})

        def one(leaf: Any, param: Any, length: Any) -> Any:
            base, own = jnp.maximum(param, min_norm), jnp.maximum(length, min_norm)
            # The ratio itself may overflow where the step does not.
            unit = over(leaf, jnp.where(own + eps > 0, own + eps, 1))
            return jnp.where((base == 0) | (own == 0), leaf, unit * (trust_coefficient * base)).astype(
                leaf.dtype
            )

        return jax.tree.map(one, updates, lengths["param"], lengths["update"])

    return by_slice(stateless_of(rescale))


def _param_block_norm(*, min_scale: Any) -> Any:
    def rescale(updates: PyTree, params: PyTree) -> PyTree:
        if params is None:
            raise ValueError("scale_by_param_block_norm: update needs params, got None")
        return jax.tree.map(
            lambda leaf, length: leaf * jnp.maximum(length, min_scale), updates, tree_norms(params)
        )

    return by_slice(stateless_of(rescale))


def _scale(*, scale: Any) -> Any:
    return optax.scale(scale)


def _negative(*, learning_rate: Any) -> Any:
    return optax.scale_by_learning_rate(learning_rate)


def noise(*, eta: Any, gamma: Any, key: Any, step: Any) -> Any:
    """``optax.add_noise``, with ``step`` for its count."""
    return uncounted(optax.add_noise(eta, gamma, as_key(key)), step)
