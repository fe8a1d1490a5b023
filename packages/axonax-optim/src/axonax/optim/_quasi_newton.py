"""BFGS with a dense inverse of the Hessian, or with a limited memory of steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from axonax.optim._checks import is_whole, options
from axonax.optim._line_search import descent, line_search
from axonax.optim._precision import epsilon
from axonax.optim._problem import Point, Problem, Taken

PyTree = Any


@options
def bfgs(*, memory: int | None = None) -> QuasiNewton:
    r"""BFGS, a method of `minimize`: a model of the inverse Hessian from the steps, and a line search.

    .. math::
        H' = (I - \rho s y^T) H (I - \rho y s^T) + \rho s s^T, \quad \rho = 1 / y^T s

    with the step :math:`s` and the change of the gradient :math:`y`. Without ``memory`` the matrix is kept
    (n by n numbers), with it only the last ``memory`` pairs (L-BFGS). ``"bfgs"`` and ``"lbfgs"`` are
    ``bfgs()`` and ``bfgs(memory=10)``. Within bounds, what the gradient holds on a bound stays there, and
    the model is that of the other elements.

    Args:
        memory: how many steps to remember; ``None``: all, in a dense matrix.

    Returns:
        a method for `minimize`.

    Raises:
        ValueError: ``memory`` is no whole number of at least 1.

    Source: Nocedal and Wright, "Numerical Optimization" (2006), equation 6.17 and algorithm 7.4; the active
    set after Bertsekas, "Projected Newton methods for optimization problems with simple constraints" (1982).

    >>> bfgs(memory=20).name
    'lbfgs'
    """
    if memory is not None and (not is_whole(memory) or memory < 1):
        raise ValueError(f"bfgs: memory must be a whole number of at least 1, got {memory!r}")
    return QuasiNewton("bfgs", _Dense()) if memory is None else QuasiNewton("lbfgs", _Limited(int(memory)))


class _Model(Protocol):
    """A model of the inverse Hessian."""

    def start(self, x: jax.Array) -> PyTree:
        """The identity."""

    def solve(self, state: PyTree, gradient: jax.Array, free: jax.Array | None) -> jax.Array:
        """The inverse Hessian times the gradient, of the free elements alone."""

    def learn(self, state: PyTree, step: jax.Array, change: jax.Array) -> PyTree:
        """The model after a step that changed the gradient so."""


@dataclass(frozen=True)
class QuasiNewton:
    """Steps by a model of the inverse Hessian and a line search."""

    name: str
    model: _Model
    flat = True
    residual = False

    def init(self, problem: Problem, point: Point) -> PyTree:
        """No step known."""
        return self.model.start(point.x)

    def step(self, problem: Problem, point: Point, state: PyTree) -> Taken:
        """One line search; where it fails the model is forgotten, where there is none the search is over."""
        free, gradient = problem.free(point), point.gradient
        wanted = -self.model.solve(state, gradient, free)
        size = jnp.linalg.norm(gradient)
        wanted = jnp.where(
            state.known == 0, wanted * jnp.minimum(1, 1 / jnp.where(size > 0, size, 1)), wanted
        )
        direction, downhill = descent(problem, point, wanted)
        found = line_search(problem, point, direction)
        step, change = found.point.x - point.x, found.point.gradient - gradient
        # What was learned is forgotten by its count: no pass over the matrix.
        trusted = state._replace(known=jnp.where(downhill, state.known, 0))
        learned = self.model.learn(trusted, step, change)
        following = learned._replace(known=jnp.where(found.ok, learned.known, 0))
        taken = Taken(found.point, following, found.evaluations, found.ok, ~found.ok & (state.known == 0))
        return problem.hand_over(taken)


def _curved(step: jax.Array, change: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The product of a pair, and whether it is surely positive."""
    product = jnp.vdot(step, change)
    return product, product > epsilon(step) * jnp.linalg.norm(step) * jnp.linalg.norm(change)


class _Matrix(NamedTuple):
    inverse: jax.Array
    known: jax.Array


@dataclass(frozen=True)
class _Dense:
    """The whole matrix."""

    def start(self, x: jax.Array) -> _Matrix:
        return _Matrix(jnp.eye(x.size, dtype=x.dtype), jnp.zeros((), jnp.int32))

    def solve(self, state: _Matrix, gradient: jax.Array, free: jax.Array | None) -> jax.Array:
        if free is None:
            return jnp.where(state.known == 0, gradient, state.inverse @ gradient)
        # The inverse of a block of the Hessian is a Schur complement of its inverse.
        mask = free.astype(gradient.dtype)
        product = state.inverse @ (mask * gradient)
        held = (1 - mask)[:, None] * state.inverse * (1 - mask)[None, :] + jnp.diag(mask)
        factor = jax.scipy.linalg.cho_factor(held)
        force = (1 - mask) * jax.scipy.linalg.cho_solve(factor, (1 - mask) * product)
        return mask * jnp.where(state.known == 0, gradient, product - state.inverse @ force)

    def learn(self, state: _Matrix, step: jax.Array, change: jax.Array) -> _Matrix:
        product, curved = _curved(step, change)
        product = jnp.where(curved, product, 1)
        power = jnp.vdot(change, change)
        scale = product / jnp.where(power > 0, power, 1)
        inverse = jnp.where(state.known == 0, scale * jnp.eye(step.size, dtype=step.dtype), state.inverse)
        image = inverse @ change
        cross = jnp.outer(image, step)
        weight = (1 + jnp.vdot(change, image) / product) / product
        inverse = inverse + weight * jnp.outer(step, step) - (cross + cross.T) / product
        return _Matrix(jnp.where(curved, inverse, state.inverse), state.known + curved.astype(jnp.int32))


class _Pairs(NamedTuple):
    steps: jax.Array
    changes: jax.Array
    products: jax.Array
    powers: jax.Array
    known: jax.Array


@dataclass(frozen=True)
class _Limited:
    """The last pairs, in a ring."""

    memory: int

    def start(self, x: jax.Array) -> _Pairs:
        empty, none = jnp.zeros((self.memory, x.size), x.dtype), jnp.zeros(self.memory, x.dtype)
        return _Pairs(empty, empty, none, none, jnp.zeros((), jnp.int32))

    def solve(self, state: _Pairs, gradient: jax.Array, free: jax.Array | None) -> jax.Array:
        mask = jnp.ones((), gradient.dtype) if free is None else free.astype(gradient.dtype)
        steps, changes, products, powers, _ = state
        if free is not None:
            changes = jnp.where(free[None, :], changes, 0)
            products = jnp.sum(steps * changes, axis=1)
            powers = jnp.sum(changes * changes, axis=1)
        # A pair may lose its curvature with the elements that are held.
        weights = jnp.where(products > 0, 1 / jnp.where(products > 0, products, 1), 0)
        held = jnp.minimum(state.known, self.memory)

        def back(age: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            rest, shares = carry
            place = (state.known - 1 - age) % self.memory
            share = weights[place] * jnp.vdot(steps[place], rest)
            return rest - share * changes[place], shares.at[place].set(share)

        def forth(age: Any, rest: Any) -> Any:
            place = (state.known - held + age) % self.memory
            share = shares[place] - weights[place] * jnp.vdot(changes[place], rest)
            return rest + share * mask * steps[place]

        rest, shares = jax.lax.fori_loop(0, held, back, (mask * gradient, jnp.zeros_like(weights)))
        last = (state.known - 1) % self.memory
        scale = products[last] / jnp.where(powers[last] > 0, powers[last], 1)
        direction: jax.Array = jax.lax.fori_loop(0, held, forth, rest * jnp.where(scale > 0, scale, 1))
        return direction

    def learn(self, state: _Pairs, step: jax.Array, change: jax.Array) -> _Pairs:
        product, curved = _curved(step, change)
        place = state.known % self.memory

        def put(kept: jax.Array, new: jax.Array) -> jax.Array:
            return kept.at[place].set(jnp.where(curved, new, kept[place]))

        return _Pairs(
            steps=put(state.steps, step),
            changes=put(state.changes, change),
            products=put(state.products, product),
            powers=put(state.powers, jnp.vdot(change, change)),
            known=state.known + curved.astype(jnp.int32),
        )
