"""Adam and the optimizers that differ from it in their second moment or its correction."""

from __future__ import annotations

from typing import Any

import optax

from axonax.optim._checks import Number, Schedule, number, options
from axonax.optim._live import descend, live
from axonax.optim._scales import rectified


@options
def adam(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 1e-15,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam: steps scaled by bias-corrected running moments of the gradient.

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``,
    ``update = -learning_rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t) + eps_root) + eps)``.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for every other number here.
        b1: share of the first moment that is kept, in [0, 1).
        b2: share of the second moment that is kept, in [0, 1).
        eps: added to the root of the second moment.
        eps_root: added inside the root; above 0 the step can be differentiated at a zero gradient.
        nesterov: look one step ahead with the first moment (NAdam).

    Returns:
        an Optax transformation; every number is live in its state (see `hyperparams`).

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1; with ``nesterov``
    Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    >>> import jax.numpy as jnp
    >>> optimizer = adam(0.1)
    >>> state = optimizer.init(jnp.zeros(2))
    >>> updates, state = optimizer.update(jnp.array([3.0, -3.0]), state)
    >>> [round(float(update), 3) for update in updates]
    [-0.1, 0.1]
    """
    moments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return live("adam", _adam, dict(learning_rate=learning_rate, **moments), nesterov=nesterov)


@options
def adamw(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 1e-15,
    weight_decay: Number | Schedule = 0.0,
    mask: Any = None,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adam with decoupled weight decay.

    ``update = -learning_rate * (adam_direction + weight_decay * params)``.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.
        weight_decay: strength of the decay, multiplied with the learning rate; 0 (as in Axon) is none.
        mask: a tree of bools like the parameters (or a function of them that returns one): which decay.
        nesterov: as in `adam`.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer = adamw(0.1, weight_decay=0.5)
    >>> params = jnp.array([4.0])
    >>> updates, state = optimizer.update(jnp.zeros(1), optimizer.init(params), params)
    >>> round(float(updates[0]), 3)
    -0.2
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
    static = {"mask": mask, "nesterov": nesterov}
    return live("adamw", _adamw, dict(learning_rate=learning_rate, **numbers), **static)


@options
def adabelief(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 0.0,
    eps_root: Number | Schedule = 1e-16,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """AdaBelief: Adam that divides by how far the gradient strays from its own running mean.

    ``s = b2 s + (1 - b2) (g - m)^2 + eps_root`` stands where Adam has ``v``.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: added to the root of the second moment.
        eps_root: added to the second moment in every step.
        nesterov: as in `adam`.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Zhuang et al., "AdaBelief optimizer", 2020, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer = adabelief(0.1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.111
    """
    moments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return live("adabelief", _adabelief, dict(learning_rate=learning_rate, **moments), nesterov=nesterov)


@options
def radam(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 0.0,
    threshold: Number | Schedule = 5.0,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Rectified Adam: momentum alone until the variance of the adaptive rate is tractable.

    While ``rho_t = rho - 2 t b2^t / (1 - b2^t)``, with ``rho = 2 / (1 - b2) - 1``, is below ``threshold``
    the update is ``-learning_rate * m / (1 - b1^t)``; after that Adam's times the rectification.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.
        threshold: length ``rho_t`` from which to adapt; the formula needs more than 4, so a smaller
            threshold acts as 4.
        nesterov: as in `adam`.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Liu et al., "On the variance of the adaptive learning rate and beyond", 2020, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer = radam(0.1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.3
    """
    moments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "threshold": threshold}
    return live("radam", _radam, dict(learning_rate=learning_rate, **moments), nesterov=nesterov)


@options
def yogi(
    learning_rate: Number | Schedule = 1e-2,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-3,
    eps_root: Number | Schedule = 0.0,
    initial_accumulator_value: float = 1e-6,
) -> optax.GradientTransformationExtraArgs:
    """Yogi: Adam whose second moment changes by an amount that does not depend on its own size.

    ``v = v - (1 - b2) sign(v - g^2) g^2`` stands where Adam averages.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.
        initial_accumulator_value: both moments before the first step; fixed when the state is made.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Zaheer et al., "Adaptive methods for nonconvex optimization", 2018, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer = yogi(0.1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.1
    """
    moments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    start = number("yogi", "initial_accumulator_value", initial_accumulator_value)
    hyperparams = dict(learning_rate=learning_rate, **moments)
    return live("yogi", _yogi, hyperparams, initial_accumulator_value=start)


def _adam(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=optax.scale_by_adam(**moments))


def _adamw(*, learning_rate: Any, weight_decay: Any, mask: Any, **moments: Any) -> Any:
    decay = optax.add_decayed_weights(weight_decay, mask)
    return descend(learning_rate, moments=optax.scale_by_adam(**moments), decay=decay)


def _adabelief(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=optax.scale_by_belief(**moments))


def _radam(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=rectified(**moments))


def _yogi(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=optax.scale_by_yogi(**moments))
