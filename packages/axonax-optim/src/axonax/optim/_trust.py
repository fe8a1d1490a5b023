"""Steps whose length follows the norm of the parameter they change."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, options
from axonax.optim._live import descend, live, named
from axonax.optim._scales import trust_ratio


@options
def fromage(
    learning_rate: Number | Schedule = 1e-2, *, min_norm: Number | Schedule = 1e-6
) -> optax.GradientTransformationExtraArgs:
    """Fromage: every leaf moves by the same share of its norm, then shrinks to keep it.

    ``params = (params - learning_rate * g * |params| / |g|) / sqrt(1 + learning_rate^2)``.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for ``min_norm``.
        min_norm: norms count as at least this.

    Returns:
        an Optax transformation; ``update`` needs ``params``; both numbers are live in its state.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Bernstein et al., "On the distance between two neural networks and the stability of learning", 2020,
    algorithm 1.

    >>> optimizer = fromage(0.75)
    >>> params = jnp.array([2.0, 0.0])
    >>> updates, _ = optimizer.update(jnp.array([0.0, 5.0]), optimizer.init(params), params)
    >>> [round(float(value), 3) for value in params + updates]
    [1.6, -1.2]
    """
    return live("fromage", _fromage, {"learning_rate": learning_rate, "min_norm": min_norm})


@options
def lamb(
    learning_rate: Number | Schedule = 1e-2,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 1e-15,
    weight_decay: Number | Schedule = 0.0,
    min_norm: Number | Schedule = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """LAMB: Adam with weight decay, each leaf's step scaled to the norm of the leaf.

    ``d = adam_direction + weight_decay * params``, ``update = -learning_rate * d * |params| / |d|`` (the
    ratio is 1 where a norm is 0).

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.
        weight_decay: strength of the decay, inside the ratio.
        min_norm: norms count as at least this.
        mask: as in `adamw`.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020,
    algorithm 2.

    >>> optimizer = lamb(0.1)
    >>> params = jnp.array([3.0, 4.0])
    >>> updates, _ = optimizer.update(jnp.array([1.0, 1.0]), optimizer.init(params), params)
    >>> [round(float(update), 3) for update in updates]
    [-0.354, -0.354]
    """
    numbers = {
        "b1": b1,
        "b2": b2,
        "eps": eps,
        "eps_root": eps_root,
        "weight_decay": weight_decay,
        "min_norm": min_norm,
    }
    return live("lamb", _lamb, dict(learning_rate=learning_rate, **numbers), mask=mask)


@options
def lars(
    learning_rate: Number | Schedule = 1e-1,
    *,
    momentum: Number | Schedule = 0.9,
    weight_decay: Number | Schedule = 0.0,
    trust_coefficient: Number | Schedule = 1e-3,
    eps: Number | Schedule = 0.0,
    mask: Any = True,
    trust_mask: Any = True,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """LARS: momentum of steps that are each a share of their leaf's norm.

    ``d = g + weight_decay * params``, ``m = momentum * m + learning_rate * trust_coefficient * |params| /
    (|d| + eps) * d``, ``update = -m``.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for every other number here.
        momentum: share of the trace that is kept, in [0, 1).
        weight_decay: strength of the decay, inside the ratio.
        trust_coefficient: share of the norm of a leaf that a step has.
        eps: added to the norm of the gradient.
        mask: which leaves decay, as in `adamw`.
        trust_mask: which leaves are scaled by the ratio, likewise.
        nesterov: look one step ahead with the trace.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1.

    >>> optimizer, params = lars(1.0, trust_coefficient=0.1), jnp.array([3.0, 4.0])
    >>> updates, _ = optimizer.update(jnp.array([0.0, 2.0]), optimizer.init(params), params)
    >>> [round(float(update), 3) for update in updates]
    [0.0, -0.5]
    """
    numbers = {
        "momentum": momentum,
        "weight_decay": weight_decay,
        "trust_coefficient": trust_coefficient,
        "eps": eps,
    }
    static = {"mask": mask, "trust_mask": trust_mask, "nesterov": nesterov}
    return live("lars", _lars, dict(learning_rate=learning_rate, **numbers), **static)


def _fromage(*, learning_rate: Any, min_norm: Any) -> Any:
    root = jnp.sqrt(1 + learning_rate**2)
    # 1 / root - 1 without the cancellation, which leaves no digit of it at small rates in float32.
    shrink = -(learning_rate**2) / (root * (1 + root))
    return named(
        step=descend(learning_rate / root, trust=trust_ratio(min_norm)),
        shrink=optax.add_decayed_weights(shrink),
    )


def _lamb(*, learning_rate: Any, weight_decay: Any, min_norm: Any, mask: Any, **moments: Any) -> Any:
    return descend(
        learning_rate,
        moments=optax.scale_by_adam(**moments),
        decay=optax.add_decayed_weights(weight_decay, mask),
        trust=trust_ratio(min_norm),
    )


def _lars(
    *,
    learning_rate: Any,
    momentum: Any,
    weight_decay: Any,
    mask: Any,
    trust_mask: Any,
    nesterov: bool,
    **ratio: Any,
) -> Any:
    return named(
        decay=optax.add_decayed_weights(weight_decay, mask),
        trust=optax.masked(trust_ratio(**ratio), trust_mask),
        learning_rate=optax.scale_by_learning_rate(learning_rate),
        trace=optax.trace(momentum, nesterov),
    )
