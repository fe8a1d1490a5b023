"""What tells a trainer, an evaluator and a plain loop apart: how a batch changes the step state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from axonax.loop._state import EvalState, TrainState
from axonax.loop.steps import _signature
from axonax.loop.steps._leaves import divide, joined, part
from axonax.loop.steps._model import call_init, trained, with_trained
from axonax.loop.steps._steps import Outputs, TrainStep
from axonax.tensor import trees
from axonax.tensor.updates import evaluation_params

PyTree = Any


def same(value: Any) -> Any:
    return value


def no_check(batch: Any, step_state: PyTree) -> None:
    """Nothing to look at before the first step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """The functions that the engine runs.

    ``start(key, batch, state) -> step_state``; ``split(step_state) -> (carry, constant)`` parts what steps
    change from what they only read, ``join(carry, constant)`` is its inverse;
    ``update(carry, batch, constant, *last) -> (carry, outputs)`` is one step; ``check(batch, step_state)``
    looks at the first batch before anything is compiled; ``explain(batch, step_state, metrics)`` says what
    is wrong with a batch whose loss was not finite, or ``None``; ``view(batch)`` names the parts of a batch
    for errors; ``flushes(step_state)`` says whether steps are told which batch is the last of an epoch;
    ``refit(step_state, model_state)`` goes on with a model of other parameters; ``members`` is how many
    models are trained at once, on a leading axis of all outputs, ``None`` for one without; with ``pads`` a
    smaller batch is filled up to the rows of the first, if the added rows can be left out; without ``fuses``
    steps are taken one by one.
    """

    start: Callable[[jax.Array, Any, PyTree], PyTree]
    update: Callable[..., tuple[PyTree, Outputs]]
    split: Callable[[PyTree], tuple[PyTree, PyTree]] = lambda state: (state, ())
    join: Callable[[PyTree, PyTree], PyTree] = lambda carry, constant: carry
    check: Callable[[Any, PyTree], None] = no_check
    explain: Callable[..., str | None] = lambda batch, step_state, metrics=(): None
    view: Callable[[Any], PyTree] = same
    flushes: Callable[[PyTree], bool] = lambda step_state: False
    refit: Callable[[PyTree, PyTree], PyTree] | None = None
    members: int | None = None
    tracks_loss: bool = False
    needs_state: bool = False
    pads: bool = False
    fuses: bool = True

    @property
    def has_parts(self) -> bool:
        """Whether a batch is read as inputs, targets and weights."""
        return self.view is not same


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class _RawKey:
    """A key as plain integers: a typed key among its arguments takes a jitted call off its fast path."""

    data: jax.Array
    kind: Any = field(metadata={"static": True})


def _raw(state: TrainState) -> TrainState:
    raw: Any = _RawKey(data=jax.random.key_data(state.key), kind=jax.random.key_impl(state.key))
    return state.replace(key=raw)


def _typed(state: Any) -> TrainState:
    typed: TrainState = state.replace(key=jax.random.wrap_key_data(state.key.data, impl=state.key.kind))
    return typed


def _parted(state: TrainState) -> tuple[TrainState, Any]:
    """The arrays of a state, its key as integers, and what of its model is no array."""
    arrays, others = part(state.model_state)
    return _raw(state if others == () else state.replace(model_state=arrays)), others


def _whole(carry: TrainState, others: Any) -> TrainState:
    state = _typed(carry)
    return state if others == () else state.replace(model_state=joined(state.model_state, others))


def train_recipe(
    step: TrainStep,
    flushes: Callable[[PyTree], bool],
    check: Callable[[Any, PyTree], None] = no_check,
    explain: Callable[..., str | None] = lambda batch, step_state, metrics=(): None,
    view: Callable[[Any], PyTree] = same,
) -> Recipe:
    """The recipe of a trainer; the step says what to start from."""

    def update(carry: PyTree, batch: Any, constant: PyTree, *last: Any) -> tuple[PyTree, Outputs]:
        state, outputs = step.step(_whole(carry, constant), batch, *last)
        return _parted(state)[0], outputs

    return Recipe(
        start=step.init,
        update=update,
        split=_parted,
        join=_whole,
        check=check,
        explain=explain,
        view=view,
        flushes=flushes,
        refit=functools.partial(refitted, step),
        tracks_loss=True,
    )


def refitted(step: TrainStep, state: TrainState, model_state: PyTree) -> TrainState:
    """The state with another state of the model; what is kept for a leaf is fresh where there was no such."""
    old = trees.flatten((state.opt_state, state.extras))

    def kept(keypath: trees.KeyPath, leaf: Any) -> Any:
        known = old.get(trees.path(keypath))
        fits = known is not None and trees.describe(known) == trees.describe(leaf)
        return known if fits else leaf

    fresh = step.init(state.key, None, model_state)
    both = jax.tree_util.tree_map_with_path(kept, (fresh.opt_state, fresh.extras))
    return state.replace(model_state=fresh.model_state, opt_state=both[0], extras=both[1])


def eval_recipe(
    step: Callable[[PyTree, Any], Outputs],
    check: Callable[[Any, PyTree], None],
    view: Callable[[Any], PyTree],
    tracks_loss: bool,
    evaluated: Callable[[TrainState], PyTree] | None = None,
) -> Recipe:
    """The recipe of an evaluator, which needs the state of a model to start from.

    Of a `TrainState` it is that with averaged parameters, where the step or the optimizer keeps them.
    """
    choose = evaluated or averaged

    def start(key: jax.Array, batch: Any, state: PyTree) -> EvalState:
        if isinstance(state, EvalState):
            return state
        return EvalState(model_state=choose(state) if isinstance(state, TrainState) else state)

    return Recipe(
        start=start,
        update=lambda carry, batch, constant: ((), step(joined(*constant), batch)),
        split=lambda state: ((), part(state.model_state)),
        join=lambda carry, constant: EvalState(model_state=joined(*constant)),
        check=check,
        view=view,
        tracks_loss=tracks_loss,
        needs_state=True,
        pads=view is not same,
    )


def averaged(state: TrainState) -> PyTree:
    """The state of the model with the parameters to evaluate."""
    params = trained(state.model_state)
    division = divide(params)
    better = evaluation_params((state.opt_state, state.extras), division.free(params))
    return with_trained(state.model_state, division.whole(better))


def plain_recipe(step: Callable[[PyTree, Any], PyTree], init: Callable[..., PyTree]) -> Recipe:
    """The recipe of a loop over any step; metrics look at the fields of a state that is a dict."""

    def start(key: jax.Array, batch: Any, state: PyTree) -> PyTree:
        if state is not None:
            return state
        if _signature.accepted(init, "key"):
            return call_init(init, jax.random.fold_in(key, 0), batch)
        return init(batch) if _signature.fits(init, 1) else init()

    def update(carry: PyTree, batch: Any, constant: PyTree) -> tuple[PyTree, Outputs]:
        state = step(carry, batch)
        return state, dict(state) if isinstance(state, Mapping) else {"step_state": state}

    return Recipe(start=start, update=update)
