"""One step down an objective: loss, gradient, transforms, optimizer, averages, in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.loop.steps._gradients import Gradient, Sums, added, finite, kept, mean, no_sums
from axonax.loop.steps._leaves import Division, check_trained, divide
from axonax.loop.steps._mean import Mean
from axonax.loop.steps._optimizer import Updater, check_hyperparams
from axonax.loop.steps._transforms import Transforms
from axonax.tensor.precision import Policy

PyTree = Any
Outputs = dict[str, Any]
# params -> (mean loss, (outputs, new buffers))
Value = Callable[[PyTree], tuple[Any, tuple[Outputs, PyTree]]]


class Point(NamedTuple):
    """Where a descent stands: parameters, buffers, and the states of the optimizer and the transforms."""

    params: PyTree
    buffers: PyTree
    opt_state: PyTree
    extras: PyTree


class _Moving(NamedTuple):
    """What one step of the optimizer moves."""

    free: PyTree
    opt_state: PyTree
    average: PyTree


@dataclass(frozen=True, kw_only=True)
class Descent:
    """An optimizer with the transforms about it."""

    optimizer: Updater
    transforms: Transforms
    who: str

    def cast(self, params: PyTree) -> PyTree:
        """The parameters in the dtype in which they are kept."""
        policy: Policy | None = self.transforms.precision
        return params if policy is None else policy.cast_params(params)

    def init(self, params: PyTree) -> tuple[PyTree, PyTree]:
        """The first states of the optimizer and of the transforms.

        Raises:
            ValueError: there is nothing to train, or not what the optimizer is for.
        """
        self.optimizer.check(params)
        free = divide(params, self.optimizer.frozen).free(params)
        check_trained(free, self.who)
        opt_state = self.optimizer.init(free)
        check_hyperparams(opt_state, self.who)
        return opt_state, self.extras(params)

    def extras(self, params: PyTree, known: PyTree = ()) -> PyTree:
        """The states of the transforms by name; those ``known`` already go on, ``()`` of none."""
        free = divide(params, self.optimizer.frozen).free(params)
        transforms, found = self.transforms, dict[str, Any]()
        if transforms.loss_scale is not None:
            found["loss_scale"] = transforms.loss_scale.init()
        if transforms.guards:
            found["skipped"] = {"count": jnp.zeros((), jnp.int32), "first": jnp.zeros((), jnp.int32)}
        if transforms.accumulate > 1:
            found["accumulate"] = no_sums(free)
        if transforms.average is not None:
            found[transforms.average.name] = transforms.average.init(free)
        if isinstance(known, Mapping):
            found |= {name: each for name, each in known.items() if name in found}
        return found or ()

    def step(self, value: Value, point: Point, *, last: Any, iteration: Any) -> tuple[Point, Outputs]:
        """The point after one batch, and the outputs of the objective.

        Args:
            value: the loss of the batch as a function of the parameters.
            point: where the descent stands.
            last: whether the batch is the last of its epoch.
            iteration: how many steps there were before.
        """
        division = divide(point.params, self.optimizer.frozen)
        scale, extras = self.transforms.loss_scale, dict(point.extras or {})

        def scaled(free: PyTree) -> tuple[Any, tuple[Any, Outputs, PyTree]]:
            loss, (outputs, buffers) = value(division.whole(free))
            factored = loss if scale is None else scale.scale(loss, extras["loss_scale"])
            return factored, (loss, outputs, buffers)

        free = division.free(point.params)
        (_, (loss, outputs, buffers)), tree = jax.value_and_grad(scaled, has_aux=True)(free)
        if scale is not None:
            tree = scale.unscale(tree, extras["loss_scale"])
        gradient = Gradient(loss, tree, outputs["loss_weight"])
        good = finite(loss, tree) if self.transforms.guards else None
        if scale is not None:
            extras["loss_scale"] = scale.adjust(extras["loss_scale"], True if good is None else good)
        if good is not None:
            extras["skipped"] = _counted(extras["skipped"], good, iteration)
            buffers = jax.lax.cond(good, lambda: buffers, lambda: _like(point.buffers, buffers))
            outputs = _without(outputs, jnp.isfinite(loss))
        average = self.transforms.average
        before = _Moving(free, point.opt_state, extras.get(average.name) if average else ())
        value_fn = _value_of(value, division)
        moved, extras = self._moved(gradient, good, before, value_fn, extras, last)
        return Point(division.whole(moved.free), buffers, moved.opt_state, extras or ()), outputs

    def _moved(
        self,
        gradient: Gradient,
        good: Any,
        before: _Moving,
        value_fn: Callable[[PyTree], Any],
        extras: dict[str, Any],
        last: Any,
    ) -> tuple[_Moving, dict[str, Any]]:
        """What the optimizer leaves behind: at once, after several batches, or not at all."""
        average, sums, due = self.transforms.average, extras.get("accumulate"), good
        if sums is not None:
            sums = _summed(sums, gradient, good)
            full = (sums.batches >= self.transforms.accumulate) | last
            due, extras["accumulate"] = full & (sums.weight > 0), kept(sums, full)

        def update() -> _Moving:
            whole = gradient if sums is None else mean(sums, gradient.tree)
            return self._update(whole, before, value_fn, last)

        after = update() if due is None else jax.lax.cond(due, update, lambda: _like(before, _shapes(update)))
        if average is not None:
            extras[average.name] = after.average
        return after, extras

    def _update(
        self, gradient: Gradient, before: _Moving, value_fn: Callable[[PyTree], Any], last: Any
    ) -> _Moving:
        """One step of the optimizer and the average."""
        clip, average = self.transforms.clip, self.transforms.average
        free, opt_state = self.optimizer.apply(
            before.free,
            gradient.tree if clip is None else clip(gradient.tree),
            before.opt_state,
            value=gradient.loss,
            value_fn=value_fn,
            weight=gradient.weight,
            flush=last,
        )
        kept = before.average if average is None else average.update(before.average, free)
        return _Moving(free, opt_state, kept)


def _value_of(value: Value, division: Division) -> Callable[[PyTree], Any]:
    """The loss as a function of the trained leaves alone."""
    return lambda free: value(division.whole(free))[0]


def _summed(sums: Sums, gradient: Gradient, good: Any) -> Sums:
    """The sums with one more batch; one that is not finite counts as one of them and weighs nothing."""
    if good is None:
        return added(sums, gradient)
    summed: Sums = jax.lax.cond(
        good, lambda: added(sums, gradient), lambda: sums._replace(batches=sums.batches + 1)
    )
    return summed


def _counted(skipped: Mapping[str, Any], good: Any, iteration: Any) -> dict[str, Any]:
    """How many steps were left out, and which was the first, from 1."""
    bad = ~good
    first = jnp.where((skipped["first"] == 0) & bad, iteration + 1, skipped["first"])
    return {"count": skipped["count"] + bad, "first": first.astype(jnp.int32)}


def _without(outputs: Outputs, counts: Any) -> Outputs:
    """The outputs of a step, whose loss does not count in the means of the epoch where it is not finite."""

    def weighed(mean: Mean) -> Mean:
        return Mean(mean.value, jnp.where(counts, mean.total, 0), jnp.where(counts, mean.weight, 0))

    own = weighed(Mean(outputs["loss"], outputs["loss_total"], outputs["loss_weight"]))
    parts = {name: weighed(each) for name, each in outputs.get("loss_parts", {}).items()}
    outputs = {**outputs, "loss_total": own.total, "loss_weight": own.weight}
    return {**outputs, "loss_parts": parts} if parts else outputs


def _shapes(function: Callable[[], PyTree]) -> PyTree:
    return jax.eval_shape(function)


def _like(tree: PyTree, like: PyTree) -> PyTree:
    """The tree in the dtypes of another, as both ends of a condition must be."""

    def one(leaf: Any, other: Any) -> Any:
        if jnp.issubdtype(other.dtype, jax.dtypes.prng_key):
            return leaf
        return jnp.asarray(leaf, other.dtype)

    return jax.tree.map(one, tree, like)
