"""Optimizers that estimate second derivatives, or the geometry of a matrix."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from axonax.optim._checks import Number, Schedule, as_key, given, options, whole
from axonax.optim._live import live, named
from axonax.optim._meshes import automatic, by_types, partitioned
from axonax.optim._rules import is_placeholder
from axonax.optim._slices import by_slice_with

PyTree = Any


@options
def lbfgs(
    learning_rate: Number | Schedule = 1.0,
    *,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    line_search: bool = True,
    max_line_search_steps: int = 20,
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS: the inverse Hessian from the last changes of the gradient, with a zoom line search.

    With a line search ``update`` takes ``value`` and ``value_fn`` (a function of the parameters) as extra
    arguments. For exact objectives, not for noisy ones. In `minimize` ``lbfgs(memory_size=m)`` stands for
    its own method ``bfgs(memory=m)``, which is faster; with another option set it is this one.

    Args:
        learning_rate: the factor of the first trial step of the line search; without one, of each step.
        memory_size: how many changes are kept.
        scale_init_precond: begin the recursion at the scale of the last change.
        line_search: whether to search the length of each step.
        max_line_search_steps: evaluations a step at most.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown; in ``update``, no ``value_fn``.

    Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.4, 7.5, 3.5 and 3.6.

    >>> import jax.numpy as jnp
    >>> loss = lambda x: jnp.sum((x - 3.0) ** 2)
    >>> optimizer, x = lbfgs(), jnp.zeros(1)
    >>> value, grad = jax.value_and_grad(loss)(x)
    >>> updates, _ = optimizer.update(grad, optimizer.init(x), x, value=value, value_fn=loss)
    >>> 0.5 < float(updates[0]) < 6.0
    True
    """
    static = {
        "memory_size": whole("lbfgs", "memory_size", memory_size),
        "scale_init_precond": scale_init_precond,
        "search": whole("lbfgs", "max_line_search_steps", max_line_search_steps) if line_search else 0,
    }
    return live("lbfgs", _lbfgs, {"learning_rate": learning_rate}, **static)


@options
def sophia(
    learning_rate: Number | Schedule = 1e-4,
    *,
    b1: Number | Schedule = 0.965,
    b2: Number | Schedule = 0.99,
    eps: Number | Schedule = 1e-8,
    gamma: Number | Schedule = 0.01,
    clip_threshold: Number | Schedule | None = 1.0,
    weight_decay: Number | Schedule = 1e-4,
    mask: Any = None,
    update_interval: int = 10,
    key: jax.Array | int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Sophia: momentum divided by an estimated diagonal of the Hessian, each element clipped.

    ``update = -learning_rate * (clip(m / (1 - b1^t) / max(gamma * h, eps), clip_threshold) + weight_decay *
    params)``; ``h`` is a running mean of Hutchinson's estimate ``u * (H u)``, ``u`` random signs, renewed
    every ``update_interval`` steps. ``update`` takes ``value_fn``, a function of the parameters that gives
    the loss of the batch.

    Args:
        learning_rate: as in `adam`.
        b1: as in `adam`.
        b2: share of the diagonal that is kept at each renewal, in [0, 1).
        eps: the least divisor.
        gamma: a factor of the diagonal.
        clip_threshold: the largest element of a direction; ``None`` for no clipping.
        weight_decay: as in `adamw`.
        mask: as in `adamw`.
        update_interval: steps between two estimates of the diagonal.
        key: where the random signs start: a key, or an integer ``n`` for ``jax.random.key(n)``.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown; in ``update``, no ``value_fn``.

    Liu et al., "Sophia: a scalable stochastic second-order optimizer for language model pre-training", 2023,
    algorithms 1 and 3.

    >>> import jax.numpy as jnp
    >>> optimizer, params = sophia(0.1, weight_decay=0.0), jnp.ones(1)
    >>> loss = lambda params: jnp.sum(params**2)
    >>> state, gradient = optimizer.init(params), jax.grad(loss)(params)
    >>> round(float(optimizer.update(gradient, state, params, value_fn=loss)[0][0]), 3)
    -0.1
    """
    moments = given(b1=b1, b2=b2, eps=eps, gamma=gamma, clip_threshold=clip_threshold)
    numbers = dict(learning_rate=learning_rate, **moments, weight_decay=weight_decay)
    interval = whole("sophia", "update_interval", update_interval)
    return live("sophia", _sophia, numbers, mask=mask, update_interval=interval, key=key)


@options
def muon(
    learning_rate: Number | Schedule = 2e-2,
    *,
    momentum: Number | Schedule = 0.95,
    eps: Number | Schedule = 1e-8,
    weight_decay: Number | Schedule = 0.0,
    consistent_rms: Number | Schedule | None = None,
    adam_learning_rate: Number | Schedule | None = None,
    adam_b1: Number | Schedule = 0.9,
    adam_b2: Number | Schedule = 0.999,
    adam_weight_decay: Number | Schedule = 0.0,
    mask: Any = None,
    ns_steps: int = 5,
    nesterov: bool = True,
    adaptive: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Muon: the momentum of each matrix made orthogonal; AdamW for all that is no matrix.

    ``update = -learning_rate * s * (orthogonal(m) + weight_decay * params)``, where ``orthogonal`` sets the
    singular values near 1 by ``ns_steps`` of a Newton-Schulz iteration and ``s`` follows the shape.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for every live number here.
        momentum: share of the momentum that is kept, in [0, 1).
        eps: added to divisors, of both parts.
        weight_decay: as in `adamw`, of the matrices.
        consistent_rms: scale steps to this root mean square whatever the shape (0.2 is that of AdamW);
            ``None`` for the root of the ratio of the widths.
        adam_learning_rate: of what is no matrix; ``None`` for the same.
        adam_b1: as in `adam`.
        adam_b2: as in `adam`.
        adam_weight_decay: as in `adamw`, of what is no matrix.
        mask: which matrices decay, as in `adamw`.
        ns_steps: iterations of the orthogonalization.
        nesterov: look one step ahead with the momentum, and in Adam.
        adaptive: scale by the dual norm of the momentum.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; ``consistent_rms`` as in
    Liu et al., "Muon is scalable for LLM training", 2025, equation 4.

    >>> import jax.numpy as jnp
    >>> optimizer, params = muon(0.1), jnp.eye(2)
    >>> updates, _ = optimizer.update(4.0 * jnp.eye(2), optimizer.init(params), params)
    >>> -0.13 < float(updates[0, 0]) < -0.06
    True
    """
    numbers = given(
        learning_rate=learning_rate,
        momentum=momentum,
        eps=eps,
        weight_decay=weight_decay,
        consistent_rms=consistent_rms,
        adam_learning_rate=adam_learning_rate,
        adam_b1=adam_b1,
        adam_b2=adam_b2,
        adam_weight_decay=adam_weight_decay,
    )
    static = {"ns_steps": whole("muon", "ns_steps", ns_steps), "nesterov": nesterov, "adaptive": adaptive}
    return live("muon", _muon, numbers, mask=mask, **static)


def lbfgs_memory(optimizer: Any) -> int | None:
    """The memory of what ``lbfgs(memory_size=...)`` makes; ``None`` for all else."""
    rule: Any = getattr(optimizer.update, "rule", None)
    memory = dict(getattr(rule, "static", ())).get("memory_size")
    # A traced rate cannot be compared, and is not the default.
    if memory is None or isinstance(rule.sources[0], jax.core.Tracer):
        return None
    return memory if optimizer == lbfgs(memory_size=memory) else None


@functools.cache
def _direction(memory_size: int, scale_init_precond: bool) -> optax.GradientTransformation:
    """``optax.scale_by_lbfgs`` whose memory is spread over devices as the parameters are, from the first."""

    def stacked(leaf: Any) -> jax.Array:
        return jnp.broadcast_to(jnp.zeros_like(leaf), (memory_size, *leaf.shape))

    def init(params: PyTree) -> optax.ScaleByLBFGSState:
        zeros, memory = (jax.tree.map(each, params) for each in (jnp.zeros_like, stacked))
        return optax.ScaleByLBFGSState(
            jnp.zeros((), jnp.int32), zeros, zeros, memory, memory, jnp.zeros(memory_size)
        )

    # As one operation: it divides 0 by 0 where it needs no quotient.
    update = jax.jit(optax.scale_by_lbfgs(memory_size, scale_init_precond).update, inline=True)
    return optax.GradientTransformation(init, update)


def _lbfgs(*, learning_rate: Any, memory_size: int, scale_init_precond: bool, search: int) -> Any:
    direction = partitioned(functools.partial(_direction, memory_size, scale_init_precond))
    rate = optax.scale_by_learning_rate(learning_rate)
    if not search:
        return named(direction=direction, learning_rate=rate)
    core = named(direction=direction, learning_rate=rate, search=_zoom(search))

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        missing = [name for name in ("value", "value_fn") if extra.get(name) is None]
        if missing:
            needed = ", ".join(f"{name}=" for name in missing)
            raise ValueError(f"lbfgs: the line search of update needs {needed}, or lbfgs(line_search=False)")
        # The search refuses arguments that it does not know.
        known = {"value": extra["value"], "value_fn": extra["value_fn"], "grad": extra.get("grad", updates)}
        return core.update(updates, state, params, **known)

    return optax.GradientTransformationExtraArgs(core.init, update)


def _zoom(steps: int) -> optax.GradientTransformationExtraArgs:
    """``optax.scale_by_zoom_linesearch``, also for ``optax.tree.map_params`` and on explicit axes."""
    known = optax.scale_by_zoom_linesearch(steps, initial_guess_strategy="one")

    def init(params: PyTree) -> optax.ScaleByZoomLinesearchState:
        if is_placeholder(params):
            return known.init(jnp.zeros(()))._replace(grad=params)
        return known.init(params)

    def update(
        updates: PyTree, state: PyTree, params: PyTree, *, value: Any, grad: PyTree, value_fn: Any
    ) -> Any:
        objective = by_types(value_fn, params)

        def act(updates: PyTree, state: PyTree, params: PyTree, value: Any, grad: PyTree) -> Any:
            return known.update(updates, state, params, value=value, grad=grad, value_fn=objective)

        return automatic(act, updates, state, params, value, grad, results=(updates, state))

    return optax.GradientTransformationExtraArgs(init, update)


def _sophia(*, mask: Any, key: Any, step: Any, clip_threshold: Any = None, **options: Any) -> Any:
    diagonal = contrib.hutchinson_estimator_diag_hessian(as_key(key))
    core = contrib.sophia(
        clip_threshold=clip_threshold, weight_decay_mask=mask, hessian_diagonal_fn=diagonal, **options
    )

    def counted(state: Any, count: Any) -> Any:
        return (state[0]._replace(count=count), *state[1:])

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, value_fn: Any = None, **extra: Any
    ) -> Any:
        if value_fn is None:
            raise ValueError("sophia: update needs value_fn= (params -> loss), got None")
        # The optimizer counts its steps itself: each leaf of a state costs time.
        steps, following = core.update(updates, counted(state, step), params, obj_fn=value_fn)
        return steps, counted(following, None)

    return optax.GradientTransformationExtraArgs(lambda params: counted(core.init(params), None), update)


def _muon(*, momentum: Any, mask: Any, ns_steps: int, nesterov: bool, adaptive: bool, **numbers: Any) -> Any:
    static = {"ns_steps": ns_steps, "nesterov": nesterov, "adaptive": adaptive}

    def make(**numbers: Any) -> optax.GradientTransformation:
        return by_slice_with(mask, lambda mask: contrib.muon(**static, weight_decay_mask=mask, **numbers))

    return partitioned(make, beta=momentum, **numbers)
