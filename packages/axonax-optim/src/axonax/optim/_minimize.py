"""Minimize any objective of any pytree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax.optim._adam import adabelief, adam, adamw, radam, yogi
from axonax.optim._adaptive import adagrad, rmsprop
from axonax.optim._checks import is_whole, number, options
from axonax.optim._descent import ById, Limits, Plan, solve
from axonax.optim._dtypes import compute_dtype
from axonax.optim._result import NOT_FINITE, Result, Tolerance
from axonax.optim._sgd import noisy_sgd, sgd
from axonax.optim._trust import fromage, lamb
from axonax.tensor import names, trees

PyTree = Any
METHODS: dict[str, Callable[..., Any]] = {
    "adabelief": adabelief,
    "adagrad": adagrad,
    "adam": adam,
    "adamw": adamw,
    "fromage": fromage,
    "lamb": lamb,
    "lbfgs": optax.lbfgs,
    "noisy_sgd": noisy_sgd,
    "radam": radam,
    "rmsprop": rmsprop,
    "sgd": sgd,
    "yogi": yogi,
}


@options
def minimize(
    objective: Callable[..., Any],
    x0: PyTree,
    method: Any = "adam",
    *,
    args: tuple[Any, ...] = (),
    has_aux: bool = False,
    max_steps: int = 1000,
    tolerance: float | Tolerance = 1e-6,
    key: jax.Array | None = None,
    callback: Callable[[Result], Any] | None = None,
    every: int = 1,
    history: bool = False,
) -> Result:
    """Minimize ``objective(x, *args)`` over ``x``, in one compiled loop.

    The loop compiles once for an objective, a method and the shapes of ``x0`` and ``args``: pass the same
    function again and what changes through ``args`` (what a function closes over is read when it compiles).
    Works under ``jit``, and under ``vmap`` over many starts.

    Args:
        objective: ``(x, *args) -> scalar``; with ``has_aux`` ``(scalar, aux)``; with ``key`` it is also given
            ``key=``, a new key in every step.
        x0: where to start: any pytree of floating-point arrays or numbers.
        method: a name (``"adam"``, ``"lbfgs"``, every optimizer of `axonax.optim`), a factory without
            needed arguments, or any Optax transformation, such as ``optim.adam(0.1)``.
        args: further arguments of the objective, any pytrees.
        has_aux: whether the objective returns something besides its value.
        max_steps: the most updates to make.
        tolerance: on the norm of the gradient, or a `Tolerance` for gradient, value and step.
        key: for an objective with noise or random batches.
        callback: called with a `Result` after every ``every`` steps.
        every: see ``callback``.
        history: whether to keep value and gradient norm of every step.

    Returns:
        a `Result`: ``x``, ``value``, ``gradient_norm``, ``steps``, ``converged``, ``reason``.

    Raises:
        ValueError: an option is out of its range or unknown; ``x0`` has no leaf or one that is not floating
            point; the objective returns no floating-point scalar; it or its gradient is not finite at ``x0``.

    >>> result = minimize(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2), "lbfgs")
    >>> [round(float(each), 3) for each in result.x], result.converged, result.reason
    ([3.0, 3.0], True, 'converged: the gradient norm is within its tolerance')
    """
    x0 = _start(x0)
    limits = _limits(tolerance, max_steps)
    if not is_whole(every) or every < 1:
        raise ValueError(f"minimize: every must be a whole number of at least 1, got {every!r}")
    optimizer = _optimizer(method)
    plan = Plan(
        objective=_hashable(objective),
        init=_hashable(optimizer.init),
        update=_hashable(optimizer.update),
        has_aux=has_aux,
        callback=None if callback is None else _hashable(callback),
        every=int(every),
        capacity=int(max_steps) if history else None,
    )
    result: Result = solve(plan, x0, args, key, limits)
    if not isinstance(result.code, jax.core.Tracer):
        if int(result.code) == NOT_FINITE and int(result.steps) == 0:
            _refuse_start(plan, x0, args, key)
        if callback is not None:
            jax.effects_barrier()  # type: ignore[no-untyped-call]
    return result


def _start(x0: PyTree) -> PyTree:
    leaves = trees.flatten(x0)
    if not leaves:
        raise ValueError("minimize: x0 has no leaves, got an empty tree")
    for path, leaf in leaves.items():
        if compute_dtype(leaf) is None or jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            raise ValueError(
                f"minimize: {_at(path)} must be real floating point, got {jnp.result_type(leaf)}"
            )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), x0)


def _limits(tolerance: float | Tolerance, max_steps: int) -> Limits:
    if not is_whole(max_steps) or max_steps < 0:
        raise ValueError(f"minimize: max_steps must be a whole number of at least 0, got {max_steps!r}")
    wanted = tolerance if isinstance(tolerance, Tolerance) else Tolerance(gradient=tolerance)
    given = {"gradient": wanted.gradient, "value": wanted.value, "step": wanted.step}
    numbers = {
        name: -1.0 if each is None else number("minimize", f"tolerance on the {name}", each)
        for name, each in given.items()
    }
    return Limits(max_steps=int(max_steps), **numbers)


def _optimizer(method: Any) -> optax.GradientTransformationExtraArgs:
    if isinstance(method, str):
        return _make(names.lookup(METHODS, method, "method"))
    made = _make(method) if callable(method) else method
    if not callable(getattr(made, "init", None)) or not callable(getattr(made, "update", None)):
        raise ValueError(
            "minimize: method must be a name, a factory of an optimizer or an Optax transformation, "
            f"got {method!r}"
        )
    return _with_extra_args(made)


@functools.lru_cache(maxsize=128)
def _make(factory: Callable[[], Any]) -> Any:
    """One optimizer a factory, so that the compiled loop is found again."""
    return _with_extra_args(factory())


def _with_extra_args(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """``optimizer`` as one that takes ``value``, ``grad`` and ``value_fn``, whether it uses them or not."""
    if isinstance(optimizer, optax.GradientTransformationExtraArgs) or not hasattr(optimizer, "update"):
        return optimizer
    return optax.GradientTransformationExtraArgs(optimizer.init, _Ignoring(_hashable(optimizer.update)))


class _Ignoring(ById):
    """An update that is not told the extra arguments."""

    def __call__(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        return self.function(updates, state, params)


def _hashable(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        hash(function)
    except TypeError:
        return ById(function)
    return function


def _refuse_start(plan: Plan, x0: PyTree, args: tuple[Any, ...], key: Any) -> None:
    """Say what is not finite at ``x0``, and where."""
    value, _ = plan.evaluate(x0, args, key, 0)
    gradient = jax.grad(lambda x: plan.evaluate(x, args, key, 0)[0])(x0)
    bad = _not_finite(x0)
    if bad:
        raise ValueError(f"minimize: x0 must be finite, got {bad}")
    if not np.isfinite(value):
        raise ValueError(f"minimize: the objective must be finite at x0, got {float(value)}")
    raise ValueError(
        f"minimize: the gradient of the objective must be finite at x0, got {_not_finite(gradient)}"
    )


def _not_finite(tree: PyTree) -> str:
    """The first element that is not finite in each leaf, such as ``nan at x0/w[2]``."""
    found = []
    for path, leaf in trees.flatten(tree).items():
        places = np.argwhere(~np.isfinite(np.asarray(leaf, np.float64)))
        if len(places):
            index = tuple(int(each) for each in places[0])
            shown = str(list(index)) if index else ""
            found.append(f"{float(leaf[index])} at {_at(path)}{shown}")
    return ", ".join(found)


def _at(path: str) -> str:
    return f"x0/{path}" if path else "x0"
