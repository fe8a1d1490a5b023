"""The compiled functions of a loop for one shape of batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.loop.data._batch import Batch, Signature, check_like
from axonax.loop.steps._fused import make_fused
from axonax.loop.steps._metrics import LossMeasure, Measure
from axonax.loop.steps._recipe import Recipe
from axonax.tensor import trees

PyTree = Any
Accumulators = dict[str, PyTree]
Carry = tuple[PyTree, Accumulators]
WATCH = "nonfinite"


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """``step((carry, accumulators), batch, constant, *last)`` and the values of its accumulators by name.

    Beside those of the measures, `WATCH` accumulates how many steps there were and the first of them, from
    1, whose loss was not finite (0: none). ``outputs(carry, batch, constant)`` are the shapes of what a step
    gives to metrics; ``None`` where steps are not compiled. ``fused`` is what `make_fused` makes of the step.
    """

    step: Callable[..., Carry]
    compute: Callable[[Accumulators], dict[str, Any]]
    outputs: Callable[..., Any] | None
    measures: tuple[Measure | LossMeasure, ...]
    fused: Callable[..., Any] | None = None

    def advance(self, carry: Carry, rows: Sequence[tuple[Any, ...]], constant: PyTree) -> Carry:
        """The carry after ``rows``: batches, each with what else a step is told."""
        for batch, *last in rows:
            carry = self.step(carry, batch, constant, *last)
        return carry

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics, the loss first."""
        return tuple(measure.name for measure in self.measures)


def make_program(
    recipe: Recipe,
    measures: Sequence[Measure | LossMeasure],
    first: Signature | None,
    *,
    compile: bool,
    donate: bool,
) -> Program:
    """The functions of a loop, not yet traced; ``first`` is what all batches must be like."""

    def step(carry: Carry, batch: Any, constant: PyTree, *last: Any) -> Carry:
        # Under jit this runs once a shape: looking at every batch costs nothing.
        if first is not None:
            check_like(first, recipe.view(batch))
        state, outputs = recipe.update(carry[0], batch, constant, *last)
        accumulators = carry[1] or empty(measures, outputs)
        after = {each.name: each.update(accumulators[each.name], outputs) for each in measures}
        if WATCH in accumulators:
            after[WATCH] = watched(accumulators[WATCH], outputs["loss"])
        return state, after

    def compute(accumulators: Accumulators) -> dict[str, Any]:
        return {measure.name: measure.compute(accumulators[measure.name]) for measure in measures}

    def outputs(carry: PyTree, batch: Any, constant: PyTree) -> Any:
        return recipe.update(carry, batch, constant)[1]

    if not compile:
        return Program(step=step, compute=compute, outputs=None, measures=tuple(measures))
    return Program(
        fused=make_fused(step, compute, donate=donate),
        step=jax.jit(step, donate_argnums=0) if donate else jax.jit(step),
        compute=jax.jit(compute),
        outputs=jax.jit(outputs).eval_shape,
        measures=tuple(measures),
    )


def empty(measures: Sequence[Measure | LossMeasure], outputs: Any) -> Accumulators:
    """The accumulators of no steps, for the outputs of one."""
    fresh = {measure.name: measure.init(outputs) for measure in measures}
    tracked = any(measure.name == LossMeasure.name for measure in measures)
    return {**fresh, WATCH: jnp.zeros(2, jnp.int32)} if tracked else fresh


def watched(watch: jax.Array, loss: Any) -> jax.Array:
    """The count of steps and the first whose loss was not finite, after one more."""
    count, bad = watch[0] + 1, watch[1]
    return jnp.stack([count, jnp.where((bad == 0) & ~jnp.isfinite(loss).all(), count, bad)])


def fresh_accumulators(
    program: Program, view: Any, batch: Any, carry: PyTree, constant: PyTree
) -> Accumulators:
    """The accumulators of no batches; the first step makes them where none can be made without it."""
    if program.outputs is None or not program.measures:
        return {}
    outputs = program.outputs(carry, batch, constant)
    fresh = jax.tree.map(jnp.asarray, empty(program.measures, outputs))
    if isinstance(view, Batch):
        for measure in program.measures:
            measure.check_labels(fresh[measure.name], outputs, view.targets)
    return dict(fresh)


class Settled(NamedTuple):
    """A carry in the dtypes that a step gives it back in, and the program of the step."""

    carry: Carry
    jaxpr: Any


def settle(program: Program, carry: Carry, batch: Any, constant: PyTree, *last: Any) -> Settled:
    """The carry in the dtypes that a step gives it back in, so that one compilation serves all steps.

    Raises:
        ValueError: a step changes the structure or a shape of the state; the text lists the leaves.
    """
    traced = program.step.trace(carry, batch, constant, *last)  # type: ignore[attr-defined]
    after = traced.out_info
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(carry)]
    if not same_structure(carry, after) or shapes != [leaf.shape for leaf in jax.tree.leaves(after)]:
        lines = "; ".join(trees.diff(carry[0], after[0]) or trees.diff(carry[1], after[1]))
        raise ValueError(
            "the step must return a state of the structure and shapes that it was given "
            f"(first: given, second: returned): {lines or 'the containers differ'}"
        )
    return Settled(jax.tree.map(in_dtype, carry, after), traced.jaxpr.jaxpr)


def same_structure(one: PyTree, other: PyTree) -> bool:
    """Whether two trees have the same containers, keys and number of leaves."""
    structures: list[Any] = [jax.tree.structure(one), jax.tree.structure(other)]
    return bool(structures[0] == structures[1])


def in_dtype(leaf: Any, like: Any) -> Any:
    """``leaf`` in the dtype of ``like``, strongly typed: a weak type would compile a second time."""
    if not hasattr(like, "dtype") or jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return leaf
    return jnp.asarray(leaf, like.dtype)
