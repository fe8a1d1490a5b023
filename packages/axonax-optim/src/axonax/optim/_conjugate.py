"""Nonlinear conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from axonax.optim._checks import options
from axonax.optim._line_search import descent, line_search
from axonax.optim._problem import Point, Problem, Taken
from axonax.tensor import names


@options
def nonlinear_cg(*, beta: str = "polak_ribiere") -> NonlinearCG:
    r"""Conjugate gradients, a method of `minimize`: no matrix, two vectors of memory.

    .. math::
        d' = -g' + \max(\beta, 0) d, \quad
        \beta_{PR} = \frac{g'^T y}{g^T g}, \quad \beta_{HS} = \frac{g'^T y}{d^T y}, \quad y = g' - g

    It starts anew along the gradient wherever :math:`d'` does not lead downhill or an element meets a bound.

    Args:
        beta: ``"polak_ribiere"`` or ``"hestenes_stiefel"``.

    Returns:
        a method for `minimize`.

    Raises:
        ValueError: an unknown ``beta``.

    Source: Nocedal and Wright, "Numerical Optimization" (2006), equations 5.44 to 5.46.

    >>> nonlinear_cg(beta="hestenes_stiefel").name
    'nonlinear_cg'
    """
    names.lookup(_BETAS, beta, "beta")
    return NonlinearCG(beta)


class _State(NamedTuple):
    direction: jax.Array
    gradient: jax.Array
    change: jax.Array
    fall: jax.Array
    descent: jax.Array
    free: jax.Array
    known: jax.Array


@dataclass(frozen=True)
class NonlinearCG:
    """Conjugate directions and a strong line search."""

    beta: str
    name = "nonlinear_cg"
    flat = True
    residual = False

    def init(self, problem: Problem, point: Point) -> _State:
        """No direction known."""
        zero = jnp.zeros_like(point.x)
        return _State(
            direction=zero,
            gradient=zero,
            change=zero,
            fall=jnp.zeros((), point.x.dtype),
            descent=jnp.zeros((), point.x.dtype),
            free=jnp.ones(point.x.shape, bool),
            known=jnp.zeros((), jnp.int32),
        )

    def step(self, problem: Problem, point: Point, state: _State) -> Taken:
        """One line search along the next direction."""
        free = problem.free(point)
        mask = jnp.ones(point.x.shape, bool) if free is None else free
        gradient = jnp.where(mask, point.gradient, 0)
        usable = (state.known > 0) & jnp.all(mask == state.free)
        share = jnp.where(usable, jnp.maximum(_BETAS[self.beta](gradient, state), 0), 0)
        wanted = -gradient + share * jnp.where(mask, state.direction, 0)
        slope = jnp.vdot(gradient, wanted)
        wanted = jnp.where(slope < 0, wanted, -gradient)
        slope = jnp.vdot(gradient, wanted)
        size = jnp.linalg.norm(gradient)
        first = jnp.minimum(1, 1 / jnp.where(size > 0, size, 1))
        # The first trial promises the fall of the last step, or where that drowned in rounding its slope.
        steepness = jnp.where(slope < 0, -slope, 1)
        length = jnp.maximum(2 * state.fall, state.descent / 10) / steepness
        length = jnp.where(state.known > 0, length, first)
        direction, downhill = descent(problem, point, length * wanted)
        found = line_search(problem, point, direction, curvature=0.4, strong=True)
        length = jnp.where(downhill, length, first)
        following = _State(
            direction=direction / jnp.where(length > 0, length, 1),
            gradient=gradient,
            change=jnp.where(mask, found.point.gradient - point.gradient, 0),
            fall=(point.value - found.point.value).astype(slope.dtype),
            descent=-found.length.astype(slope.dtype) * length * slope,
            free=mask,
            known=jnp.where(found.ok, state.known + 1, 0),
        )
        stuck = ~found.ok & (state.known == 0)
        return problem.hand_over(Taken(found.point, following, found.evaluations, found.ok, stuck))


def _polak_ribiere(gradient: jax.Array, state: _State) -> jax.Array:
    power = jnp.vdot(state.gradient, state.gradient)
    return jnp.vdot(gradient, state.change) / jnp.where(power > 0, power, 1)


def _hestenes_stiefel(gradient: jax.Array, state: _State) -> jax.Array:
    power = jnp.vdot(state.direction, state.change)
    return jnp.vdot(gradient, state.change) / jnp.where(power == 0, 1, power)


_BETAS = {"polak_ribiere": _polak_ribiere, "hestenes_stiefel": _hestenes_stiefel}
