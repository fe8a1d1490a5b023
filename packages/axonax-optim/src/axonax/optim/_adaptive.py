"""Steps divided by a root of past squared gradients, without Adam's correction."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, given, number, options, whole
from axonax.optim._clips import stateless_of
from axonax.optim._live import descend, live, named
from axonax.optim._slices import by_slice

PyTree = Any


@options
def adagrad(
    learning_rate: Number | Schedule = 1e-3,
    *,
    eps: Number | Schedule = 1e-7,
    initial_accumulator_value: float = 0.1,
) -> optax.GradientTransformationExtraArgs:
    """AdaGrad: steps divided by the root of the sum of all squared gradients so far.

    ``s = s + g^2``, ``update = -learning_rate * g / sqrt(s + eps)``.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for ``eps``.
        eps: added inside the root.
        initial_accumulator_value: the sum before the first step; fixed when the state is made.

    Returns:
        an Optax transformation; every number but the last is live in its state (see `hyperparams`).

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011, figure 1.

    >>> import jax.numpy as jnp
    >>> optimizer = adagrad(0.1, initial_accumulator_value=0.0)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.1
    """
    start = number("adagrad", "initial_accumulator_value", initial_accumulator_value)
    hyperparams = {"learning_rate": learning_rate, "eps": eps}
    return live("adagrad", _adagrad, hyperparams, initial_accumulator_value=start)


@options
def rmsprop(
    learning_rate: Number | Schedule = 1e-2,
    *,
    decay: Number | Schedule = 0.9,
    eps: Number | Schedule = 1e-8,
    momentum: Number | Schedule | None = None,
    nesterov: bool = False,
    centered: bool = False,
    initial_scale: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """RMSProp: steps divided by the root of a running mean of squared gradients.

    ``v = decay v + (1 - decay) g^2``, ``update = -learning_rate * g / sqrt(v + eps)``; with ``momentum`` a
    trace of these updates.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for every live number here.
        decay: share of the running mean that is kept, in [0, 1).
        eps: added inside the root.
        momentum: share of the trace that is kept, in [0, 1); ``None`` for no trace.
        nesterov: look one step ahead with the trace.
        centered: subtract the squared running mean of the gradient: divide by a standard deviation.
        initial_scale: the running mean of squares before the first step; fixed when the state is made.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: a number lies outside its range, an option is unknown, or ``nesterov`` without
            ``momentum``.

    Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012; centered as in Graves, "Generating sequences with
    recurrent neural networks", 2013, equations 38 to 45.

    >>> import jax.numpy as jnp
    >>> optimizer = rmsprop(0.1, decay=0.75)
    >>> updates, _ = optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))
    >>> round(float(updates[0]), 3)
    -0.2
    """
    if nesterov and momentum is None:
        raise ValueError("rmsprop: nesterov=True needs momentum, got momentum=None")
    hyperparams = {"learning_rate": learning_rate, "decay": decay, "eps": eps}
    if momentum is not None:
        hyperparams["momentum"] = momentum
    start = number("rmsprop", "initial_scale", initial_scale)
    static = {"nesterov": nesterov, "centered": centered, "initial_scale": start}
    return live("rmsprop", _rmsprop, hyperparams, **static)


@options
def adadelta(
    learning_rate: Number | Schedule = 1.0,
    *,
    decay: Number | Schedule = 0.9,
    eps: Number | Schedule = 1e-6,
    weight_decay: Number | Schedule = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdaDelta: steps in the units of the parameters, by a running mean of their own squares.

    ``v = decay v + (1 - decay) g^2``, ``d = sqrt((x + eps) / (v + eps)) g``,
    ``x = decay x + (1 - decay) d^2``, ``update = -learning_rate * d``, with
    ``weight_decay * params`` added to ``g`` first.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; 1 as in the paper.
        decay: share of both running means that is kept, in [0, 1).
        eps: added inside the roots.
        weight_decay: strength of the decay.
        mask: as in `adamw`.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.

    >>> import jax.numpy as jnp
    >>> optimizer, params = adadelta(eps=1.0, decay=0.75), jnp.zeros(1)
    >>> updates, _ = optimizer.update(jnp.array([2.0]), optimizer.init(params), params)
    >>> round(float(updates[0]), 3)
    -1.414
    """
    numbers = {"learning_rate": learning_rate, "decay": decay, "eps": eps, "weight_decay": weight_decay}
    return live("adadelta", _adadelta, numbers, mask=mask)


@options
def adafactor(
    learning_rate: Number | Schedule = 1e-2,
    *,
    decay_rate: Number | Schedule = 0.8,
    eps: Number | Schedule = 1e-30,
    clipping_threshold: Number | Schedule | None = 1.0,
    momentum: Number | Schedule | None = None,
    weight_decay: Number | Schedule | None = None,
    mask: Any = None,
    min_dim_size_to_factor: int = 128,
    multiply_by_parameter_scale: bool = True,
    factored: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Adafactor: the second moment of a matrix from its mean over rows and over columns.

    ``v = outer(rows, columns) / mean(rows)``, running means of ``g^2 + eps`` with the share
    ``1 - t^-decay_rate`` kept; the step ``g / sqrt(v)`` is clipped to a root mean square of
    ``clipping_threshold`` and scaled by ``learning_rate`` times that of the parameter.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; a share of the size of each parameter.
        decay_rate: how fast the share that is kept grows to 1.
        eps: added to the squared gradients.
        clipping_threshold: the largest root mean square of a step before scaling; ``None`` for no clipping.
        momentum: share of a running mean of steps that is kept, in [0, 1); ``None`` for none.
        weight_decay: added to the step, times the parameter, not scaled by the learning rate.
        mask: as in `adamw`.
        min_dim_size_to_factor: smaller matrices keep all of their second moments.
        multiply_by_parameter_scale: whether the rate is relative to the parameter.
        factored: whether to factor at all.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018, algorithm 4.

    >>> import jax.numpy as jnp
    >>> optimizer, params = adafactor(0.1), jnp.array([2.0, 2.0])
    >>> updates, _ = optimizer.update(jnp.array([3.0, -3.0]), optimizer.init(params), params)
    >>> [round(float(update), 3) for update in updates]
    [-0.2, 0.2]
    """
    hyperparams = given(
        learning_rate=learning_rate,
        decay_rate=decay_rate,
        eps=eps,
        clipping_threshold=clipping_threshold,
        momentum=momentum,
        weight_decay=weight_decay,
    )
    static = {
        "least": whole("adafactor", "min_dim_size_to_factor", min_dim_size_to_factor),
        "relative": multiply_by_parameter_scale,
        "factored": factored,
    }
    return live("adafactor", _adafactor, hyperparams, mask=mask, **static)


def _adagrad(*, learning_rate: Any, eps: Any, initial_accumulator_value: float) -> Any:
    return descend(learning_rate, squares=optax.scale_by_rss(initial_accumulator_value, eps))


def _rmsprop(
    *, learning_rate: Any, nesterov: bool, centered: bool, momentum: Any = None, **moments: Any
) -> Any:
    scale = optax.scale_by_stddev if centered else optax.scale_by_rms
    step = descend(learning_rate, moments=scale(**moments))
    if momentum is None:
        return step
    return named(step=step, trace=optax.trace(momentum, nesterov))


def _adadelta(*, learning_rate: Any, decay: Any, eps: Any, weight_decay: Any, mask: Any) -> Any:
    shrink = optax.add_decayed_weights(weight_decay, mask)
    return descend(learning_rate, decay=shrink, moments=_scale_by_adadelta(decay, eps))


def _scale_by_adadelta(decay: Any, eps: Any) -> optax.GradientTransformation:
    """``optax.scale_by_adadelta`` with ``d^2`` from the squares.

    Roots that the new state and the step share would be written to memory and read again.
    """
    known = optax.scale_by_adadelta(decay, eps)

    def step(gradient: Any, v: Any, x: Any) -> Any:
        return jnp.sqrt(x + eps) / jnp.sqrt(v + eps) * gradient

    def squared(gradient: Any, v: Any, x: Any) -> Any:
        return decay * x + (1 - decay) * ((x + eps) * (gradient**2 / (v + eps)))

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, Any]:
        v = optax.tree.update_moment(updates, state.e_g, decay, 2)
        following = state._replace(e_g=v, e_x=jax.tree.map(squared, updates, v, state.e_x))
        return jax.tree.map(step, updates, v, state.e_x), following

    return optax.GradientTransformation(known.init, update)


def _adafactor(
    *,
    learning_rate: Any,
    decay_rate: Any,
    eps: Any,
    mask: Any,
    least: int,
    relative: bool,
    factored: bool,
    **more: Any,
) -> Any:
    parts = {"moments": by_slice(optax.scale_by_factored_rms(factored, decay_rate, 0, least, eps))}
    if "clipping_threshold" in more:
        parts["clip"] = by_slice(optax.clip_by_block_rms(more["clipping_threshold"]))
    relation = by_slice(stateless_of(_relative(learning_rate)))
    parts["rate"] = relation if relative else optax.scale(learning_rate)
    if "momentum" in more:
        parts["mean"] = optax.ema(more["momentum"], debias=False)
    if "weight_decay" in more:
        parts["decay"] = optax.add_decayed_weights(more["weight_decay"], mask)
    return named(**parts, sign=optax.scale(-1.0))


def _relative(learning_rate: Any) -> Any:
    """``optax.scale_by_param_block_rms`` times the rate, in fewer passes."""

    def scale(leaf: Any, param: Any) -> Any:
        square = jnp.mean(jnp.real(param * jnp.conj(param)))
        return leaf * (learning_rate * jnp.sqrt(jnp.maximum(square, 1e-6)))

    def rescale(updates: PyTree, params: PyTree) -> PyTree:
        if params is None:
            raise ValueError("adafactor: update needs params, got None")
        return jax.tree.map(scale, updates, params)

    return rescale
