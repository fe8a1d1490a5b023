"""Adam with another norm, another momentum, or one second moment for each leaf."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, options
from axonax.optim._live import descend, live, uncounted
from axonax.optim._meshes import partitioned
from axonax.optim._slices import by_slice

PyTree = Any


@options
def nadam(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Adam that looks one step ahead with its first moment.

    `adam` with ``nesterov=True``: ``b1 m / (1 - b1^(t + 1)) + (1 - b1) g / (1 - b1^t)`` stands where Adam has
    ``m / (1 - b1^t)``.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.

    Returns:
        an Optax transformation; every number is live in its state (see `hyperparams`).

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Dozat, "Incorporating Nesterov momentum into Adam", 2016, algorithm 8.

    >>> import jax.numpy as jnp
    >>> optimizer = nadam(0.1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.147
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return live("nadam", _nadam, dict(learning_rate=learning_rate, **numbers))


@options
def nadamw(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 0.0,
    weight_decay: Number | Schedule = 1e-4,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam with decoupled weight decay.

    ``update = nadam_update - learning_rate * weight_decay * params``.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.
        weight_decay: as in `adamw`.
        mask: as in `adamw`.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Dozat, "Incorporating Nesterov momentum into Adam", 2016; the decay as in Loshchilov and Hutter,
    "Decoupled weight decay regularization", 2019, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer = nadamw(0.1, weight_decay=0.5)
    >>> params = jnp.array([4.0])
    >>> updates, state = optimizer.update(jnp.zeros(1), optimizer.init(params), params)
    >>> round(float(updates[0]), 3)
    -0.2
    """
    numbers = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
    return live("nadamw", _nadamw, dict(learning_rate=learning_rate, **numbers), mask=mask)


@options
def adamax(
    learning_rate: Number | Schedule = 2e-3,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.999,
    eps: Number | Schedule = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Adam with the infinity norm: divides by a decaying maximum of the gradient's size.

    ``m = b1 m + (1 - b1) g``, ``u = max(b2 u, |g| + eps)``, ``update = -learning_rate * m / ((1 - b1^t) u)``.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: share of the maximum that is kept, in [0, 1).
        eps: added to the size of the gradient.

    Returns:
        an Optax transformation; every number is live in its state.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer = adamax(0.1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.1
    """
    return live("adamax", _adamax, {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps})


@options
def adan(
    learning_rate: Number | Schedule = 1e-3,
    *,
    b1: Number | Schedule = 0.98,
    b2: Number | Schedule = 0.92,
    b3: Number | Schedule = 0.99,
    eps: Number | Schedule = 1e-8,
    eps_root: Number | Schedule = 1e-8,
    weight_decay: Number | Schedule = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adan: running means of the gradient and of its change, over a root of their squared sum.

    With ``d = g - g_previous``: ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) d``,
    ``n = b3 n + (1 - b3) (g + b2 d)^2``; the direction is ``(m + b2 v) / (sqrt(n + eps_root) + eps)``, each
    mean with its bias corrected, as in the authors' code; ``d`` is 0 in the first step. The paper's shares
    are 1 minus these. Optax 0.2.8 weighs ``d`` and ``v`` by ``1 - b2``, which is not the paper's.

    Args:
        learning_rate: as in `adam`.
        b1: share of the mean gradient that is kept, in [0, 1).
        b2: share of the mean change that is kept, in [0, 1).
        b3: share of the mean square that is kept, in [0, 1).
        eps: as in `adam`.
        eps_root: as in `adam`.
        weight_decay: as in `adamw`.
        mask: as in `adamw`.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models", 2022,
    algorithm 1.

    >>> import jax.numpy as jnp
    >>> optimizer, params = adan(0.1), jnp.zeros(1)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(params), params)
    >>> round(float(updates[0]), 3)
    -0.1
    """
    moments = {"b1": b1, "b2": b2, "b3": b3, "eps": eps, "eps_root": eps_root}
    numbers = dict(learning_rate=learning_rate, **moments, weight_decay=weight_decay)
    return live("adan", _adan, numbers, mask=mask)


@options
def novograd(
    learning_rate: Number | Schedule = 1e-2,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.25,
    eps: Number | Schedule = 1e-6,
    eps_root: Number | Schedule = 0.0,
    weight_decay: Number | Schedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """NovoGrad: momentum of gradients that are each divided by a running norm of their leaf.

    ``v = b2 v + (1 - b2) |g|^2`` (one number for a leaf), ``m = b1 m + g / (sqrt(v + eps_root) + eps) +
    weight_decay * params``, ``update = -learning_rate * m``.

    Args:
        learning_rate: as in `adam`.
        b1: share of the momentum that is kept, in [0, 1).
        b2: share of the squared norm that is kept, in [0, 1).
        eps: as in `adam`.
        eps_root: as in `adam`.
        weight_decay: strength of the decay, inside the momentum.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep
    networks", 2019, algorithm 1.

    >>> import jax.numpy as jnp
    >>> optimizer, params = novograd(0.1), jnp.zeros(2)
    >>> updates, _ = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(params), params)
    >>> [round(float(update), 3) for update in updates]
    [-0.06, -0.08]
    """
    moments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
    return live("novograd", _novograd, dict(learning_rate=learning_rate, **moments))


@options
def lion(
    learning_rate: Number | Schedule = 1e-4,
    *,
    b1: Number | Schedule = 0.9,
    b2: Number | Schedule = 0.99,
    weight_decay: Number | Schedule = 1e-3,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Lion: steps of one size, in the direction of the sign of a momentum.

    ``update = -learning_rate * (sign(b1 m + (1 - b1) g) + weight_decay * params)``, then
    ``m = b2 m + (1 - b2) g``.

    Args:
        learning_rate: as in `adam`; a third to a tenth of Adam's.
        b1: share of the momentum in the direction, in [0, 1).
        b2: share of the momentum that is kept, in [0, 1).
        weight_decay: as in `adamw`.
        mask: as in `adamw`.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.

    >>> import jax.numpy as jnp
    >>> optimizer, params = lion(0.1, weight_decay=0.0), jnp.zeros(2)
    >>> updates, _ = optimizer.update(jnp.array([3.0, -4.0]), optimizer.init(params), params)
    >>> [round(float(update), 3) for update in updates]
    [-0.1, 0.1]
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "weight_decay": weight_decay}
    return live("lion", _lion, numbers, mask=mask)


def _nadam(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=optax.scale_by_adam(**moments, nesterov=True))


def _nadamw(*, learning_rate: Any, weight_decay: Any, mask: Any, **moments: Any) -> Any:
    decay = optax.add_decayed_weights(weight_decay, mask)
    return descend(learning_rate, moments=optax.scale_by_adam(**moments, nesterov=True), decay=decay)


def _adamax(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=optax.scale_by_adamax(**moments))


def _adan(*, learning_rate: Any, weight_decay: Any, mask: Any, **moments: Any) -> Any:
    decay = optax.add_decayed_weights(weight_decay, mask)
    return descend(learning_rate, moments=_scale_by_adan(**moments), decay=decay)


class AdanState(NamedTuple):
    """The running means of gradient, change and square, the last gradient, and the number of steps."""

    m: PyTree
    v: PyTree
    n: PyTree
    g: PyTree
    t: jax.Array


def _scale_by_adan(b1: Any, b2: Any, b3: Any, eps: Any, eps_root: Any) -> optax.GradientTransformation:
    def init(params: PyTree) -> AdanState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdanState(zeros, zeros, zeros, zeros, jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: AdanState, params: PyTree = None) -> tuple[PyTree, AdanState]:
        count = optax.safe_increment(state.t)
        change = jax.tree.map(lambda new, old: jnp.where(state.t == 0, 0, new - old), updates, state.g)
        ahead = optax.tree.add_scale(updates, b2, change)
        m = optax.tree.update_moment(updates, state.m, b1, 1)
        v = optax.tree.update_moment(change, state.v, b2, 1)
        n = optax.tree.update_moment_per_elem_norm(ahead, state.n, b3, 2)
        one, two, three = (1 - share**count for share in (b1, b2, b3))

        def direction(m: Any, v: Any, n: Any) -> Any:
            return (m / one + b2 * v / two) / (jnp.sqrt(n / three + eps_root) + eps)

        return jax.tree.map(direction, m, v, n), AdanState(m, v, n, updates, count)

    return optax.GradientTransformation(init, update)


def _novograd(*, learning_rate: Any, **moments: Any) -> Any:
    return descend(learning_rate, moments=partitioned(_norms_by_slice, **moments))


def _norms_by_slice(**moments: Any) -> optax.GradientTransformation:
    return by_slice(optax.scale_by_novograd(**moments))


def _lion(*, learning_rate: Any, weight_decay: Any, mask: Any, step: Any, **moments: Any) -> Any:
    decay = optax.add_decayed_weights(weight_decay, mask)
    return descend(learning_rate, moments=uncounted(optax.scale_by_lion(**moments), step), decay=decay)
