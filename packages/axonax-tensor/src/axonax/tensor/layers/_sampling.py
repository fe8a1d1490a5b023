"""A class drawn from logits."""

from __future__ import annotations

import math
from numbers import Integral, Real

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Shaped

from axonax.tensor._moments import widened

_NONE = -1


def greedy(logits: Float[ArrayLike, "*batch classes"]) -> Int[Array, "*batch"]:
    """The most probable class, the first of equals.

    Args:
        logits: floats ``(..., classes)``; ``-inf`` for a class that must not be drawn.

    Returns:
        ``(...)`` int32; -1 where no class is left (all ``-inf``) or a logit is NaN.

    Raises:
        ValueError: logits that are not floats, or no classes.

    >>> greedy(jnp.array([[0.0, 2.0, 1.0], [-jnp.inf, -jnp.inf, -jnp.inf]])).tolist()
    [1, -1]
    """
    x = _logits("greedy", logits)
    return _known(x, jnp.argmax(x, -1))


def sample(
    logits: Float[ArrayLike, "*batch classes"],
    *,
    key: jax.Array,
    temperature: Shaped[ArrayLike, "*_"] = 1.0,
    top_k: int | None = None,
    top_p: Shaped[ArrayLike, "*_"] | None = None,
) -> Int[Array, "*batch"]:
    """A class drawn by ``softmax(logits / temperature)``, of the most probable classes alone where asked for.

    ``top_k`` acts after the temperature and ``top_p`` on what ``top_k`` leaves, whose probabilities add up
    to 1 again. ``-inf`` is never drawn.

    Args:
        logits: floats ``(..., classes)``; drawn in float32 at least.
        key: a PRNG key.
        temperature: at least 0, a number or an array that broadcasts to ``(...)``; at 0 it is `greedy`.
        top_k: only so many most probable classes, of equals the first; at 1 it is `greedy`.
        top_p: in [0, 1], a number or an array that broadcasts to ``(...)``: only the fewest most probable
            classes that have this share of the probability together, and one at least.

    Returns:
        ``(...)`` int32; -1 where no class is left (all ``-inf``) or a logit is NaN. Classes of ``inf`` are
        drawn alike.

    Raises:
        ValueError: logits that are not floats, no classes, an option out of range, or one whose shape does
            not broadcast.

    Source: Fan et al., Hierarchical Neural Story Generation (2018), top-k; Holtzman et al., The Curious Case
    of Neural Text Degeneration (2019), top-p.

    >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    >>> drawn = sample(jnp.tile(logits, (99, 1)), key=jax.random.key(0), top_p=0.7)
    >>> sorted(set(drawn.tolist()))
    [0, 1]
    """
    x = _logits("sample", logits)
    heat = _option("temperature", temperature, x, math.inf)
    share = None if top_p is None else _option("top_p", top_p, x, 1.0)
    count = x.shape[-1] if top_k is None else top_k
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"sample: top_k must be an integer of at least 1, got {top_k}")
    first = jnp.argmax(x, -1)
    best = jnp.max(x, -1, keepdims=True)
    # Not "x - best" alone: of two infinities it is NaN.
    below = jnp.where(x == best, 0.0, x - best) / jnp.where(heat > 0, heat, 1.0)
    if count >= x.shape[-1] and share is None:
        drawn = jax.random.categorical(key, below)
    else:
        held, classes = jax.lax.top_k(below, min(count, x.shape[-1]))
        if share is not None:
            held = jnp.where(_within(held, share), held, -jnp.inf)
        place = jax.random.categorical(key, held)[..., None]
        drawn = jnp.take_along_axis(classes, place, -1)[..., 0]
    return _known(x, jnp.where(heat[..., 0] > 0, drawn, first))


def _within(held: Array, share: Array) -> Array:
    """Which of sorted logits are needed for ``share``: those before which there is less."""
    chances = jax.nn.softmax(held)
    before = jnp.cumsum(chances, -1) - chances
    rank = jax.lax.broadcasted_iota(jnp.int32, held.shape, held.ndim - 1)
    # The sum may round to 1 before the last class.
    return (before < share) | (rank == 0) | (share >= 1)


def _known(x: Array, classes: Array) -> Array:
    """``classes``, but none where nothing may be drawn; a maximum of NaN is not above -inf either."""
    return jnp.where(jnp.max(x, -1) > -jnp.inf, classes, _NONE).astype(jnp.int32)


def _logits(op: str, logits: ArrayLike) -> Array:
    x = jnp.asarray(logits)
    if not jnp.issubdtype(x.dtype, jnp.floating) or not x.shape[-1:] or not x.shape[-1]:
        came = f"{x.dtype.name} {x.shape}"
        raise ValueError(f"{op}: logits must be floats (..., classes) with one class at least, got {came}")
    return widened(x)


def _option(name: str, value: ArrayLike, x: Array, most: float) -> Array:
    """An option by row, as ``(..., 1)``; its range is checked where it is a number."""
    if isinstance(value, Real) and not (0 <= value <= most and math.isfinite(value)):
        limits = "finite and not negative" if most == math.inf else f"in [0, {most:g}]"
        raise ValueError(f"sample: {name} must be {limits}, got {value}")
    option, batch = jnp.asarray(value, x.dtype), x.shape[:-1]
    try:
        fits = jnp.broadcast_shapes(option.shape, batch) == batch
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"sample: {name} {option.shape} does not broadcast to the rows {batch}")
    return jnp.broadcast_to(option, batch)[..., None]
