"""Minimize any objective of any pytree."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import jax
import optax

from axonax.optim._bounds import box
from axonax.optim._checks import options, whole
from axonax.optim._conjugate import nonlinear_cg
from axonax.optim._curvature import lbfgs_memory
from axonax.optim._descent import Descent
from axonax.optim._inputs import (
    arguments,
    as_start,
    limits_of,
    one_key,
    refuse_start,
    stacked,
)
from axonax.optim._least_squares import gauss_newton, levenberg_marquardt
from axonax.optim._loop import RAISED, Plan, solve
from axonax.optim._problem import ById, Given, Method, Objective, hashable
from axonax.optim._quasi_newton import bfgs
from axonax.optim._result import NOT_FINITE, Result, Tolerance
from axonax.tensor import names, plugins

PyTree = Any
Callback = Callable[[Result], Any]
METHODS: dict[str, Method] = {
    "bfgs": bfgs(),
    "gauss_newton": gauss_newton(),
    "lbfgs": bfgs(memory=10),
    "levenberg_marquardt": levenberg_marquardt(),
    "nonlinear_cg": nonlinear_cg(),
}


@options
def minimize(
    objective: Callable[..., Any],
    x0: PyTree,
    method: Any = "adam",
    *,
    args: tuple[Any, ...] = (),
    bounds: Any = None,
    has_aux: bool = False,
    max_steps: int = 1000,
    tolerance: float | Tolerance = 1e-6,
    key: jax.Array | None = None,
    batches: Any = None,
    callback: Callback | None = None,
    every: int = 1,
    history: bool = False,
) -> Result:
    """Minimize ``objective(x, *args)`` over ``x``, in one compiled loop.

    The loop compiles once for an objective, a method and the shapes of ``x0`` and ``args``: pass the same
    function again and what changes through ``args`` (what a function closes over is read when it compiles).
    Works under ``jit``, under ``vmap`` over many starts, and under ``grad`` and ``jvp`` with respect to
    ``args`` and ``bounds``: ``x``, ``value`` and ``aux`` by the implicit function theorem at the minimum
    found, whatever the method, so it must have been reached and have a regular Hessian. Methods with a line
    search and those for least squares compute in float32 at least, on one vector; the others leaf by leaf.

    Args:
        objective: ``(x, *args) -> scalar``; for ``"gauss_newton"`` and ``"levenberg_marquardt"`` residuals
            (any pytree of arrays), of which half the sum of squares is minimized. With ``has_aux`` it
            returns ``(that, aux)``; with ``key`` it is also given ``key=``, a new key in every step, with
            ``batches`` ``batch=``.
        x0: where to start: any pytree of floating-point arrays or numbers; outside of ``bounds``, their
            nearest point.
        method: ``"lbfgs"``, ``"bfgs"``, ``"nonlinear_cg"``, ``"gauss_newton"``, ``"levenberg_marquardt"`` or
            what their factories make, such as ``optim.bfgs(memory=20)``; the name of any optimizer
            (``"adam"``), a factory without needed arguments, or any Optax transformation, such as
            ``optim.adam(0.1)``. ``optim.lbfgs(memory_size=m)`` is ``optim.bfgs(memory=m)``, as ``"lbfgs"``
            is; with another option set, which that has not, it is Optax's.
        args: further arguments of the objective, any pytrees: what the minimum can be differentiated by.
        bounds: ``(lower, upper)``: each a number, an array or a tree, as far down ``x0`` as it
            pleases; ``None`` leaves a side open. Every step ends within them.
        has_aux: whether the objective returns something besides its value.
        max_steps: the most updates to make.
        tolerance: on the norm of the gradient, or a `Tolerance` for gradient, value and step.
        key: for an objective with noise.
        batches: for an objective of data: a pytree of arrays, stacked along their first axis and taken in
            turn, or a function of the step.
        callback: called with a `Result` after every ``every`` steps. What it raises ends the search and is
            raised by it (under ``jit`` and ``vmap`` as an error of JAX with its text).
        every: see ``callback``.
        history: whether to keep value and gradient norm of every step.

    Returns:
        a `Result`: ``x``, ``value``, ``gradient_norm``, ``steps``, ``evaluations``, ``converged``,
        ``reason``.

    Raises:
        ValueError: an option is out of its range or unknown; ``x0`` has no leaf or one that is not floating
            point; the objective returns no floating-point scalar (or no residuals where the method needs
            them); it or its gradient is not finite at ``x0``; ``bounds`` cross or do not fit ``x0``.

    >>> import jax.numpy as jnp
    >>> result = minimize(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2), "lbfgs")
    >>> [round(float(each), 3) for each in result.x], result.converged, result.reason
    ([3.0, 3.0], True, 'converged: the gradient norm is within its tolerance')
    """
    x0 = as_start("minimize", "x0", x0)
    wanted = tolerance if isinstance(tolerance, Tolerance) else Tolerance(gradient=tolerance)
    limits = limits_of(wanted, max_steps)
    if callback is not None and not callable(callback):
        raise ValueError(f"minimize: callback must be a function, got {callback!r}")
    made = as_method(method)
    sampled = callable(batches)
    plan = Plan(
        objective=Objective(
            function=hashable(objective),
            has_aux=has_aux,
            residual=made.residual,
            batch_at=hashable(batches) if sampled else None,
        ),
        method=made,
        callback=None if callback is None else hashable(callback),
        every=whole("minimize", "every", every),
        capacity=int(max_steps) if history else None,
        tests=frozenset(name for name in ("value", "step") if getattr(wanted, name) is not None),
        relative=bool(wanted.relative),
    )
    given = Given(arguments(args), one_key(key), None if sampled else stacked(batches))
    result = _run(plan, x0, given, box("minimize", bounds, x0), limits)
    known = not isinstance(result.code, jax.core.Tracer)
    if known and int(result.code) == NOT_FINITE and int(result.evaluations) == 1:
        refuse_start(plan.objective, result.x, given)
    return result


def _run(plan: Plan, *inputs: Any) -> Result:
    """`solve`, and to its end where a callback listens: what that raises comes out as it is."""
    if plan.callback is None:
        return cast(Result, solve(plan, *inputs))
    RAISED.pop(plan.callback, None)
    try:
        result: Result = solve(plan, *inputs)
        if not isinstance(result.code, jax.core.Tracer):
            result.code.block_until_ready()
            jax.effects_barrier()  # type: ignore[no-untyped-call]
        return result
    except jax.errors.JaxRuntimeError:
        error = RAISED.pop(plan.callback, None)
        if error is None:
            raise
    raise error


def as_method(method: Any) -> Method:
    """The method that ``method`` names, makes or is."""
    if isinstance(method, str):
        return _named(method)
    if all(callable(getattr(method, part, None)) for part in ("init", "step")):
        return cast(Method, method)
    made = _make(hashable(method)) if callable(method) else method
    if all(callable(getattr(made, part, None)) for part in ("init", "step")):
        return cast(Method, made)
    if not callable(getattr(made, "init", None)) or not callable(getattr(made, "update", None)):
        raise ValueError(
            "minimize: method must be a name, a factory of an optimizer or an Optax transformation, "
            f"got {method!r}"
        )
    return _descent(made)


@functools.lru_cache(maxsize=128)
def _named(name: str) -> Method:
    """The method of ``minimize`` or the optimizer of this name, the same one every time."""
    if name in METHODS:
        return METHODS[name]
    known = plugins.available("optimizer")
    names.lookup({**dict.fromkeys(METHODS), **dict.fromkeys(known)}, name, "method")
    return _descent(plugins.resolve("optimizer", name)())


@functools.lru_cache(maxsize=128)
def _make(factory: Callable[[], Any]) -> Any:
    """One optimizer a factory, so that the compiled loop is found again."""
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        name = getattr(factory, "__name__", repr(factory))
        raise ValueError(f"minimize: method {name} must be called with its arguments: {error}") from None
    return factory()


def _descent(optimizer: Any) -> Method:
    memory = lbfgs_memory(optimizer)
    if memory is not None:
        return bfgs(memory=memory)
    update = hashable(optimizer.update)
    if not isinstance(optimizer, optax.GradientTransformationExtraArgs):
        update = _Ignoring(update)
    return Descent(hashable(optimizer.init), update)


class _Ignoring(ById):
    """An update that is not told the extra arguments."""

    def __call__(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> Any:
        return self.function(updates, state, params)
