"""Images and sequences in another size. Channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor import names
from axonax.tensor._moments import narrowed, widened
from axonax.tensor.layers._arrays import Sizes, per_axis


def resize(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    size: Sizes,
    *,
    method: Literal["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"] = "nearest",
    antialias: bool = True,
) -> Shaped[Array, " batch *resized channels"]:
    """Another number of samples along each spatial axis, each the weighted mean of samples near it.

    Samples lie at the centres of their pixels: output ``i`` of an axis lies at
    ``p = (i + 0.5) * old / new - 0.5``. Its weight of input ``j`` is ``f(p - j)``, divided by the sum over
    ``j``; ``"nearest"`` takes input ``floor((i + 0.5) * old / new)`` instead.

    Args:
        x: ``(batch, *spatial, channels)``.
        size: new sizes, one number or one for each spatial axis.
        method: ``"nearest"``; ``"bilinear"`` (``f`` is a triangle; on other than two axes too);
            ``"bicubic"`` (Keys' cubic with ``a = -0.5``); ``"lanczos3"`` and ``"lanczos5"``.
        antialias: whether ``f`` is widened by ``old / new`` where an axis shrinks, so that no sample is
            left out; ``"nearest"`` knows none.

    Returns:
        ``(batch, *size, channels)`` in the dtype of ``x``; of integers float32, except by ``"nearest"``.
        Half precision is summed in float32.

    Raises:
        ValueError: an unknown method, sizes that do not fit the axes, or an empty axis.

    Source: Keys, Cubic Convolution Interpolation for Digital Image Processing (1981); Duchon, Lanczos
    Filtering in One and Two Dimensions (1979).

    >>> resize(jnp.array([1.0, 3.0]).reshape(1, 2, 1), 4, method="bilinear").ravel().tolist()
    [1.0, 1.5, 2.5, 3.0]
    """
    x = jnp.asarray(x)
    if x.ndim < 3:
        raise ValueError(f"resize: input must be (batch, *spatial, channels), got {x.shape}")
    kernel = names.lookup(_METHODS, method, "method of resize")
    sizes = per_axis("resize", "size", size, x.ndim - 2)
    if not all(x.shape[1:-1]):
        raise ValueError(f"resize: no spatial axis may be empty, got {x.shape}")
    moves = [(axis, new) for axis, new in enumerate(sizes, 1) if new != x.shape[axis]]
    if kernel is None:
        for axis, new in moves:
            x = jnp.take(x, _nearest(x.shape[axis], new), axis, mode="clip")
        return x
    y = widened(x)
    for axis, new in moves:
        weights = _weights(y.shape[axis], new, kernel, antialias, y.dtype)
        y = jnp.moveaxis(jnp.tensordot(y, weights, ((axis,), (1,)), precision="highest"), -1, axis)
    return narrowed(y, x)


def _nearest(old: int, new: int) -> np.ndarray:
    """Which input each output is, in integers: floats miss it by one where ``old / new`` is rounded."""
    return (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)


def _weights(
    old: int, new: int, kernel: Callable[[Array], Array], antialias: bool, dtype: jnp.dtype
) -> Array:
    """``(new, old)``: how much of each input is in each output.

    Positions are a whole number and the rest, both exact: as one float they are off by an ulp of the
    whole, which the weights of far samples feel (1e-4 at size 1000 in float32).
    """
    whole, rest = np.divmod((2 * np.arange(new, dtype=np.int64) + 1) * old - new, 2 * new)
    apart = jnp.arange(old)[None, :] - jnp.asarray(whole, jnp.int32)[:, None]
    distance = jnp.abs(apart.astype(dtype) - jnp.asarray(rest / (2 * new), dtype)[:, None])
    weights = kernel(distance / max(1.0, old / new) if antialias else distance)
    return weights / jnp.sum(weights, 1, keepdims=True)


def _triangle(distance: Array) -> Array:
    return jnp.maximum(1 - distance, 0)


def _cubic(distance: Array) -> Array:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))


def _lanczos(radius: int) -> Callable[[Array], Array]:
    def kernel(distance: Array) -> Array:
        inside = jnp.where(distance < radius, distance, 0)
        return jnp.where(distance < radius, jnp.sinc(inside) * jnp.sinc(inside / radius), 0)

    return kernel


_METHODS: dict[str, Callable[[Array], Array] | None] = {
    "nearest": None,
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
