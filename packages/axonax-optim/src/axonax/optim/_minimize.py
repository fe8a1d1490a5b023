"""Minimize any objective of any pytree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax.optim._bounds import box
from axonax.optim._checks import is_whole, number, options
from axonax.optim._conjugate import nonlinear_cg
from axonax.optim._curvature import lbfgs_memory
from axonax.optim._descent import Descent
from axonax.optim._dtypes import compute_dtype
from axonax.optim._least_squares import gauss_newton, levenberg_marquardt
from axonax.optim._loop import Limits, Plan, solve
from axonax.optim._problem import ById, Given, Method, Objective, hashable
from axonax.optim._quasi_newton import bfgs
from axonax.optim._result import NOT_FINITE, Result, Tolerance
from axonax.tensor import names, plugins, trees

PyTree = Any
# By far the most, told without the cost of JAX's rules of promotion.
_FLOATS = frozenset(map(np.dtype, (np.float32, np.float64)))
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
    callback: Callable[[Result], Any] | None = None,
    every: int = 1,
    history: bool = False,
) -> Result:
    """Minimize ``objective(x, *args)`` over ``x``, in one compiled loop.

    The loop compiles once for an objective, a method and the shapes of ``x0`` and ``args``: pass the same
    function again and what changes through ``args`` (what a function closes over is read when it compiles).
    Works under ``jit``, under ``vmap`` over many starts, and under ``grad`` and ``jvp`` with respect to
    ``args`` and ``bounds``: by the implicit function theorem at the minimum found, whatever the method, so
    the minimum must have been reached. Methods with a line search and those for least squares compute in
    float32 at least, on one vector; the others leaf by leaf.

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
        callback: called with a `Result` after every ``every`` steps.
        every: see ``callback``.
        history: whether to keep value and gradient norm of every step.

    Returns:
        a `Result`: ``x``, ``value``, ``gradient_norm``, ``steps``, ``evaluations``, ``converged``,
        ``reason``.

    Raises:
        ValueError: an option is out of its range or unknown; ``x0`` has no leaf or one that is not floating
            point; the objective returns no floating-point scalar (or no residuals where the method needs
            them); it or its gradient is not finite at ``x0``; ``bounds`` cross or do not fit ``x0``.

    >>> result = minimize(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2), "lbfgs")
    >>> [round(float(each), 3) for each in result.x], result.converged, result.reason
    ([3.0, 3.0], True, 'converged: the gradient norm is within its tolerance')
    """
    x0 = as_start("minimize", "x0", x0)
    wanted = tolerance if isinstance(tolerance, Tolerance) else Tolerance(gradient=tolerance)
    limits = _limits(wanted, max_steps)
    if not is_whole(every) or every < 1:
        raise ValueError(f"minimize: every must be a whole number of at least 1, got {every!r}")
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
        every=int(every),
        capacity=int(max_steps) if history else None,
        tests=frozenset(name for name in ("value", "step") if getattr(wanted, name) is not None),
        relative=bool(wanted.relative),
    )
    given = Given(args, key, None if sampled else _stacked(batches))
    result: Result = solve(plan, x0, given, box("minimize", bounds, x0), limits)
    if not isinstance(result.code, jax.core.Tracer):
        if int(result.code) == NOT_FINITE and int(result.steps) == 0:
            _refuse_start(plan.objective, x0, given)
        if callback is not None:
            jax.effects_barrier()  # type: ignore[no-untyped-call]
    return result


def as_start(owner: str, name: str, x0: PyTree) -> PyTree:
    """``x0`` as arrays, if it is something to start from."""
    leaves = jax.tree.leaves(x0)
    if not leaves:
        raise ValueError(f"{owner}: {name} has no leaves, got an empty tree")
    if all(isinstance(leaf, jax.Array) and leaf.dtype in _FLOATS and not leaf.weak_type for leaf in leaves):
        return x0
    if not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        for path, leaf in trees.flatten(x0).items():
            if compute_dtype(leaf) is None or jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
                raise ValueError(
                    f"{owner}: {_at(path, name)} must be real floating point, got {jnp.result_type(leaf)}"
                )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), x0)


def _limits(wanted: Tolerance, max_steps: int) -> Limits:
    if not is_whole(max_steps) or max_steps < 0:
        raise ValueError(f"minimize: max_steps must be a whole number of at least 0, got {max_steps!r}")
    given = {"gradient": wanted.gradient, "value": wanted.value, "step": wanted.step}
    numbers = {
        name: -1.0 if each is None else number("minimize", f"tolerance on the {name}", each)
        for name, each in given.items()
    }
    return Limits(max_steps=int(max_steps), **numbers)


def _stacked(batches: PyTree) -> PyTree:
    if batches is None:
        return None
    lengths = {path: jnp.shape(leaf)[:1] for path, leaf in trees.flatten(batches).items()}
    if len({*lengths.values()}) != 1 or () in lengths.values() or (0,) in lengths.values():
        listed = ", ".join(f"{path or 'the array'}: {length}" for path, length in lengths.items())
        raise ValueError(
            "minimize: batches must be arrays stacked along a first axis of one length of at least 1, or a "
            f"function of the step, got {listed or 'an empty tree'}"
        )
    return jax.tree.map(jnp.asarray, batches)


def as_method(method: Any) -> Method:
    """The method that ``method`` names, makes or is."""
    if isinstance(method, str):
        return _named(method)
    if all(callable(getattr(method, part, None)) for part in ("init", "step")):
        return cast(Method, method)
    made = _make(method) if callable(method) else method
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


def _refuse_start(objective: Objective, x0: PyTree, given: Given) -> None:
    """Say what is not finite at ``x0``, and where."""
    bad = _not_finite(x0, "x0")
    if bad:
        raise ValueError(f"minimize: x0 must be finite, got {bad}")
    value = objective.scalar(x0, given, 0)
    if not np.isfinite(value):
        output = objective.evaluate(x0, given, 0)[0]
        found = _not_finite(output, "the residuals") if objective.residual else float(value)
        raise ValueError(f"minimize: the objective must be finite at x0, got {found}")
    gradient = jax.grad(objective.scalar)(x0, given, 0)
    raise ValueError(
        f"minimize: the gradient of the objective must be finite at x0, got {_not_finite(gradient, 'x0')}"
    )


def _not_finite(tree: PyTree, root: str) -> str:
    """The first element that is not finite in each leaf, such as ``nan at x0/w[2]``."""
    found = []
    for path, leaf in trees.flatten(tree).items():
        places = np.argwhere(~np.isfinite(np.asarray(leaf, np.float64)))
        if len(places):
            index = tuple(int(each) for each in places[0])
            shown = str(list(index)) if index else ""
            found.append(f"{float(leaf[index])} at {_at(path, root)}{shown}")
    return ", ".join(found)


def _at(path: str, root: str = "x0") -> str:
    return f"{root}/{path}" if path else root
