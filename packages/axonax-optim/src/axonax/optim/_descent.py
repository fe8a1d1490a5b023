"""The compiled loop of `minimize`: one evaluation of value and gradient a step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim import _result
from axonax.optim._dtypes import compute_dtype, like
from axonax.optim._result import Result
from axonax.tensor.updates import apply_updates

PyTree = Any


@dataclass(frozen=True)
class ById:
    """A function that cannot be hashed, told from others by identity."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.function(*args, **options)

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and other.function is self.function

    def __hash__(self) -> int:
        return id(self.function)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that shapes the program: a compiled loop is found again by an equal plan."""

    objective: Callable[..., Any]
    init: Callable[..., Any]
    update: Callable[..., Any]
    has_aux: bool
    callback: Callable[[Result], Any] | None
    every: int
    capacity: int | None

    def evaluate(self, x: PyTree, args: tuple[Any, ...], key: Any, step: Any) -> tuple[Any, Any]:
        """The objective's value and what it returns besides (``None`` without ``has_aux``)."""
        options = {} if key is None else {"key": jax.random.fold_in(key, step)}
        result = self.objective(x, *args, **options)
        if not self.has_aux:
            return result, None
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(
                "minimize: with has_aux=True the objective must return (value, aux), "
                f"got {type(result).__name__}"
            )
        return result


class Limits(NamedTuple):
    """When to end; a negative tolerance is never met."""

    gradient: float
    value: float
    step: float
    max_steps: int


class Carry(NamedTuple):
    """What goes from step to step."""

    x: PyTree
    state: PyTree
    value: jax.Array
    gradient: PyTree
    norm: jax.Array
    steps: jax.Array
    code: jax.Array
    history: dict[str, jax.Array] | None


@functools.partial(jax.jit, static_argnums=0)
def solve(plan: Plan, x0: PyTree, args: tuple[Any, ...], key: Any, limits: Limits) -> Result:
    """Run the loop from ``x0`` to the first of ``limits``."""
    _check_objective(plan, x0, args, key)

    def run(carry: Carry) -> Carry:
        return _step(plan, carry, args, key, limits)

    last = jax.lax.while_loop(lambda carry: carry.code == 0, run, _start(plan, x0, args, key, limits))
    aux = plan.evaluate(last.x, args, key, last.steps)[1] if plan.has_aux else None
    return _report(last, aux)


def norm(tree: PyTree) -> jax.Array:
    """The Euclidean norm of all leaves, in float32 at least; neither overflows nor underflows."""
    leaves = [jnp.abs(leaf).astype(compute_dtype(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree)]
    largest = functools.reduce(jnp.maximum, [jnp.max(leaf, initial=0) for leaf in leaves])
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale * jnp.sqrt(sum(jnp.sum((leaf / scale) ** 2) for leaf in leaves))


def _start(plan: Plan, x0: PyTree, args: tuple[Any, ...], key: Any, limits: Limits) -> Carry:
    value, gradient = _value_and_gradient(plan, x0, args, key, 0)
    length = norm(gradient)
    finite = jnp.isfinite(value) & jnp.isfinite(length)
    code = jnp.where(length <= limits.gradient, _result.GRADIENT, _result.RUNNING)
    code = jnp.where((code == _result.RUNNING) & (limits.max_steps == 0), _result.LIMIT, code)
    history = None
    if plan.capacity is not None:
        first = {"value": value, "gradient_norm": length}
        history = {
            name: jnp.full(plan.capacity + 1, jnp.nan, one.dtype).at[0].set(one)
            for name, one in first.items()
        }
    return Carry(
        x=x0,
        state=jax.tree.map(lambda leaf: like(jnp.asarray(leaf), jnp.asarray(leaf)), plan.init(x0)),
        value=value,
        gradient=gradient,
        norm=length,
        steps=jnp.zeros((), jnp.int32),
        code=jnp.where(finite, code, _result.NOT_FINITE).astype(jnp.int32),
        history=history,
    )


def _step(plan: Plan, carry: Carry, args: tuple[Any, ...], key: Any, limits: Limits) -> Carry:
    updates, state = plan.update(
        carry.gradient,
        carry.state,
        carry.x,
        value=carry.value,
        grad=carry.gradient,
        value_fn=lambda x: plan.evaluate(x, args, key, carry.steps)[0],
    )
    state = jax.tree.map(like, state, carry.state)
    x = apply_updates(carry.x, updates)
    steps = carry.steps + 1
    search = _line_search(state)
    if search is None:
        value, gradient = _value_and_gradient(plan, x, args, key, steps)
    else:
        value, gradient = jax.tree.map(like, (search.value, search.grad), (carry.value, carry.gradient))
    length = norm(gradient)
    moved = norm(jax.tree.map(jnp.subtract, x, carry.x))
    code = _judge(carry, value, length, moved, limits)
    if search is not None and key is None:
        code = jnp.where((code == _result.RUNNING) & (moved == 0), _result.STALLED, code)
    finite = code != _result.NOT_FINITE
    x, value, gradient, length, steps = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (x, value, gradient, length, steps),
        (carry.x, carry.value, carry.gradient, carry.norm, carry.steps),
    )
    history = carry.history
    if history is not None:
        latest = {"value": value, "gradient_norm": length}
        history = {name: each.at[steps].set(latest[name]) for name, each in history.items()}
    following = Carry(x, state, value, gradient, length, steps, code, history)
    if plan.callback is not None:
        _call_back(plan, following, carry.code == _result.RUNNING)
    return following


def _judge(carry: Carry, value: Any, length: Any, moved: Any, limits: Limits) -> jax.Array:
    """The code of the first reason to end that holds, ``RUNNING`` where none does."""
    reasons = [
        (~(jnp.isfinite(value) & jnp.isfinite(length)), _result.NOT_FINITE),
        (length <= limits.gradient, _result.GRADIENT),
        (jnp.abs(value - carry.value) <= limits.value, _result.VALUE),
        (moved <= limits.step, _result.STEP),
        (carry.steps + 1 >= limits.max_steps, _result.LIMIT),
    ]
    conditions, codes = zip(*reasons, strict=True)
    return jnp.select(list(conditions), [jnp.int32(code) for code in codes], jnp.int32(_result.RUNNING))


def _value_and_gradient(
    plan: Plan, x: PyTree, args: tuple[Any, ...], key: Any, step: Any
) -> tuple[jax.Array, PyTree]:
    (value, _), gradient = jax.value_and_grad(plan.evaluate, has_aux=True)(x, args, key, step)
    return like(value, value), jax.tree.map(like, gradient, x)


def _line_search(state: PyTree) -> Any:
    """The state of a zoom line search that ends a chain: it has evaluated the point stepped to."""
    last = state[-1] if isinstance(state, tuple) and state else None
    return last if isinstance(last, optax.ScaleByZoomLinesearchState) else None


def _report(carry: Carry, aux: PyTree = None) -> Result:
    return Result(
        x=carry.x,
        value=carry.value,
        gradient_norm=carry.norm,
        steps=carry.steps,
        code=carry.code,
        aux=aux,
        history=carry.history,
    )


def _call_back(plan: Plan, carry: Carry, running: jax.Array) -> None:
    due = running & (carry.steps % plan.every == 0)

    def host(due: Any, result: Result) -> None:
        # Under vmap both branches of the cond run, and ended starts run on with the others.
        if due and plan.callback is not None:
            plan.callback(result)

    def tell() -> None:
        jax.debug.callback(host, due, _report(carry))

    jax.lax.cond(due, tell, lambda: None)


def _check_objective(plan: Plan, x0: PyTree, args: tuple[Any, ...], key: Any) -> None:
    value = jax.eval_shape(lambda x: plan.evaluate(x, args, key, 0)[0], x0)
    shapes = [leaf.shape for leaf in jax.tree.leaves(value)]
    if not isinstance(value, jax.ShapeDtypeStruct):
        raise ValueError(
            f"minimize: the objective must return a scalar, got a {type(value).__name__}"
            + ("; for (value, aux) pass has_aux=True" if isinstance(value, tuple) else "")
        )
    if shapes != [()]:
        raise ValueError(f"minimize: the objective must return a scalar, got shape {shapes[0]}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"minimize: the objective must return a floating-point number, got {value.dtype}")
