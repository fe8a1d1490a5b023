"""The vectors' recurrent layers in ours: kernels of all gates in one, channels last, masks inverted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from axonax.tensor import initializers, layers


def fused(parts: dict[str, Any], names: str, units: int) -> jnp.ndarray:
    """Kernels or biases of single gates side by side; a scalar bias stands for all units."""
    shape = next(iter(parts.values())).shape[:-1]
    return jnp.concatenate([jnp.broadcast_to(parts[name], (*shape, units)) for name in names.split()], -1)


def counted(mask: Any, x: Any) -> Any:
    """Which steps count: the vectors mark those that do not, or have one zero for all."""
    return None if np.ndim(mask) == 0 else jnp.asarray(mask) == 0


def options(kwargs: dict[str, Any]) -> dict[str, Any]:
    modes = {"static": "static", "dynamic": "scan"}
    return {("mode" if name == "unroll" else name): modes.get(each, each) for name, each in kwargs.items()}


def lstm_params(kernels: Any, hidden: Any, biases: Any) -> dict[str, Any]:
    units = len(hidden["whi"])
    return {
        "kernel": fused(kernels, "wii wif wig wio", units),
        "recurrent_kernel": fused(hidden, "whi whf whg who", units),
        "bias": fused(biases, "bi bf bg bo", units),
    }


def gru_params(kernels: Any, hidden: Any, biases: Any) -> dict[str, Any]:
    """The candidate alone has a bias within the reset: Axon resets after the product, as cuDNN does."""
    units = len(hidden["whr"])
    inner = fused({"bhn": biases["bhn"]}, "bhn", units)
    return {
        "kernel": fused(kernels, "wir wiz win", units),
        "recurrent_kernel": fused(hidden, "whr whz whn", units),
        "bias": fused({name: biases[name] for name in ("br", "bz", "bin")}, "br bz bin", units),
        "recurrent_bias": jnp.concatenate([jnp.zeros(2 * units), inner]),
    }


def lstm(x: Any, carry: Any, mask: Any, *parts: Any, **kwargs: Any) -> Any:
    return layers.lstm(x, lstm_params(*parts), carry, mask=counted(mask, x), **options(kwargs))


def gru(x: Any, carry: Any, mask: Any, *parts: Any, **kwargs: Any) -> Any:
    ys, last = layers.gru(x, gru_params(*parts), *carry, mask=counted(mask, x), **options(kwargs))
    return ys, (last,)


def conv_lstm(x: Any, carry: Any, mask: Any, kernel: Any, hidden: Any, bias: Any, **kwargs: Any) -> Any:
    """Channels first, a carry with an axis of time, gates in the order i, g, f, o."""

    def ours(each: Any) -> Any:
        i, g, f, o = jnp.split(jnp.asarray(each), 4)
        return jnp.concatenate([i, f, g, o])

    def window_first(each: Any) -> Any:
        return jnp.moveaxis(ours(each), (1, 0), (-2, -1))

    # Axon adds 1 to the terms of the forget gate at each step; ours has that in the bias.
    forget = initializers.gates(parts=("zeros", "ones", "zeros", "zeros"))
    remembering = ours(bias) + forget(None, bias.shape)
    params = {"kernel": window_first(kernel), "recurrent_kernel": window_first(hidden), "bias": remembering}
    state = tuple(jnp.moveaxis(each[:, 0], 1, -1) for each in carry)
    x = jnp.moveaxis(jnp.asarray(x), 2, -1)
    ys, last = layers.conv_lstm(x, params, state, mask=counted(mask, x), **options(kwargs))
    return jnp.moveaxis(ys, -1, 2), tuple(jnp.moveaxis(each, -1, 1)[:, None] for each in last)


def unrolled(mode: str) -> Callable[..., Any]:
    """A cell, by the vectors' name, over a sequence."""

    def call(cell: Any, x: Any, carry: Any, mask: Any, *parts: Any) -> Any:
        if cell == "layers.conv_lstm_cell":
            return conv_lstm(x, carry, mask, *parts)
        if cell == "layers.lstm_cell":
            bound = functools.partial(layers.lstm_cell, params=lstm_params(*parts))
            return layers.unroll(bound, carry, x, mask=counted(mask, x), mode=mode)
        bound = functools.partial(layers.gru_cell, params=gru_params(*parts))
        assert cell == "layers.gru_cell"
        ys, last = layers.unroll(bound, *carry, x, mask=counted(mask, x), mode=mode)
        return ys, (last,)

    return call


OPERATIONS: dict[str, Callable[..., Any]] = {
    "layers.lstm": lstm,
    "layers.gru": gru,
    "layers.conv_lstm": conv_lstm,
    "layers.static_unroll": unrolled("static"),
    "layers.dynamic_unroll": unrolled("scan"),
}
