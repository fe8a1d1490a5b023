"""An optimizer or any Optax transformation as a method of `minimize`: one evaluation a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from axonax.optim._dtypes import like
from axonax.optim._problem import Point, Problem, Taken
from axonax.tensor.updates import apply_updates

PyTree = Any


@dataclass(frozen=True)
class Descent:
    """Steps of a gradient transformation, each projected on the bounds."""

    initialize: Callable[..., Any]
    update: Callable[..., Any]
    name = "an optimizer"
    flat = False
    residual = False

    def init(self, problem: Problem, point: Point) -> PyTree:
        """The state of the transformation."""
        return jax.tree.map(lambda leaf: like(jnp.asarray(leaf), jnp.asarray(leaf)), self.initialize(point.x))

    def step(self, problem: Problem, point: Point, state: PyTree) -> Taken:
        """One update."""
        updates, following = self.update(
            point.gradient, state, point.x, value=point.value, grad=point.gradient, value_fn=problem.value
        )
        following = jax.tree.map(like, following, state)
        x = problem.project(apply_updates(point.x, updates))
        search = _line_search(following)
        if search is None or problem.box is not None or problem.noisy:
            extra = 0 if search is None else search.info.num_linesearch_steps
            stuck = jnp.asarray(False)
            return Taken(problem.at(x, int(problem.noisy)), following, 1 + extra, True, stuck)
        value, gradient = jax.tree.map(like, (search.value, search.grad), (point.value, point.gradient))
        moved = jnp.any(
            jnp.stack([jnp.any(a != b) for a, b in zip(*map(jax.tree.leaves, (x, point.x)), strict=True)])
        )
        return Taken(Point(x, value, gradient), following, search.info.num_linesearch_steps, moved, ~moved)


def _line_search(state: PyTree) -> Any:
    """The state of a zoom line search that ends a chain: it has evaluated the point stepped to."""
    last = state[-1] if isinstance(state, tuple) and state else None
    return last if isinstance(last, optax.ScaleByZoomLinesearchState) else None
