"""Steps divided by a root of past squared gradients, without Adam's correction."""

from __future__ import annotations

from typing import Any

import optax

from axonax.optim._checks import Number, Schedule, number, options
from axonax.optim._live import descend, live


@options
def adagrad(
    learning_rate: Number | Schedule = 1e-3,
    *,
    eps: Number | Schedule = 1e-7,
    initial_accumulator_value: float = 0.1,
) -> optax.GradientTransformationExtraArgs:
    """AdaGrad: steps divided by the root of the sum of all squared gradients so far.

    ``s = s + g^2``, ``update = -learning_rate * g / sqrt(s + eps)``.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for ``eps``.
        eps: added inside the root.
        initial_accumulator_value: the sum before the first step; fixed when the state is made.

    Returns:
        an Optax transformation; every number but the last is live in its state (see `hyperparams`).

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011, figure 1.

    >>> import jax.numpy as jnp
    >>> optimizer = adagrad(0.1, initial_accumulator_value=0.0)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.1
    """
    start = number("adagrad", "initial_accumulator_value", initial_accumulator_value)
    hyperparams = {"learning_rate": learning_rate, "eps": eps}
    return live("adagrad", _adagrad, hyperparams, initial_accumulator_value=start)


@options
def rmsprop(
    learning_rate: Number | Schedule = 1e-2,
    *,
    decay: Number | Schedule = 0.9,
    eps: Number | Schedule = 1e-8,
    momentum: Number | Schedule | None = None,
    nesterov: bool = False,
    centered: bool = False,
    initial_scale: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """RMSProp: steps divided by the root of a running mean of squared gradients.

    ``v = decay v + (1 - decay) g^2``, ``update = -learning_rate * g / sqrt(v + eps)``; with ``momentum`` a
    trace of these updates.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for every live number here.
        decay: share of the running mean that is kept, in [0, 1).
        eps: added inside the root.
        momentum: share of the trace that is kept, in [0, 1); ``None`` for no trace.
        nesterov: look one step ahead with the trace.
        centered: subtract the squared running mean of the gradient: divide by a standard deviation.
        initial_scale: the running mean of squares before the first step; fixed when the state is made.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: a number lies outside its range, an option is unknown, or ``nesterov`` without
            ``momentum``.

    Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012; centered as in Graves, "Generating sequences with
    recurrent neural networks", 2013, equations 38 to 45.

    >>> import jax.numpy as jnp
    >>> optimizer = rmsprop(0.1, decay=0.75)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.2
    """
    if nesterov and momentum is None:
        raise ValueError("rmsprop: nesterov=True needs momentum, got momentum=None")
    hyperparams = {"learning_rate": learning_rate, "decay": decay, "eps": eps}
    if momentum is not None:
        hyperparams["momentum"] = momentum
    start = number("rmsprop", "initial_scale", initial_scale)
    static = {"nesterov": nesterov, "centered": centered, "initial_scale": start}
    return live("rmsprop", _rmsprop, hyperparams, **static)


def _adagrad(*, learning_rate: Any, eps: Any, initial_accumulator_value: float) -> Any:
    return descend(learning_rate, squares=optax.scale_by_rss(initial_accumulator_value, eps))


def _rmsprop(
    *, learning_rate: Any, nesterov: bool, centered: bool, momentum: Any = None, **moments: Any
) -> Any:
    scale = optax.scale_by_stddev if centered else optax.scale_by_rms
    step = descend(learning_rate, moments=scale(**moments))
    if momentum is None:
        return step
    return optax.named_chain(("step", step), ("trace", optax.trace(momentum, nesterov)))
