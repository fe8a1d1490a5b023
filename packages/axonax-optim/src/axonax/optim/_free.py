"""Optimizers that need no schedule, or no learning rate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from axonax.optim._checks import Number, Schedule, given, number, options
from axonax.optim._live import live, named

PyTree = Any


@options
def prodigy(
    learning_rate: Number | Schedule = 1.0,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    b3: Number | Schedule | None = None,
    eps: Number | Schedule = 1e-8,
    estim_lr_coef: Number | Schedule = 1.0,
    weight_decay: Number | Schedule = 0.0,
    estim_lr0: float = 1e-6,
    safeguard_warmup: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Prodigy: AdamW that estimates its rate by the distance from the start.

    ``d = max(d, estim_lr_coef * r / |s|_1)``, where ``r`` is a running sum of ``d^2 <g, params0 - params>``
    and ``s`` of ``d^2 g``; the rate of each step is ``learning_rate * d``.

    Args:
        learning_rate: a factor of the estimate: 1, or a schedule whose peak is 1.
        b1: as in `adam`.
        b2: as in `adam`.
        b3: share of the running sums that is kept, in [0, 1); ``None`` for the root of ``b2``.
        eps: as in `adam`.
        estim_lr_coef: a factor of the distance estimate.
        weight_decay: as in `adamw`.
        estim_lr0: the first estimate, below the right one; fixed.
        safeguard_warmup: leave the learning rate out of the denominator.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Mishchenko and Defazio, "Prodigy: an expeditiously adaptive parameter-free learner", 2023, algorithm 4.

    >>> optimizer, params = prodigy(estim_lr0=0.1), jnp.ones(1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(params), params)
    >>> round(float(updates[0]), 3)
    -0.1
    """
    moments = given(b1=b1, b2=b2, b3=b3, eps=eps, estim_lr_coef=estim_lr_coef, weight_decay=weight_decay)
    start = number("prodigy", "estim_lr0", estim_lr0)
    hyperparams = dict(learning_rate=learning_rate, **moments)
    return live("prodigy", _prodigy, hyperparams, estim_lr0=start, safeguard_warmup=safeguard_warmup)


@options
def schedule_free(
    learning_rate: Number | Schedule = 2.5e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    weight_decay: Number | Schedule = 0.0,
    weight_lr_power: Number | Schedule = 2.0,
    mask: Any = None,
    adaptive: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Schedule-free AdamW (or SGD): an average of the path in place of momentum and of a falling rate.

    ``z = z - learning_rate * direction(g at y)``, ``x = (1 - c) x + c z`` with ``c`` the share of
    ``learning_rate^weight_lr_power`` in the sum so far, ``y = b1 x + (1 - b1) z``. The parameters are ``y``;
    `evaluation_params` gives ``x``.

    Args:
        learning_rate: as in `adam`; at most a `warmup` is needed.
        b1: the share of the average in the point of the gradient, in (0, 1).
        b2: as in `adam`.
        eps: as in `adam`.
        weight_decay: as in `adamw`, of ``y``.
        weight_lr_power: how the rate weighs the points of the average.
        mask: as in `adamw`.
        adaptive: divide by the root of the second moment, as Adam does; else plain gradient descent.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Defazio et al., "The road less scheduled", 2024, equations 3 to 5 and algorithm 1.

    >>> from axonax import optim
    >>> optimizer, params = schedule_free(0.1), jnp.ones(1)
    >>> updates, state = optimizer.update(jnp.array([3.0]), optimizer.init(params), params)
    >>> params = optim.apply_updates(params, updates)
    >>> round(float(optim.evaluation_params(state, params)[0]), 3)
    0.9
    """
    if not callable(b1) and b1 == 0:
        raise ValueError("schedule_free: b1 must be above 0, got 0")
    numbers = {"learning_rate": learning_rate, "b1": b1}
    if adaptive:
        numbers |= {"b2": b2, "eps": eps}
    numbers |= {"weight_decay": weight_decay, "weight_lr_power": weight_lr_power}
    return live("schedule_free", _schedule_free, numbers, mask=mask)


def _prodigy(*, b1: Any, b2: Any, b3: Any = None, **options: Any) -> Any:
    core = contrib.prodigy(betas=(b1, b2), beta3=b3, **options)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any) -> Any:
        steps, following = core.update(updates, state, params)
        # While all gradients were 0 the estimate is 0 / 0.
        undecided = jnp.isnan(following.estim_lr) & (optax.tree.sum(jax.tree.map(_size, updates)) == 0)
        kept = jnp.where(undecided, state.estim_lr, following.estim_lr)
        steps = jax.tree.map(lambda leaf: jnp.where(undecided, 0, leaf), steps)
        return steps, following._replace(estim_lr=kept)

    return optax.GradientTransformationExtraArgs(core.init, update)


def _size(leaf: Any) -> jax.Array:
    return jnp.sum(jnp.abs(leaf))


def _schedule_free(
    *, learning_rate: Any, b1: Any, weight_decay: Any, weight_lr_power: Any, mask: Any, **moments: Any
) -> Any:
    parts = {}
    if moments:
        # Adam without its first moment.
        parts["moments"] = optax.scale_by_rms(
            moments["b2"], moments["eps"], eps_in_sqrt=False, bias_correction=True
        )
    parts["decay"] = optax.add_decayed_weights(weight_decay, mask)
    base = named(**parts, learning_rate=optax.scale_by_learning_rate(learning_rate))
    core = contrib.schedule_free(base, learning_rate, b1, weight_lr_power)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any) -> Any:
        steps, following = core.update(updates, state, params, **extra)
        # What evaluation_params reads: the share in force, which may have been set.
        return steps, following._replace(b1=b1)

    return optax.GradientTransformationExtraArgs(core.init, update)
