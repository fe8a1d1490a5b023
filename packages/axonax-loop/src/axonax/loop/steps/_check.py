"""The first batch against a model and a loss, before anything is trained: shapes, labels, probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from axonax.loop._state import EvalState, TrainState
from axonax.loop.data._batch import Batch, check_rows, read
from axonax.loop.steps._explain import explain
from axonax.loop.steps._leaves import joined, part
from axonax.loop.steps._loss import LossFunction, check_fit
from axonax.loop.steps._losses import OutputLosses
from axonax.loop.steps._model import Net
from axonax.tensor.contracts import Closing
from axonax.tensor.precision import promoted

PyTree = Any
_SLACK = 1e-3  # of a probability
_SUM_SLACK = 0.02  # of a sum: rounding to bfloat16 on the way alone may take 0.01


class Extremes(NamedTuple):
    """The least and greatest of the predictions, and of their sums along the axis of the classes."""

    low: Any
    high: Any
    least: Any
    most: Any


def model_check(
    net: Net, loss: LossFunction | OutputLosses | None, *, train: bool, compile: bool, look: bool = True
) -> Callable[[Any, PyTree], None]:
    """The check of a first batch: shapes, rows, labels, and with ``look`` the predictions themselves.

    A forward pass is run only if a loss needs probabilities and the model does not vouch for them. Its key
    is that of no step, and its buffers are dropped.
    """
    predict = _predict(net, train)
    # For its cache of shapes too: a validation after each epoch must not trace the model again.
    jitted: Any = jax.jit(predict)
    measure = None if loss is None or not look else _measure(jitted if compile else predict, loss, compile)

    def check(batch: Any, step_state: TrainState | EvalState) -> None:
        parts = read(batch)
        check_rows(parts)
        if loss is None:
            return
        key = jax.random.key(0) if train else None
        arrays, others = part(step_state.model_state)
        prediction = jitted.eval_shape(arrays, others, parts.inputs, key)
        for place, (each, own, predicted) in enumerate(loss.views(parts, prediction)):
            check_fit(own.targets, predicted)
            each.check_labels(own.targets, predicted)
            doubted = each.doubted(own.targets, predicted)
            if measure is None or doubted is None:
                continue
            found = measure(arrays, others, parts, key, expected=doubted, place=place)
            complaint = unlike(doubted, Extremes(*map(float, found)), predicted.dtype)
            if complaint:
                raise ValueError(f'loss "{each.name}" needs {complaint}: {each.advice(doubted)}')

    return check


def model_explain(
    net: Net, loss: LossFunction | OutputLosses | None, *, train: bool
) -> Callable[[Any, PyTree, Sequence[Any]], str | None]:
    """``(batch, step_state, metrics) ->`` what is wrong with a batch whose loss is not finite."""
    jitted: Any = jax.jit(_predict(net, train))

    def look(batch: Any, step_state: TrainState | EvalState, metrics: Sequence[Any] = ()) -> str | None:
        key = jax.random.key(0) if train else None
        prediction = jitted.eval_shape(*part(step_state.model_state), read(batch).inputs, key)
        return explain(batch, prediction, loss, metrics)

    return look


def _predict(net: Net, train: bool) -> Callable[..., PyTree]:
    def predict(arrays: PyTree, others: PyTree, inputs: PyTree, key: Any) -> PyTree:
        return net.apply(joined(arrays, others), inputs, train=train, key=key)[0]

    return predict


def _measure(
    predict: Callable[..., Any], loss: LossFunction | OutputLosses, compile: bool
) -> Callable[..., Extremes]:
    """The extremes of what a model predicts for one batch, in the output of the loss at a place."""

    def measure(
        arrays: PyTree, others: PyTree, batch: Batch, key: Any, expected: Closing, place: int
    ) -> Extremes:
        prediction = predict(arrays, others, batch.inputs, key)
        each, own, predicted = loss.views(batch, prediction)[place]
        each.mean(own, predicted)  # refuses shapes that do not fit it
        return extremes(predicted, own, expected, each.options.get("ignore_index"))

    return jax.jit(measure, static_argnames=("expected", "place")) if compile else measure


def extremes(prediction: jax.Array, batch: Batch, expected: Closing, ignored: int | None = None) -> Extremes:
    """The extremes of predictions, but for NaN and for rows without weight or of the ignored class."""
    values = prediction.astype(promoted(prediction.dtype, jnp.float32))
    if expected.activation == "log_softmax":
        values = jnp.exp(values)
    sums = values if expected.activation == "sigmoid" else values.sum(expected.axis)
    kept = jnp.ones(sums.shape, bool)
    if batch.weights is not None:
        kept &= _spread(jnp.asarray(batch.weights) != 0, sums.shape)
    if ignored is not None:
        kept &= _spread(jnp.asarray(batch.targets) != ignored, sums.shape)
    each = kept if expected.activation == "sigmoid" else jnp.expand_dims(kept, expected.axis)
    each, kept = each & ~jnp.isnan(values), kept & ~jnp.isnan(sums)
    return Extremes(
        jnp.min(values, where=each, initial=jnp.inf),
        jnp.max(values, where=each, initial=-jnp.inf),
        jnp.min(sums, where=kept, initial=jnp.inf),
        jnp.max(sums, where=kept, initial=-jnp.inf),
    )


def unlike(expected: Closing, found: Extremes, dtype: Any) -> str | None:
    """What a loss needs and what came instead; ``None`` where the predictions are what it expects."""
    slack = max(_SUM_SLACK, 8 * float(jnp.finfo(dtype).eps))  # type: ignore[no-untyped-call]
    sums = f"[{found.least:.3g}, {found.most:.3g}]"
    off = expected.activation != "sigmoid" and (found.least < 1 - slack or found.most > 1 + slack)
    if expected.activation == "log_softmax":
        what = "logarithms of probabilities, but the exponentials of the model's first predictions sum to"
        return f"{what} {sums} over axis {expected.axis}" if off else None
    if found.low < -_SLACK or found.high > 1 + _SLACK:
        return f"probabilities, but the model's first predictions lie in [{found.low:.3g}, {found.high:.3g}]"
    what = f"probabilities that sum to 1 over axis {expected.axis}, but the model's first predictions sum to"
    return f"{what} {sums}" if off else None


def _spread(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A mask of leading dimensions over ``shape``; one that does not fit is left to the loss to refuse."""
    if mask.shape != shape[: mask.ndim]:
        return jnp.ones(shape, bool)
    return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (len(shape) - mask.ndim)), shape)
