"""Updates that are bounded: by element, by norm, by the parameter they change; and centred ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, options
from axonax.optim._live import live
from axonax.optim._norms import global_norm, over, scaled_norm
from axonax.optim._slices import by_slice

PyTree = Any


@options
def clip(delta: Number | Schedule = 2.0) -> optax.GradientTransformationExtraArgs:
    """Clip each element to ``[-delta, delta]``.

    Args:
        delta: a number, or a schedule ``step -> number``; live in the state.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: ``delta`` is negative or no number.

    >>> update = clip(2.0)
    >>> update.update(jnp.array([3.0, -1.0]), update.init(jnp.zeros(2)))[0].tolist()
    [2.0, -1.0]
    """
    return live("clip", _clip, {"delta": delta})


@options
def clip_by_global_norm(max_norm: Number | Schedule = 1.0) -> optax.GradientTransformationExtraArgs:
    """Shrink the whole update to a norm of at most ``max_norm``: ``g * min(1, max_norm / |g|)``.

    Safe in half precision; an update that is not finite becomes 0, so that its step is skipped.

    Args:
        max_norm: a number, or a schedule ``step -> number``; live in the state.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: ``max_norm`` is negative or no number.

    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013,
    algorithm 1.

    >>> update = clip_by_global_norm(1.0)
    >>> gradients = jnp.full(4, 300.0, jnp.float16)
    >>> update.update(gradients, update.init(gradients))[0].tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    return live("clip_by_global_norm", _clip_by_global_norm, {"max_norm": max_norm})


@options
def clip_by_block_rms(threshold: Number | Schedule = 1.0) -> optax.GradientTransformationExtraArgs:
    """Shrink each leaf to a root mean square of at most ``threshold``.

    A leaf that is not finite becomes 0.

    Args:
        threshold: a number, or a schedule ``step -> number``; live in the state.

    Returns:
        an Optax transformation.

    Raises:
        ValueError: ``threshold`` is negative or no number.

    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018, section 6.

    >>> update = clip_by_block_rms(1.0)
    >>> update.update(jnp.array([3.0, -3.0]), update.init(jnp.zeros(2)))[0].tolist()
    [1.0, -1.0]
    """
    return live("clip_by_block_rms", _clip_by_block_rms, {"threshold": threshold})


@options
def adaptive_clip(
    clipping: Number | Schedule = 0.01, *, eps: Number | Schedule = 1e-3
) -> optax.GradientTransformationExtraArgs:
    """Shrink the update of each unit to a share ``clipping`` of the norm of the unit's parameters.

    A unit is a column of a matrix (all that leads to one output: norms over all axes but the last), or a
    whole vector. A unit whose update is not finite becomes 0.

    Args:
        clipping: the largest ratio of the norms, a number or a schedule; live in the state.
        eps: norms of parameters count as at least this.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Brock et al., "High-performance large-scale image recognition without normalization", 2021, equation 3.

    >>> update, params = adaptive_clip(0.5), jnp.array([[2.0, 2.0]])
    >>> update.update(jnp.array([[3.0, 0.5]]), update.init(params), params)[0].tolist()
    [[1.0, 0.5]]
    """
    return live("adaptive_clip", _adaptive_clip, {"clipping": clipping, "eps": eps})


@options
def centralize() -> optax.GradientTransformationExtraArgs:
    """Subtract the mean over all axes but the first from each leaf of more than one axis.

    Returns:
        an Optax transformation.

    Yong et al., "Gradient centralization: a new optimization technique for deep neural networks", 2020,
    equation 1 (there for kernels whose outputs stand first).

    >>> update = centralize()
    >>> update.update(jnp.array([[1.0, 3.0]]), update.init(jnp.zeros((1, 2))))[0].tolist()
    [[-1.0, 1.0]]
    """
    return live("centralize", _centralize, {})


def _centralize() -> Any:
    return by_slice(optax.centralize())


def stateless_of(function: Any) -> optax.GradientTransformation:
    """The transformation without a state whose update is ``function(updates, params)``."""
    return optax.GradientTransformation(
        lambda params: optax.EmptyState(),
        lambda updates, state, params=None: (function(updates, params), state),
    )


def _clip(*, delta: Any) -> Any:
    return stateless_of(
        lambda updates, _: jax.tree.map(
            lambda leaf: jnp.clip(leaf, -delta, delta).astype(leaf.dtype), updates
        )
    )


def _clip_by_global_norm(*, max_norm: Any) -> Any:
    def shrink(updates: PyTree, _: PyTree) -> PyTree:
        length = global_norm(updates)
        return jax.tree.map(lambda leaf: _within(leaf, length, max_norm), updates)

    return stateless_of(shrink)


def _clip_by_block_rms(*, threshold: Any) -> Any:
    def shrink(leaf: Any) -> Any:
        # A sum of squares would overflow where the mean of the elements, divided by the largest, does not.
        return _within(leaf, scaled_norm(leaf) / jnp.sqrt(max(leaf.size, 1)), threshold)

    return by_slice(stateless_of(lambda updates, _: jax.tree.map(shrink, updates)))


def _adaptive_clip(*, clipping: Any, eps: Any) -> Any:
    def shrink(leaf: Any, param: Any) -> Any:
        axes = tuple(range(leaf.ndim - 1)) if leaf.ndim > 1 else None
        return _within(
            leaf,
            scaled_norm(leaf, axes, keepdims=True),
            clipping * jnp.maximum(scaled_norm(param, axes, keepdims=True), eps),
        )

    def update(updates: PyTree, params: PyTree) -> PyTree:
        if params is None:
            raise ValueError("adaptive_clip: update needs params, got None")
        return jax.tree.map(shrink, updates, params)

    return by_slice(stateless_of(update))


def _within(leaf: Any, length: Any, limit: Any) -> Any:
    """``leaf``, of norm ``length``, shrunk to a norm of at most ``limit``; 0 where it is not finite."""
    shrunk = jnp.where(length > limit, over(leaf, jnp.where(length > 0, length, 1)) * limit, leaf)
    return jnp.where(jnp.isfinite(length), shrunk, 0).astype(leaf.dtype)
