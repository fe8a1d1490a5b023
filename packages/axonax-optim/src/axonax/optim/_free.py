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
    numbers = {"learning_rate": learning_rate, "b1": b1}
    if adaptive:
        numbers |= {"b2": b2, "eps": eps}
    numbers |= {"weight_decay": weight_decay, "weight_lr_power": weight_lr_power}
    return live("schedule_free", _schedule_free, numbers, mask=mask)


def _prodigy(*, learning_rate: Any, b1: Any, b2: Any, b3: Any = None, **options: Any) -> Any:
    shares = (b1, b2, jnp.sqrt(b2) if b3 is None else b3)
    core = contrib.prodigy(estim_lr0=options["estim_lr0"])

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any) -> Any:
        if params is None:
            raise ValueError("prodigy: update needs params, got None")
        return _prodigy_step(updates, state, params, learning_rate, shares, **options)

    return optax.GradientTransformationExtraArgs(core.init, update)


def _prodigy_step(
    gradients: PyTree,
    state: contrib.ProdigyState,
    params: PyTree,
    learning_rate: Any,
    shares: tuple[Any, Any, Any],
    *,
    eps: Any,
    estim_lr_coef: Any,
    weight_decay: Any,
    estim_lr0: float,
    safeguard_warmup: bool,
) -> tuple[PyTree, contrib.ProdigyState]:
    """A step of ``contrib.prodigy`` whose estimate stays as it is while all gradients were 0."""
    (b1, b2, b3), d = shares, state.estim_lr
    count = optax.safe_increment(state.count)
    rate = d * learning_rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
    scaled = optax.tree.scale(d, gradients)
    mean = optax.tree.update_moment(scaled, state.exp_avg, b1, 1)
    square = optax.tree.update_moment(scaled, state.exp_avg_sq, b2, 2)
    weight = (d if safeguard_warmup else rate) / estim_lr0
    total = optax.tree.add_scale(optax.tree.scale(b3, state.grad_sum), weight, scaled)
    # A product of vectors would not do on explicit axes of a mesh.
    way = optax.tree.sub(state.params0, params)
    moved = optax.tree.sum(jax.tree.map(lambda leaf, part: jnp.real(jnp.conj(leaf) * part), gradients, way))
    numerator = b3 * state.numerator_weighted + d / estim_lr0 * rate * moved
    denominator = optax.tree.sum(jax.tree.map(jnp.abs, total))
    estimate = estim_lr_coef * numerator / jnp.where(denominator == 0, 1, denominator)
    following = jnp.maximum(d, estimate)

    def step(mean: Any, square: Any, param: Any) -> Any:
        return -rate * (weight_decay * param + mean / (jnp.sqrt(square) + following * eps))

    steps = jax.tree.map(step, mean, square, params)
    return steps, contrib.ProdigyState(mean, square, total, state.params0, following, numerator, count)


def _schedule_free(
    *, learning_rate: Any, b1: Any, weight_decay: Any, weight_lr_power: Any, mask: Any, **moments: Any
) -> Any:
    decay = optax.add_decayed_weights(weight_decay, mask)
    core = contrib.schedule_free(_base(decay, moments), learning_rate, b1, weight_lr_power)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any) -> Any:
        base = state.base_optimizer_state

        def descent(direction: PyTree) -> PyTree:
            direction, _ = decay.update(direction, base.get("decay", optax.EmptyState()), params)
            return optax.tree.scale(-learning_rate, direction)

        first, second, following = _directions(updates, base, moments)
        z = optax.tree.add(state.z, descent(first))
        rate = jnp.maximum(state.max_lr, learning_rate)
        weight = rate**weight_lr_power
        total = state.weight_sum + weight
        share = weight / jnp.where(total == 0, 1, total)

        def step(change: Any, z: Any, y: Any) -> Any:
            lead = (1 - b1) * change
            return lead + share * (z - y - lead)

        steps = jax.tree.map(step, descent(second), z, params)
        count = optax.safe_increment(state.step_count)
        # What evaluation_params reads: the share in force, which may have been set.
        return steps, contrib.ScheduleFreeState(b1, total, count, rate, following, z)

    return optax.GradientTransformationExtraArgs(core.init, update)


def _base(decay: Any, moments: dict[str, Any]) -> Any:
    """What makes the state of the directions: Adam without its first moment, or nothing."""
    if not moments:
        return named(decay=decay)
    roots = optax.scale_by_rms(moments["b2"], moments["eps"], eps_in_sqrt=False, bias_correction=True)
    return named(moments=roots, decay=decay)


def _directions(gradients: PyTree, state: PyTree, moments: dict[str, Any]) -> tuple[PyTree, PyTree, PyTree]:
    """The gradients by the root of their mean square, by two formulas, and the state.

    One is for ``z``, one for the step: a root that both share would be written to memory and read again.
    """
    if not moments:
        return gradients, gradients, state
    held, b2, eps = state["moments"], moments["b2"], moments["eps"]
    count = optax.safe_increment(held.count)
    nu = optax.tree.update_moment_per_elem_norm(gradients, held.nu, b2, 2)
    fix = 1 - b2**count
    root = jnp.sqrt(fix)
    first = jax.tree.map(lambda leaf, v: leaf / (jnp.sqrt(v / fix) + eps), gradients, nu)
    second = jax.tree.map(lambda leaf, v: leaf * root / (jnp.sqrt(v) + eps * root), gradients, nu)
    return first, second, {**state, "moments": held._replace(count=count, nu=nu)}
