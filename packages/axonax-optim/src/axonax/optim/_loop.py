"""The compiled loop of `minimize`: steps of a method until a reason to end holds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.optim import _result
from axonax.optim._bounds import Box, steepest
from axonax.optim._dtypes import compute_dtype
from axonax.optim._implicit import attach
from axonax.optim._problem import Given, Method, Objective, Point, Problem, raveling, vector
from axonax.optim._result import Result
from axonax.tensor.updates import evaluation_params

PyTree = Any
PATIENCE = 10
# By callback, what it raised: of that a compiled program hands on the text alone.
RAISED: dict[Callable[[Result], Any], BaseException] = {}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that shapes the program: a compiled loop is found again by an equal plan."""

    objective: Objective
    method: Method
    callback: Callable[[Result], Any] | None
    every: int
    capacity: int | None
    tests: frozenset[str]
    relative: bool


class Limits(NamedTuple):
    """When to end; a negative tolerance is never met."""

    gradient: float
    value: float
    step: float
    max_steps: int


class Best(NamedTuple):
    """The lowest value and gradient norm so far, and for how many steps neither has fallen."""

    value: jax.Array
    norm: jax.Array
    stale: jax.Array


class Carry(NamedTuple):
    """What goes from step to step."""

    point: Point
    state: PyTree
    norm: jax.Array
    steps: jax.Array
    evaluations: jax.Array
    code: jax.Array
    best: Best
    history: dict[str, jax.Array] | None


@functools.partial(jax.jit, static_argnums=0)
def solve(plan: Plan, x0: PyTree, given: Given, box: Box | None, limits: Limits) -> Result:
    """Run the loop from ``x0`` to the first of ``limits``."""
    _check_output(plan, x0, given)
    run = _Run(plan, _constant(x0), _constant(given), _constant(box), limits)
    first = run.start()
    limit = limits.gradient * first.norm if plan.relative else limits.gradient
    first = first._replace(code=run.begin(first, limit))
    last = jax.lax.while_loop(lambda carry: carry.code == 0, lambda carry: run.step(carry, limit), first)
    last = run.settle(last)
    result = run.report(last)
    aux = plan.objective.evaluate(result.x, run.given, last.steps)[1] if plan.objective.has_aux else None
    x, value, aux = attach(plan.objective, result.x, result.value, aux, given, box)
    return Result(
        x=x,
        value=value,
        gradient_norm=result.gradient_norm,
        steps=result.steps,
        evaluations=result.evaluations,
        code=result.code,
        aux=aux,
        history=result.history,
    )


def norm(tree: PyTree) -> jax.Array:
    """The Euclidean norm of all leaves, in float32 at least; neither overflows nor underflows."""
    leaves = [jnp.abs(leaf).astype(compute_dtype(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree)]
    largest = functools.reduce(jnp.maximum, [jnp.max(leaf, initial=0) for leaf in leaves])
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale * jnp.sqrt(sum(jnp.sum((leaf / scale) ** 2) for leaf in leaves))


class _Run:
    """One trace of the loop: the problem in the variables of the method."""

    def __init__(self, plan: Plan, x0: PyTree, given: Given, box: Box | None, limits: Limits) -> None:
        self.plan, self.given, self.limits, self.box = plan, given, limits, box
        self.x0 = x0
        self.unravel: Callable[[PyTree], PyTree] = lambda x: x
        if plan.method.flat:
            self.x0, self.unravel = raveling(x0)
            self.box = None if box is None else Box(vector(box.lower), vector(box.upper))

    def problem(self, step: Any) -> Problem:
        """The objective at ``step``."""
        return Problem(
            objective=self.plan.objective, given=self.given, step=step, unravel=self.unravel, box=self.box
        )

    def start(self) -> Carry:
        """The carry at ``x0``."""
        problem = self.problem(jnp.zeros((), jnp.int32))
        x0 = problem.project(self.x0)
        point = problem.linearized(x0) if self.plan.method.residual else problem.at(x0)
        length = self.norm(point)
        history = None
        if self.plan.capacity is not None:
            first = {"value": point.value, "gradient_norm": length}
            history = {name: jnp.full(self.plan.capacity + 1, one) for name, one in first.items()}
        return Carry(
            point=point,
            state=self.plan.method.init(problem, point),
            norm=length,
            steps=jnp.zeros((), jnp.int32),
            evaluations=jnp.ones((), jnp.int32),
            code=jnp.zeros((), jnp.int32),
            best=Best(point.value, length, jnp.zeros((), jnp.int32)),
            history=history,
        )

    def begin(self, carry: Carry, limit: Any) -> jax.Array:
        """Whether there is anything to do."""
        code = jnp.where(carry.norm <= limit, _result.GRADIENT, _result.RUNNING)
        code = jnp.where((code == _result.RUNNING) & (self.limits.max_steps == 0), _result.LIMIT, code)
        finite = jnp.isfinite(carry.point.value) & jnp.isfinite(carry.norm)
        return jnp.where(finite, code, _result.NOT_FINITE).astype(jnp.int32)

    def norm(self, point: Point) -> jax.Array:
        """The measure of how far a point is from a minimum."""
        return norm(steepest(self.box, point.x, point.gradient))

    def step(self, carry: Carry, limit: Any) -> Carry:
        """One step of the method, judged."""
        taken = self.plan.method.step(self.problem(carry.steps), carry.point, carry.state)
        length = self.norm(taken.point)
        best = self.improve(carry.best, taken.point.value, length)
        stuck = jnp.asarray(taken.stuck) | (best.stale >= PATIENCE)
        code = self.judge(carry, taken.point, length, limit, jnp.asarray(taken.progress))
        code = jnp.where(((code == 0) | (code == _result.LIMIT)) & stuck, _result.STALLED, code)
        finite = code != _result.NOT_FINITE
        steps = carry.steps + jnp.asarray(taken.progress).astype(jnp.int32)
        point = taken.point
        if not self.plan.method.flat or self.plan.objective.residual or self.plan.objective.noisy(self.given):
            # Where a line search ends the objective is finite anyway. Nobody asks for the last gradient.
            (x, value), length, steps = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (point[:2], length, steps),
                (carry.point[:2], carry.norm, carry.steps),
            )
            point = point._replace(x=x, value=value)
        history = carry.history
        if history is not None:
            latest = {"value": point.value, "gradient_norm": length}
            history = {name: each.at[steps].set(latest[name]) for name, each in history.items()}
        evaluations = carry.evaluations + jnp.asarray(taken.evaluations, jnp.int32)
        following = Carry(point, taken.state, length, steps, evaluations, code, best, history)
        if self.plan.callback is not None:
            self.call_back(following, (carry.code == _result.RUNNING) & (steps > carry.steps))
        return following

    def improve(self, best: Best, value: jax.Array, length: jax.Array) -> Best:
        """The best so far; methods that are to make progress are given up without it."""
        if not self.plan.method.flat or self.plan.objective.noisy(self.given):
            return best
        better = (value < best.value) | (length < best.norm)
        stale = jnp.where(better, 0, best.stale + 1)
        return Best(jnp.minimum(value, best.value), jnp.minimum(length, best.norm), stale)

    def judge(self, carry: Carry, point: Point, length: Any, limit: Any, progress: Any) -> jax.Array:
        """The code of the first reason to end that holds, ``RUNNING`` where none does."""
        limits, plan = self.limits, self.plan
        if plan.tests and not plan.method.flat:
            # An optimizer that accumulates or skips stands still without having arrived.
            moved = jax.tree.map(lambda new, old: jnp.any(new != old), point.x, carry.point.x)
            progress = progress & functools.reduce(jnp.logical_or, jax.tree.leaves(moved))
        reasons = [
            (~(jnp.isfinite(point.value) & jnp.isfinite(length)), _result.NOT_FINITE),
            (length <= limit, _result.GRADIENT),
        ]
        if "value" in plan.tests:
            change = jnp.abs(point.value - carry.point.value)
            if plan.relative:
                change = change / jnp.where(point.value == 0, 1, jnp.abs(point.value))
            reasons.append((progress & (change <= limits.value), _result.VALUE))
        if "step" in plan.tests:
            step = jax.tree.map(jnp.subtract, point.x, carry.point.x)
            moved = _largest_share(step, point.x) if plan.relative else norm(step)
            reasons.append((progress & (moved <= limits.step), _result.STEP))
        reasons.append((carry.steps + 1 >= limits.max_steps, _result.LIMIT))
        code: jax.Array = jnp.int32(_result.RUNNING)
        for condition, reason in reversed(reasons):
            code = jnp.where(condition, jnp.int32(reason), code)
        return code

    def settle(self, carry: Carry) -> Carry:
        """The end of the loop, at the average of its points where the optimizer keeps one.

        Where nothing but noise is averaged out, a point that has converged is better than the average.
        """
        point, noisy = carry.point, self.plan.objective.noisy(self.given)
        average = point.x if self.plan.method.flat else evaluation_params(carry.state, point.x)
        if average is point.x:
            return carry
        problem = self.problem(carry.steps)
        settled = problem.at(problem.project(average))
        length = self.norm(settled)
        better = jnp.isfinite(settled.value) & jnp.isfinite(length)
        if not noisy:
            better = better & ((carry.code == _result.LIMIT) | (carry.code == _result.NOT_FINITE))
        point, length = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (settled, length), (point, carry.norm)
        )
        return carry._replace(point=point, norm=length, evaluations=carry.evaluations + 1)

    def report(self, carry: Carry) -> Result:
        """The carry as a result, its history filled up with the last entry."""
        history = carry.history
        if history is not None:
            past = jnp.arange(len(history["value"])) > carry.steps
            history = {name: jnp.where(past, each[carry.steps], each) for name, each in history.items()}
        return Result(
            x=self.unravel(carry.point.x),
            value=carry.point.value,
            gradient_norm=carry.norm,
            steps=carry.steps,
            evaluations=carry.evaluations,
            code=carry.code,
            history=history,
        )

    def call_back(self, carry: Carry, running: jax.Array) -> None:
        """Tell the callback, every so many steps."""
        callback, due = self.plan.callback, running & (carry.steps % self.plan.every == 0)

        def host(due: Any, result: Result) -> None:
            # Under vmap both branches of the cond run, and ended starts run on with the others.
            if not due or callback is None:
                return
            try:
                callback(result)
            except BaseException as error:
                RAISED[callback] = error
                raise

        def tell() -> None:
            jax.debug.callback(host, due, self.report(carry))

        jax.lax.cond(due, tell, lambda: None)


def _constant(tree: PyTree) -> PyTree:
    return jax.tree.map(jax.lax.stop_gradient, tree)


def _largest_share(step: PyTree, x: PyTree) -> jax.Array:
    shares = [
        jnp.max(jnp.abs(one) / jnp.where(one == 0, 1, jnp.abs(other)), initial=0)
        for one, other in zip(jax.tree.leaves(step), jax.tree.leaves(x), strict=True)
    ]
    return functools.reduce(jnp.maximum, shares)


def _check_output(plan: Plan, x0: PyTree, given: Given) -> None:
    step = jnp.zeros((), jnp.int32)
    output = jax.eval_shape(lambda x: plan.objective.evaluate(x, given, step)[0], x0)
    shapes = [leaf.shape for leaf in jax.tree.leaves(output)]
    if plan.method.residual:
        _check_residuals(plan.method.name, output)
        return
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise ValueError(
            f"minimize: the objective must return a scalar, got a {type(output).__name__}"
            + ("; for (value, aux) pass has_aux=True" if isinstance(output, tuple) else "")
        )
    if shapes != [()]:
        raise ValueError(
            f"minimize: the objective must return a scalar, got shape {shapes[0]}; "
            'for residuals choose "levenberg_marquardt" or "gauss_newton"'
        )
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise ValueError(f"minimize: the objective must return a floating-point number, got {output.dtype}")


def _check_residuals(name: str, output: PyTree) -> None:
    leaves = jax.tree.leaves(output)
    if isinstance(output, jax.ShapeDtypeStruct) and output.shape == ():
        raise ValueError(
            f"minimize: {name} minimizes a sum of squares: the objective must return the residuals "
            '(any pytree of arrays), got a scalar; for a scalar objective choose "lbfgs" or "bfgs"'
        )
    if not leaves:
        raise ValueError(f"minimize: {name} needs residuals, got an empty {type(output).__name__}")
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"minimize: the residuals must be floating point, got {leaf.dtype}")
